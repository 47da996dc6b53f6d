//! The shipped alerts on what a real Prometheus scrapes from the node.

use std::fs;

use serde_json::{Value, json};

use super::Node;
use super::workloads::{ensure_measured, pod};
use crate::support::prometheus::Prometheus;
use crate::support::{ensure, package};
use crate::{text_of, tool};

const FIRING: &str = r#"ALERTS{alertname="NmtNearContainerLimit", alertstate="firing"}"#;

/// The shipped rules, which need not hold for minutes here.
fn impatient_rules() -> String {
    let shipped = fs::read_to_string(package().join("deploy/prometheus/alerts.yml")).unwrap();
    shipped.lines().filter(|line| !line.trim_start().starts_with("for: ")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn native_memory_near_the_containers_limit_raises_the_alert() {
    let test = "native_memory_near_the_containers_limit_raises_the_alert";
    let Some((node, prometheus)) = Node::shared(test).zip(tool("prometheus", test)) else { return };
    let mut tight = pod("tight", "shop");
    tight["spec"]["shareProcessNamespace"] = json!(true);
    // Committed, and not touched.
    tight["spec"]["containers"][0]["command"] =
        json!(["java", "-Xms128m", "-Xmx128m", "-XX:+UseSerialGC", "-cp", "/app", "Workload"]);
    let tight = node.start_pod("shop", tight, true);
    let labels = [("container", "app")];
    let committed = node.wait("native memory", || {
        let page = node.page(&tight)?;
        ensure_measured(&page, &labels)?;
        page.value("jvm_nmt_total_committed_bytes", &labels).ok_or("no total").map_err(str::to_owned)
    });
    // Resizes the running pod, as its owner would.
    let limit = |share: f64| {
        let memory = format!("{:.0}", committed / share);
        let resources = json!({"limits": {"memory": memory}});
        let patch: Value = json!({"spec": {"containers": [{"name": "app", "resources": resources}]}});
        let patch = patch.to_string();
        let arguments = ["patch", "pod", &tight.name, "--namespace=shop", "--subresource=resize", "--patch", &patch];
        let output = node.control_plane.kubectl(&arguments);
        assert!(output.status.success(), "{}", text_of(&output));
    };

    let directory = tempfile::tempdir().unwrap();
    let rules = directory.path().join("alerts.yml");
    fs::write(&rules, impatient_rules()).unwrap();
    let address = node.address(&tight).unwrap();
    let prometheus =
        node.namespaces.online(|| Prometheus::start(&prometheus, directory.path(), address, &[rules], &[]));
    let ask = |expression: &str| node.namespaces.online(|| prometheus.query(expression));
    limit(0.95);
    node.wait("the alert", || {
        let firing = ask(FIRING)?;
        let shares = ask("jvm_nmt_total_committed_bytes / jvm_hotspot_cgroup_memory_limit_bytes")?;
        ensure(firing.len() == 1, format!("{shares:?}"))
    });
    limit(0.6);
    node.wait("the end of the alert", || {
        let shares = ask("jvm_nmt_total_committed_bytes / jvm_hotspot_cgroup_memory_limit_bytes")?;
        ensure(shares.len() == 1 && shares[0] < 0.8, format!("{shares:?}"))?;
        ensure(ask(FIRING)?.is_empty(), "still firing")
    });
}
