//! Rendered manifests as values.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// All objects of a stream of documents.
pub fn parse(text: &str) -> Vec<Value> {
    let documents = yaml_serde::Deserializer::from_str(text).map(|document| Value::deserialize(document).unwrap());
    documents.filter(|object| !object.is_null()).collect()
}

/// The one object of that kind.
pub fn of_kind<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let mut found = objects.iter().filter(|object| object["kind"] == kind);
    let first = found.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(found.next().is_none(), "several {kind}");
    first
}

/// The text at a key.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("a text, found {value}"))
}

/// The items of a list; none where there is no list.
pub fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The texts of a list.
pub fn texts(value: &Value) -> Vec<&str> {
    items(value).iter().map(text).collect()
}

/// The item of a list with that name.
pub fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    let found = items(list).iter().find(|item| item["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {list}"))
}

/// The specification of an object's pods.
pub fn pod_spec(object: &Value) -> &Value {
    if object["kind"] == "Pod" { &object["spec"] } else { &object["spec"]["template"]["spec"] }
}

/// Init containers and containers.
pub fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    items(&spec["initContainers"]).iter().chain(items(&spec["containers"]))
}

/// The exporter of a pod.
pub fn exporter(spec: &Value) -> &Value {
    containers(spec).find(|container| container["name"] == "hotspot-exporter").expect("an exporter in the pod")
}

/// Names and values of the environment.
pub fn environment(container: &Value) -> BTreeMap<&str, &str> {
    items(&container["env"]).iter().map(|variable| (text(&variable["name"]), text(&variable["value"]))).collect()
}

/// What the restricted Pod Security Standard finds wrong with a pod.
pub fn restricted_violations(spec: &Value) -> Vec<String> {
    let mut violations = Vec::new();
    for key in ["hostPID", "hostIPC", "hostNetwork"] {
        if spec[key] == true {
            violations.push(key.to_owned());
        }
    }
    for volume in items(&spec["volumes"]) {
        let kinds = ["configMap", "emptyDir", "projected", "secret", "downwardAPI", "csi", "ephemeral"];
        if !kinds.iter().any(|kind| volume.get(kind).is_some()) {
            violations.push(format!("volume {volume}"));
        }
    }
    for container in containers(spec) {
        let own = &container["securityContext"];
        let either = |key: &str| if own[key].is_null() { &spec["securityContext"][key] } else { &own[key] };
        let mut check = |holds: bool, what: &str| {
            if !holds {
                violations.push(format!("{}: {what}", container["name"]));
            }
        };
        check(own["allowPrivilegeEscalation"] == false, "allowPrivilegeEscalation");
        check(own["privileged"] != true, "privileged");
        check(texts(&own["capabilities"]["drop"]) == ["ALL"], "capabilities.drop");
        check(items(&own["capabilities"]["add"]).is_empty(), "capabilities.add");
        check(*either("runAsNonRoot") == true, "runAsNonRoot");
        check(*either("runAsUser") != 0, "runAsUser");
        check(either("seccompProfile")["type"] == "RuntimeDefault", "seccompProfile");
    }
    violations
}
