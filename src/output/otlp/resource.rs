//! Resource attributes, which identify a JVM to the receiver, by the names of the semantic conventions.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value::{self, IntValue, StringValue};
use uuid::Uuid;

use super::message::attribute;
use crate::config::{DownwardApi, Otlp};
use crate::targets::Target;

/// The namespace of `service.instance.id` (semantic conventions, `service`).
const INSTANCES: Uuid = Uuid::from_u128(0x4d63009a_8d0f_11ee_aad7_4c796ed8e320);

#[derive(Debug)]
pub(super) struct Resources {
    /// The exporter's own `service.name`.
    name: String,
    /// The attributes of all resources: those of the configuration, and those of the host that it lacks; without
    /// `service.name` and `service.instance.id`.
    common: Vec<(String, String)>,
    host: String,
    downward: DownwardApi,
}

impl Resources {
    /// The resources of this host with a configuration.
    pub(super) fn new(config: &Otlp) -> Self {
        let downward = config.downward.clone();
        let system = rustix::system::uname();
        let host_name = system.nodename().to_string_lossy().into_owned();
        let host_id = fs::read_to_string("/etc/machine-id").ok().map(|id| id.trim().to_owned());
        let host_id = host_id.filter(|id| !id.is_empty());
        let mut common: Vec<(String, String)> = config.resource_attributes.clone();
        let named = common.iter().find(|(key, _)| key == "service.name").map(|(_, name)| name.clone());
        common.retain(|(key, _)| !matches!(key.as_str(), "service.name" | "service.instance.id"));
        // Every JVM that the exporter reads runs on its node.
        let own =
            [("host.name", Some(&host_name)), ("host.id", host_id.as_ref()), ("k8s.node.name", downward.node.as_ref())];
        for (key, value) in own {
            if let Some(value) = value.filter(|_| !common.iter().any(|(known, _)| known == key)) {
                common.push((key.to_owned(), value.clone()));
            }
        }
        Self {
            name: config.service_name.clone().or(named).unwrap_or_else(|| env!("CARGO_PKG_NAME").to_owned()),
            common,
            host: host_id.unwrap_or(host_name),
            downward,
        }
    }

    pub(super) fn own(&self) -> Vec<KeyValue> {
        let mut out = ResourceAttributes::default();
        out.add("service.name", &self.name);
        out.add("service.version", env!("CARGO_PKG_VERSION"));
        let instance = format!("{} {}", self.name, self.host);
        out.add("service.instance.id", Uuid::new_v5(&INSTANCES, instance.as_bytes()).to_string());
        out.push("process.pid", IntValue(std::process::id().into()));
        out.common(&self.common);
        if let Some(pod) = &self.downward.pod {
            out.add("k8s.pod.name", &*pod.name);
            out.add("k8s.namespace.name", &*pod.namespace);
            out.add("k8s.pod.uid", pod.uid.as_deref().unwrap_or_default());
        }
        out.0
    }

    /// The resource of a JVM that started at `started` seconds since the epoch.
    pub(super) fn of(&self, target: &Target, started: Option<f64>) -> Vec<KeyValue> {
        let mut out = ResourceAttributes::default();
        out.add("service.name", &*target.app);
        out.add("service.version", target.jvm.app_version.as_deref().unwrap_or_default());
        out.push("jvm.hotspot.slot", IntValue(target.slot.into()));
        // The labels of the root's path take precedence over attributes of all JVMs.
        for (name, value) in target.identity.iter().filter(|(name, _)| !matches!(*name, "app" | "slot")) {
            match name {
                "container" => out.add("k8s.container.name", value),
                "pod" => out.add("k8s.pod.name", value),
                "namespace" => out.add("k8s.namespace.name", value),
                name => out.add(name, value),
            }
        }
        if let Some(place) = &target.place {
            out.add("k8s.container.name", place.container.as_deref().unwrap_or_default());
            out.add("k8s.pod.name", &*place.pod);
            out.add("k8s.namespace.name", &*place.namespace);
            out.add("k8s.pod.uid", place.uid.as_deref().unwrap_or_default());
        }
        out.process(target, started);
        let jvm = &target.jvm;
        out.add("process.runtime.name", jvm.vm_name.as_deref().unwrap_or_default());
        out.add("process.runtime.version", jvm.vm_version.as_deref().unwrap_or_default());
        let described = [&jvm.vm_vendor, &jvm.vm_name, &jvm.vm_version].map(|part| part.as_deref().unwrap_or_default());
        out.add("process.runtime.description", described.join(" ").trim());
        out.common(&self.common);
        if let Some(namespace) = out.get("k8s.namespace.name").map(str::to_owned) {
            out.add("service.namespace", namespace);
        }
        let instance = self.instance(&out, target);
        out.add("service.instance.id", instance);
        out.0
    }

