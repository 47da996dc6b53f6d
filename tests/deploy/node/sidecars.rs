//! The sidecar, by each of the three ways to add it.

use serde_json::json;

use super::Node;
use super::workloads::{Pod, ensure_measured, pod};
use crate::run;
use crate::shipped::example;
use crate::support::ensure;
use crate::support::exposition::Exposition;

const RELOADED: &str = "hotspot_exporter_config_last_reload_successful";

/// The samples that only a sidecar has that sees the JVM's process.
fn of_cgroup(page: &Exposition) -> usize {
    page.samples.iter().filter(|sample| sample.name.starts_with("jvm_hotspot_cgroup_")).count()
}

/// The page of the sidecar of the example's pod, once both of its JVMs are measured.
fn both_measured(node: &Node, pod: &Pod) -> Result<Exposition, String> {
    let page = node.page(pod)?;
    let mut names = ["orders", "billing"].into_iter();
    names.try_for_each(|name| ensure_measured(&page, &[("container", name)])).map(|()| page)
}

#[test]
fn the_policys_sidecar_shows_native_memory_and_the_cgroup() {
    let Some(node) = Node::shared("the_policys_sidecar_shows_native_memory_and_the_cgroup") else { return };
    let alone = node.start_pod("shop", pod("alone", "shop"), true);
    let mut sharing = pod("sharing", "shop");
    sharing["spec"]["shareProcessNamespace"] = json!(true);
    let sharing = node.start_pod("shop", sharing, true);
    let labels = [("container", "app")];
    let page = node.wait("the sidecar that sees no process", || {
        let page = node.page(&alone)?;
        ensure_measured(&page, &labels).map(|()| page)
    });
    assert_eq!(of_cgroup(&page), 0);
    node.wait("the sidecar that sees the JVM's process", || {
        let page = node.page(&sharing)?;
        ensure_measured(&page, &labels)?;
        let [limit, quota] =
            ["memory_limit_bytes", "cpu_quota"].map(|name| page.value(&format!("jvm_hotspot_cgroup_{name}"), &labels));
        ensure((limit, quota) == (Some(256.0 * 1024.0 * 1024.0), Some(1.0)), format!("{limit:?} {quota:?}"))
    });
}

#[test]
fn the_charts_sidecar_refuses_a_bad_config_map() {
    let Some(node) = Node::shared("the_charts_sidecar_refuses_a_bad_config_map") else { return };
    node.install_chart("shop", "examples/app", "charts", &["hotspot-sidecar.config.nmt.interval=1s"]);
    let pod = node.start_pods("charts", "deployment/shop", 1).remove(0);
    let measured = || both_measured(node, &pod);
    let page = node.wait("both JVMs", measured);
    assert_eq!(page.value(RELOADED, &[]), Some(1.0));
    let configure = |text: &str| {
        let patch = json!({"data": {"config.yaml": text}}).to_string();
        let map = "configmap/shop-hotspot-exporter";
        let output =
            node.control_plane.kubectl(&["patch", map, "--namespace=charts", "--type=merge", "--patch", &patch]);
        assert!(output.status.success(), "{}", crate::text_of(&output));
    };

    configure("nmt: {mode: sometimes}\n");
    node.wait("the refusal", || {
        let page = node.page(&pod)?;
        ensure(page.value(RELOADED, &[]) == Some(0.0), format!("{:?}", page.value(RELOADED, &[])))
    });
    // What was in force still is.
    measured().unwrap();
    let log = node.log(&pod, "hotspot-exporter");
    assert!(log.contains("sometimes"), "{log}");

    configure("nmt: {mode: passive, interval: 2s}\n");
    node.wait("the next configuration", || {
        let page = node.page(&pod)?;
        ensure(page.value(RELOADED, &[]) == Some(1.0), "not reloaded")
    });
}

#[test]
fn the_kustomized_sidecar_goes_on_with_a_restarted_jvm() {
    let Some(node) = Node::shared("the_kustomized_sidecar_goes_on_with_a_restarted_jvm") else { return };
    let kubectl = crate::fetched_or_installed("kubectl").unwrap();
    node.control_plane.apply(&run(std::process::Command::new(kubectl).arg("kustomize").arg(example())));
    let pod = node.start_pods("jvms", "deployment/shop", 1).remove(0);
    let measured = || both_measured(node, &pod);
    let of = |page: &Exposition, container: &str| {
        let labels = [("container", container)];
        let slot = page.all("jvm_up", &labels).next().unwrap().labels["slot"].clone();
        (slot, page.value("jvm_start_time_seconds", &labels).unwrap())
    };
    let before = node.wait("both JVMs", measured);
    node.kill(&pod, "orders");
    let after = node.wait("the JVM's next life", || {
        let page = measured()?;
        ensure(of(&page, "orders").1 > of(&before, "orders").1, "still the same").map(|()| page)
    });
    assert_eq!(of(&after, "orders").0, of(&before, "orders").0);
    assert_eq!(of(&after, "billing"), of(&before, "billing"), "the other JVM went on");
}

/// Kubernetes ends a sidecar when the containers of its pod have ended.
#[test]
fn a_job_ends_although_it_has_a_sidecar() {
    let Some(node) = Node::shared("a_job_ends_although_it_has_a_sidecar") else { return };
    let mut template = pod("any", "shop");
    template["spec"]["restartPolicy"] = json!("Never");
    let template = json!({"metadata": {"labels": template["metadata"]["labels"]}, "spec": template["spec"]});
    let job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "report", "namespace": "shop"},
        "spec": {"template": template},
    });
    node.control_plane.apply(&job.to_string());
    let pod = node.start_pods("shop", "job/report", 1).remove(0);
    node.wait("the pod to end", || {
        let status = node.status(&pod)?;
        ensure(status["phase"] == "Succeeded", status)
    });
    let sidecar = node.container(&pod, "hotspot-exporter").unwrap();
    assert_eq!(sidecar["state"]["terminated"]["exitCode"], 0, "{sidecar}");
}
