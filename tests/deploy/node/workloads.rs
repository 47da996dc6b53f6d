//! Pods, in place of the controllers that make them of workloads, and what can be seen of and done to them.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{Node, images};
use crate::manifest::{items, text};
use crate::support::exposition::Exposition;
use crate::support::{ensure, http};
use crate::text_of;

/// A pod of the node.
#[derive(Clone, Debug)]
pub struct Pod {
    pub name: String,
    pub namespace: &'static str,
}

/// A pod with one JVM, as its owner writes it who wants the sidecar and keeps to the restricted standard.
pub fn pod(name: &str, namespace: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"hotspot-exporter/inject": "true"}},
        "spec": jvm("app", json!({"memory": "256Mi", "cpu": "1"})),
    })
}

/// A Deployment of such pods without the sidecar.
pub fn deployment(name: &str, namespace: &str, container: &str, limits: Value) -> Value {
    let labels = json!({"app": name});
    let mut spec = jvm(container, limits);
    spec["containers"][0]["env"] =
        json!([{"name": "JDK_JAVA_OPTIONS", "value": "-XX:NativeMemoryTracking=summary -XX:+StartAttachListener"}]);
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}},
    })
}

/// The user is the one that the image has an entry for.
fn jvm(container: &str, limits: Value) -> Value {
    json!({
        "terminationGracePeriodSeconds": 1,
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": 10002, "runAsGroup": 10002, "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [{
            "name": container,
            "image": images::JVM,
            "command": ["java", "-Xmx64m", "-XX:+UseSerialGC", "-cp", "/app", "Workload"],
            "resources": {"limits": limits, "requests": {"memory": "16Mi", "cpu": "10m"}},
            "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
        }],
    })
}

impl Node {
    /// So many pods of a workload that the API server has, with names as a controller gives them.
    pub fn start_pods(&self, namespace: &'static str, workload: &str, replicas: usize) -> Vec<Pod> {
        let object = self.get(&["--namespace", namespace, workload]).unwrap();
        let (template, name) = (&object["spec"]["template"], text(&object["metadata"]["name"]));
        let ends = ["x2x4k", "q9zvb"];
        let pods = ends[..replicas].iter().map(|end| {
            let mut metadata = template["metadata"].clone();
            metadata["name"] = json!(format!("{name}-66bd7b5c9f-{end}"));
            metadata["namespace"] = json!(namespace);
            let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]});
            self.start_pod(namespace, pod, object["kind"] != "Job")
        });
        pods.collect()
    }

    /// A pod, in place of the scheduler. Its JVMs listen to [`Self::tell`], or end because nobody will say anything.
    pub fn start_pod(&self, namespace: &'static str, mut pod: Value, listening: bool) -> Pod {
        pod["spec"]["nodeName"] = json!("node");
        for container in pod["spec"]["containers"].as_array_mut().unwrap() {
            container["stdin"] = json!(listening && container["name"] != "hotspot-exporter");
        }
        let output = self.control_plane.give(&["create"], &pod.to_string());
        assert!(output.status.success(), "{}\n{pod}", text_of(&output));
        Pod { name: text(&pod["metadata"]["name"]).to_owned(), namespace }
    }

    /// What the kubelet says of it.
    pub fn status(&self, pod: &Pod) -> Result<Value, String> {
        let pods = self.pods()?;
        let mut found = items(&pods["items"]).iter();
        let found = found
            .find(|object| object["metadata"]["name"] == *pod.name && object["metadata"]["namespace"] == pod.namespace);
        found.map(|object| object["status"].clone()).ok_or_else(|| format!("no {pod:?}"))
    }

    /// What the kubelet says of one of its containers.
    pub fn container(&self, pod: &Pod, name: &str) -> Result<Value, String> {
        let status = self.status(pod)?;
        let mut all = items(&status["initContainerStatuses"]).iter().chain(items(&status["containerStatuses"]));
        all.find(|container| container["name"] == name).cloned().ok_or_else(|| format!("no {name} in {status}"))
    }

    /// The page of its exporter.
    pub fn page(&self, pod: &Pod) -> Result<Exposition, String> {
        let address = self.address(pod)?;
        let asked = self.namespaces.online(|| http::request(address, "GET", "/metrics", &[]));
        let response = asked.map_err(|error| format!("{pod:?}: {error}"))?;
        ensure(response.status == 200, response.text())?;
        Ok(Exposition::parse(response.text()))
    }

    /// Where its exporter listens.
    pub fn address(&self, pod: &Pod) -> Result<SocketAddr, String> {
        let status = self.status(pod)?;
        let ip = status["podIP"].as_str().ok_or_else(|| format!("no address of {pod:?}: {status}"))?;
        format!("{ip}:9850").parse().map_err(|error| format!("{error}"))
    }

    /// The process of a container.
    fn process(&self, pod: &Pod, container: &str) -> u32 {
        self.wait(container, || {
            let status = self.container(pod, container)?;
            ensure(!status["state"]["running"].is_null(), &status)?;
            let id = status["containerID"].as_str().and_then(|id| id.strip_prefix("containerd://"));
            let found = id.and_then(|id| self.namespaces.first_process(id));
            found.ok_or_else(|| format!("no process of {status}"))
        })
    }

    /// Gives a command to the JVM of a container.
    pub fn tell(&self, pod: &Pod, container: &str, command: &str) {
        let input = format!("/proc/{}/fd/0", self.process(pod, container));
        let mut input = File::options().write(true).open(&input).unwrap_or_else(|error| panic!("{input}: {error}"));
        writeln!(input, "{command}").unwrap();
    }

    /// Kills a container, and waits until the kubelet has started it again.
    pub fn kill(&self, pod: &Pod, container: &str) {
        let process = self.process(pod, container);
        let before = self.container(pod, container).unwrap()["restartCount"].as_u64();
        kill_process(Pid::from_raw(process.cast_signed()).unwrap(), Signal::KILL).unwrap();
        self.wait("a killed container to start again", || {
            let status = self.container(pod, container)?;
            ensure(status["restartCount"].as_u64() > before && !status["state"]["running"].is_null(), status)
        });
    }

    /// What was written by a container.
    pub fn log(&self, pod: &Pod, container: &str) -> String {
        text_of(&self.control_plane.kubectl(&[
            "logs",
            "--namespace",
            pod.namespace,
            &pod.name,
            "--container",
            container,
        ]))
    }
}

/// Whether the page has the JVM with these labels, with native memory by category.
pub fn ensure_measured(page: &Exposition, labels: &[(&str, &str)]) -> Result<(), String> {
    ensure(page.value("jvm_up", labels) == Some(1.0), format!("no JVM {labels:?}"))?;
    let categories = page.all("jvm_nmt_committed_bytes", labels).count();
    ensure(categories >= 10, format!("{categories} categories of native memory of {labels:?}"))
}