    /// The instance id, which a restarted JVM keeps: of its container in Kubernetes, else of app and slot on this host.
    fn instance(&self, attributes: &ResourceAttributes, target: &Target) -> String {
        let place = ["k8s.namespace.name", "k8s.pod.name", "k8s.container.name"].map(|key| attributes.get(key));
        if let [Some(namespace), Some(pod), Some(container)] = place {
            let slot = if target.slot > 0 { format!(".{}", target.slot) } else { String::new() };
            return format!("{namespace}.{pod}.{container}{slot}");
        }
        // Includes all labels of the root's path, since each combination of them has its own slots.
        let mut name = self.host.clone();
        for (_, value) in target.identity.iter() {
            name.push('\0');
            name.push_str(value);
        }
        Uuid::new_v5(&INSTANCES, name.as_bytes()).to_string()
    }
}

/// The attributes of one resource; the first value of a key wins.
#[derive(Debug, Default)]
struct ResourceAttributes(Vec<KeyValue>);

impl ResourceAttributes {
    fn get(&self, key: &str) -> Option<&str> {
        let found = self.0.iter().find(|attribute| attribute.key == key)?;
        match found.value.as_ref()?.value.as_ref()? {
            StringValue(text) => Some(text),
            _ => None,
        }
    }

    /// Adds an attribute, unless its value is empty.
    fn add(&mut self, key: &str, value: impl Into<String>) {
        let value = value.into();
        if !value.is_empty() {
            self.push(key, StringValue(value));
        }
    }

    fn push(&mut self, key: &str, value: Value) {
        if !self.0.iter().any(|known| known.key == key) {
            self.0.push(attribute(key, value));
        }
    }

    fn common(&mut self, common: &[(String, String)]) {
        for (key, value) in common {
            self.add(key, value);
        }
    }

    fn process(&mut self, target: &Target, started: Option<f64>) {
        let process = target.process.as_deref();
        let pid = process.map_or(target.vpid, |process| process.pid);
        self.push("process.pid", IntValue(pid.into()));
        if pid != target.vpid {
            self.push("process.vpid", IntValue(target.vpid.into()));
        }
        let since_epoch = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        if let Some(created) = process.map(|process| since_epoch(process.start_time)).or(started) {
            self.add("process.creation.time", rfc3339(created));
        }
        self.add("process.owner", &*target.user);
        if let Some(process) = process {
            self.add("process.executable.name", &process.name);
            self.add("container.id", process.container_id.clone().unwrap_or_default());
            self.add("k8s.pod.uid", process.pod_uid.clone().unwrap_or_default());
        }
    }
}

/// Seconds since the epoch as `2026-11-24T14:41:58.123Z`.
fn rfc3339(seconds: f64) -> String {
    let milliseconds = (seconds * 1e3).round() as i64;
    let nanos = i32::try_from(milliseconds.rem_euclid(1000)).unwrap_or(0).saturating_mul(1_000_000);
    prost_types::Timestamp { seconds: milliseconds.div_euclid(1000), nanos }.to_string()
}
