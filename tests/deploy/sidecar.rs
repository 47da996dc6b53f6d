//! The sidecar of the example application, end to end without Kubernetes.

use std::fs;

use crate::helm::{APP, Helm, NEWEST};
use crate::manifest::{exporter, of_kind, pod_spec, text};
use crate::pod::Pod;
use crate::support::exporter::Exporter;
use crate::support::exposition::Exposition;
use crate::support::jdk::for_other_users;
use crate::support::{ensure, free_port, skip, wait_for};

/// A page on which the JVM of that container is up, with its counters and its native memory.
fn measured(exporter: &Exporter, container: &str) -> Exposition {
    wait_for(&format!("the JVM in {container}"), || {
        let page = exporter.scrape();
        let labels = [("container", container)];
        ensure(page.value("jvm_up", &labels) == Some(1.0), exporter.get("/targets").text())?;
        for metric in ["jvm_thread_count", "jvm_memory_used_bytes", "jvm_hotspot_safepoints_total"] {
            ensure(page.all(metric, &labels).next().is_some(), metric)?;
        }
        let categories = page.all("jvm_nmt_committed_bytes", &labels).count();
        ensure(categories >= 10, format!("{categories} categories of native memory"))?;
        Ok::<_, String>(page)
    })
}

fn start_time(page: &Exposition, container: &str) -> f64 {
    page.value("jvm_start_time_seconds", &[("container", container)]).unwrap()
}

/// Of a process, a line of its status.
fn status(pid: u32, key: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {key}")).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_rendered_sidecar_follows_every_jvm_of_its_pod() {
    let test = "the_rendered_sidecar_follows_every_jvm_of_its_pod";
    let Some((helm, javas)) = Helm::new(test).zip(for_other_users(test)) else { return };
    let port = format!("hotspot-sidecar.web.port={}", free_port());
    let objects = helm.objects(&APP, NEWEST, &[&port, "hotspot-sidecar.config.nmt.interval=\"1s\""]);
    let path =
        text(&exporter(pod_spec(of_kind(&objects, "Deployment")))["livenessProbe"]["httpGet"]["path"]).to_owned();
    let Some(pod) = Pod::new(test, objects, "Deployment") else { return };
    let orders = pod.start("orders", &javas[0]);
    let _billing = pod.start("billing", &javas[1]);
    let sidecar = pod.exporter();

    let first = start_time(&measured(&sidecar, "orders"), "orders");
    let billing = start_time(&measured(&sidecar, "billing"), "billing");
    assert_eq!(sidecar.get(&path).status, 200);
    let process = fs::read_to_string(format!("/proc/{0}/task/{0}/children", sidecar.pid())).unwrap();
    let process = process.trim().parse().unwrap();
    assert_eq!(status(process, "Uid"), "10001 10001 10001 10001");
    assert_eq!(status(process, "Gid"), "10001 10001 10001 10001");
    for set in ["CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"] {
        assert_eq!(status(process, set), "0000000000000000", "{set}");
    }
    assert_eq!(status(process, "NoNewPrivs"), "1");

    // SIGKILL leaves the file behind.
    orders.kill();
    wait_for("the series of the killed JVM to end", || {
        let page = sidecar.scrape();
        let left = page.samples.iter().find(|sample| sample.labels.get("container").is_some_and(|c| c == "orders"));
        ensure(left.is_none(), format!("{left:?}"))
    });
    let _orders = pod.start("orders", &javas[0]);
    let page = measured(&sidecar, "orders");
    assert!(start_time(&page, "orders") > first, "the series began anew: {} {first}", start_time(&page, "orders"));
    assert_eq!(page.value("jvm_process_info", &[("container", "orders"), ("pid", "1")]), Some(1.0));
    assert_eq!(start_time(&measured(&sidecar, "billing"), "billing"), billing, "the other JVM went on");
}

/// What `shareProcessNamespace` adds: the process's own metrics, and JVMs that publish no file.
#[test]
fn a_shared_process_namespace_shows_processes_and_jvms_without_a_file() {
    let test = "a_shared_process_namespace_shows_processes_and_jvms_without_a_file";
    let Some((helm, [_, java])) = Helm::new(test).zip(for_other_users(test)) else { return };
    if fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").is_ok_and(|scope| scope.trim() != "0") {
        skip(test, "kernel.yama.ptrace_scope keeps processes from reading each other");
        return;
    }
    let containers = r#"[{"name":"orders"},{"name":"billing","javaOptions":"-XX:+PerfDisableSharedMem"}]"#;
    let settings = [
        format!("hotspot-sidecar.web.port={}", free_port()),
        "hotspot-sidecar.shareProcessNamespace=true".to_owned(),
        format!("hotspot-sidecar.jvm.containers={containers}"),
    ];
    let objects = helm.objects(&APP, NEWEST, &settings.each_ref().map(String::as_str));
    let Some(pod) = Pod::new(test, objects, "Deployment") else { return };
    let orders = pod.start("orders", &java);
    let billing = pod.start("billing", &java);
    let sidecar = pod.exporter();
    wait_for("the process of the JVM with a file", || {
        let page = sidecar.scrape();
        let labels = [("container", "orders")];
        ensure(page.value("process_thread_count", &labels) >= Some(1.0), sidecar.get("/targets").text())
    });
    for (jvm, source) in [(&orders, "file"), (&billing, "memory")] {
        wait_for(source, || {
            let targets = sidecar.targets();
            let rows = targets["jvms"].as_array().unwrap();
            let found = rows.iter().find(|row| row["pid"] == jvm.pid());
            ensure(found.is_some_and(|row| row["via"] == source), &targets)
        });
    }
}
