//! What lists show of a JVM that does not change while it is served.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a JVM is: a part of the rows of `list`, whose JSON is a public format. What is unknown is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct JvmDescription {
    /// The application's name, a label of all its series; absent while the JVM starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// Distinguishes JVMs of the same app, a label of all its series; absent while the JVM starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<u32>,
    /// Process id in the exporter's pid namespace if the process is visible, else in the JVM's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Main class or jar, without arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub main_class: Option<String>,
    /// `java.version`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub java_version: Option<String>,
    /// The collector's short name, such as `G1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gc: Option<String>,
    /// The region's file, or `/proc/PID/mem`; absent while the JVM has none yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How the region is read: `file` or `memory`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// Labels of the root's path and of the JVM's pod.
    pub labels: BTreeMap<String, String>,
    /// `java.vm.vendor`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm_vendor: Option<String>,
    /// Owner of the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}
