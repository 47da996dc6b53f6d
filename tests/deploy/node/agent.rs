//! The node agent.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::json;

use super::Node;
use super::workloads::{Pod, deployment, ensure_measured};
use crate::support::ensure;
use crate::support::exporter::command;
use crate::support::exposition::Exposition;
use crate::text_of;

const LIMIT: f64 = 192.0 * 1024.0 * 1024.0;

/// A value that the agent has of the JVM in that pod.
fn value(page: &Exposition, metric: &str, pod: &Pod) -> Result<f64, String> {
    let labels = [("namespace", pod.namespace), ("pod", &*pod.name), ("container", "orders")];
    page.value(metric, &labels).ok_or_else(|| format!("no {metric} of {pod:?}"))
}

/// The label that tells it from the other JVMs of its name.
fn slot(page: &Exposition, pod: &Pod) -> Option<String> {
    let labels = [("pod", &*pod.name)];
    page.all("jvm_up", &labels).next().map(|sample| sample.labels["slot"].clone())
}

/// What `top` prints that asks the agent as somebody does who has no more than a kubeconfig.
fn top_through_port_forward(node: &Node, agent: &Pod) -> String {
    let mut forward = node.control_plane.client();
    forward.args(["port-forward", "--namespace", agent.namespace, &agent.name, ":9850"]);
    let mut forward = forward.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    // `Forwarding from 127.0.0.1:40123 -> 9850`
    BufReader::new(forward.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address = line.split_whitespace().find(|word| word.starts_with("127.0.0.1:"));
    let address = address.unwrap_or_else(|| panic!("kubectl port-forward says {line:?}"));
    let mut top = command(["top", &format!("--url=http://{address}")]);
    let output = node.namespaces.online(|| top.output().unwrap());
    // nsenter has become kubectl.
    forward.kill().unwrap();
    forward.wait().unwrap();
    text_of(&output)
}

#[test]
fn two_pods_of_a_deployment_show_themselves_through_the_agent() {
    let Some(node) = Node::shared("two_pods_of_a_deployment_show_themselves_through_the_agent") else { return };
    let limits = json!({"memory": "192Mi", "cpu": "200m"});
    node.control_plane.apply(&deployment("orders", "shop", "orders", limits).to_string());
    let pods = node.start_pods("shop", "deployment/orders", 2);
    let agent = node.agent();
    let page = node.wait("both pods", || {
        let page = node.page(agent)?;
        for pod in &pods {
            ensure_measured(&page, &[("namespace", "shop"), ("pod", &pod.name), ("container", "orders")])?;
            let (limit, quota) = (
                value(&page, "jvm_hotspot_cgroup_memory_limit_bytes", pod)?,
                value(&page, "jvm_hotspot_cgroup_cpu_quota", pod)?,
            );
            ensure((limit, quota) == (LIMIT, 0.2), format!("{limit} bytes and {quota} CPUs"))?;
        }
        Ok::<_, String>(page)
    });
    let slots = [slot(&page, &pods[0]), slot(&page, &pods[1])];
    assert_ne!(slots[0], slots[1]);

    // Both were throttled as they started; one has work to do from now on.
    node.tell(&pods[0], "orders", "run 40000");
    node.wait("the busy pod to be throttled more than the idle one", || {
        let page = node.page(agent)?;
        let [busy, idle] = [&pods[0], &pods[1]];
        for metric in
            ["jvm_hotspot_cgroup_cpu_throttled_seconds_total", "jvm_hotspot_cgroup_cpu_throttled_periods_total"]
        {
            let (busy, idle) = (value(&page, metric, busy)?, value(&page, metric, idle)?);
            ensure(busy > 2.0 * idle + 1.0, format!("{metric}: {busy} and {idle}"))?;
        }
        Ok::<_, String>(())
    });
    node.tell(&pods[0], "orders", "rest");

    // Both are told apart by whoever has no more than a kubeconfig.
    node.wait("top through a port-forward", || {
        let shown = top_through_port_forward(node, agent);
        let has = |pod: &Pod| shown.lines().any(|line| line.contains(&format!("shop/{}/orders", pod.name)));
        ensure(pods.iter().all(has), &shown)
    });
    let doctor =
        ["exec", "--namespace", agent.namespace, &agent.name, "--", "/hotspot-exporter", "doctor", "--verbose"];
    let said = text_of(&node.control_plane.kubectl(&doctor));
    assert!(pods.iter().all(|pod| said.contains(&format!("pod={}", pod.name))), "{said}");

    // The agent's container starts again, and still tells the pods apart as it did.
    node.kill(agent, "hotspot-exporter");
    let page = node.wait("the agent's next life", || {
        let page = node.page(agent)?;
        pods.iter().try_for_each(|pod| value(&page, "jvm_up", pod).map(|_| ()))?;
        Ok::<_, String>(page)
    });
    assert_eq!([slot(&page, &pods[0]), slot(&page, &pods[1])], slots);
}
