//! `deploy/`, against the charts that do the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::helm::{AGENT, APP, Case, Helm, NEWEST};
use crate::manifest::{of_kind, parse, pod_spec};
use crate::support::package;
use crate::{run, text_of, tool};

/// The example of the kustomize component.
pub fn example() -> PathBuf {
    package().join("deploy/kubernetes/example")
}

/// A manifest that needs no tool.
pub fn plain(name: &str) -> PathBuf {
    package().join("deploy/kubernetes").join(name)
}

/// The render of the example.
pub fn rendered_example() -> PathBuf {
    package().join("tests/golden/kubernetes/example.yaml")
}

#[test]
fn the_plain_node_agent_is_that_of_the_chart() {
    let Some(helm) = Helm::new("the_plain_node_agent_is_that_of_the_chart") else { return };
    let plain = parse(&fs::read_to_string(plain("daemonset.yaml")).unwrap());
    let chart = helm.objects(&AGENT, NEWEST, &["fullnameOverride=\"hotspot-exporter\""]);
    let [ours, theirs] = [&plain, &chart].map(|objects| of_kind(objects, "DaemonSet"));
    assert_eq!(pod_spec(ours), pod_spec(theirs));
    assert_eq!(ours["spec"]["updateStrategy"], theirs["spec"]["updateStrategy"]);
    let config =
        |objects: &[Value]| parse(of_kind(objects, "ConfigMap")["data"]["config.yaml"].as_str().unwrap())[0].clone();
    assert_eq!(config(&plain), config(&chart));
}

#[test]
fn the_plain_policy_and_monitors_are_those_of_the_chart() {
    let Some(helm) = Helm::new("the_plain_policy_and_monitors_are_those_of_the_chart") else { return };
    let case = Case { values: "sidecars", ..AGENT };
    let settings =
        ["fullnameOverride=\"hotspot-exporter\"", "mode=\"daemonset\"", "prometheus.podMonitor.enabled=true"];
    let chart = helm.objects(&case, NEWEST, &settings);
    for file in ["admission-policy.yaml", "pod-monitor-agents.yaml", "pod-monitor-sidecars.yaml"] {
        for ours in parse(&fs::read_to_string(plain(file)).unwrap()) {
            let same =
                |other: &&Value| other["kind"] == ours["kind"] && other["metadata"]["name"] == ours["metadata"]["name"];
            let mut theirs = chart.iter().find(same).unwrap_or_else(|| panic!("{ours}")).clone();
            // A release has a name; what is applied by hand does not.
            if let Some(labels) = theirs.pointer_mut("/spec/selector/matchLabels").and_then(Value::as_object_mut) {
                labels.remove("app.kubernetes.io/instance");
            }
            assert_eq!(ours["spec"], theirs["spec"], "{file}: render it again");
        }
    }
}

#[test]
fn the_component_makes_what_the_library_chart_makes() {
    let test = "the_component_makes_what_the_library_chart_makes";
    let Some((helm, kubectl)) = Helm::new(test).zip(tool("kubectl", test)) else { return };
    let component = parse(&run(Command::new(kubectl).arg("kustomize").arg(example())));
    let chart = helm.objects(&Case { ..APP }, NEWEST, &["hotspot-sidecar.config=null"]);
    let [ours, theirs] = [&component, &chart].map(|objects| &of_kind(objects, "Deployment")["spec"]);
    assert_eq!(ours, theirs);
}

/// The exporter gets the user and the group of the pod, wherever it stands among the init containers; a pod without either
/// is refused.
#[test]
fn the_component_takes_user_and_group_from_the_pod() {
    let Some(kubectl) = tool("kubectl", "the_component_takes_user_and_group_from_the_pod") else { return };
    let directory = tempfile::tempdir().unwrap();
    let component = directory.path().join("sidecar");
    fs::create_dir(&component).unwrap();
    for file in ["kustomization.yaml", "sidecar.yaml"] {
        fs::copy(package().join("deploy/kubernetes/sidecar").join(file), component.join(file)).unwrap();
    }
    let base = directory.path().join("base");
    fs::create_dir(&base).unwrap();
    fs::write(base.join("kustomization.yaml"), "resources: [pods.yaml]\ncomponents: [../sidecar]\n").unwrap();
    let build = |security: &Value, label: &str| {
        let workload = json!({
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": "app", "labels": {"hotspot-exporter/sidecar": label}},
            "spec": {"template": {"spec": {
                "securityContext": security,
                "initContainers": [{"name": "first", "image": "app"}],
                "containers": [{"name": "app", "image": "app"}],
            }}},
        });
        fs::write(base.join("pods.yaml"), workload.to_string()).unwrap();
        Command::new(&kubectl).arg("kustomize").arg(&base).output().unwrap()
    };
    let pair = json!({"runAsUser": 5, "runAsGroup": 6});
    let output = build(&pair, "true");
    let objects = parse(&String::from_utf8(output.stdout).unwrap());
    let spec = pod_spec(&objects[0]);
    let exporter = crate::manifest::exporter(spec);
    assert_eq!(
        (&exporter["securityContext"]["runAsUser"], &exporter["securityContext"]["runAsGroup"]),
        (&json!(5), &json!(6))
    );
    assert_eq!(spec["securityContext"], pair);
    assert_eq!(crate::manifest::named(&spec["initContainers"], "first")["image"], "app");
    for missing in [json!({"runAsUser": 5}), json!({"runAsGroup": 6})] {
        let output = build(&missing, "true");
        assert!(!output.status.success() && text_of(&output).contains("runAs"), "{}", text_of(&output));
    }
    let other = build(&json!({}), "false");
    assert!(!text_of(&other).contains("hotspot-exporter:"), "{}", text_of(&other));
}

/// helm reads only what is in a chart; `scripts/chart-files` copies.
#[test]
fn the_chart_holds_the_dashboards_and_rules_of_deploy() {
    let chart = package().join("helm/hotspot-exporter/files");
    for (source, end, copies) in [("grafana", "json", "dashboards"), ("prometheus", "yml", "rules")] {
        let [ours, theirs] =
            [package().join("deploy").join(source), chart.join(copies)].map(|path| contents(&path, end));
        assert!(ours == theirs, "deploy/{source} and {} differ: call scripts/chart-files", copies);
    }
}

/// Names and texts of the files with that end; tests of rules are not shipped.
fn contents(directory: &Path, end: &str) -> Vec<(String, String)> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == end));
    let mut found: Vec<_> = paths
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap()))
        .collect();
    found.retain(|(name, _)| end == "json" || ["alerts.yml", "rules.yml"].contains(&name.as_str()));
    found.sort();
    found
}
