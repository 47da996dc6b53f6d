//! The real helm, on a copy of the charts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::package;
use crate::{manifest, run, text_of, tool};

/// A copy of `helm/`, with the example's dependency in place.
pub struct Helm {
    program: PathBuf,
    directory: TempDir,
}

/// A chart with one set of values, of those in its directory `ci`; and the first minor release of Kubernetes 1 that it is
/// for.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub chart: &'static str,
    /// Empty for the defaults.
    pub values: &'static str,
    pub since: u32,
}

const fn case(chart: &'static str, values: &'static str, since: u32) -> Case {
    Case { chart, values, since }
}

pub const AGENT: Case = case("hotspot-exporter", "", 28);
pub const APP: Case = case("examples/app", "", 29);

/// All that is rendered.
pub const CASES: [Case; 9] = [
    AGENT,
    case("hotspot-exporter", "everything", 28),
    case("hotspot-exporter", "existing", 28),
    case("hotspot-exporter", "host-network", 28),
    case("hotspot-exporter", "sidecars", 34),
    case("hotspot-exporter", "deny", 34),
    APP,
    case("examples/app", "ordinary", 28),
    case("examples/app", "everything", 29),
];

/// The newest release of Kubernetes that is rendered for, and the one of the API server in the tests.
pub const NEWEST: u32 = 37;

impl Case {
    /// For file names.
    pub fn name(&self) -> String {
        let chart = self.chart.trim_start_matches("examples/");
        if self.values.is_empty() { chart.to_owned() } else { format!("{chart}-{}", self.values) }
    }
}

impl Helm {
    /// `None`, said as a skip, without the program.
    pub fn new(test: &str) -> Option<Self> {
        let program = tool("helm", test)?;
        let directory = tempfile::tempdir().unwrap();
        copy(&package().join("helm"), directory.path());
        let helm = Self { program, directory };
        run(helm.command().args(["dependency", "build"]).arg(helm.chart("examples/app")));
        Some(helm)
    }

    /// The directory of a chart.
    pub fn chart(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// helm, with its own files out of the home directory.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(variable, self.directory.path().join("home"));
        }
        // No cluster, whoever has one.
        command.env("KUBECONFIG", self.directory.path().join("none"));
        command
    }

    /// Flags that say what the cluster is.
    pub fn cluster(minor: u32) -> [String; 2] {
        [format!("--kube-version=1.{minor}.0"), format!("--api-versions={}", api_versions(minor))]
    }

    /// `helm template` of a case for a release of Kubernetes, in the way of one who knows what the cluster has.
    pub fn template(&self, case: &Case, minor: u32, settings: &[&str]) -> Output {
        let mut command = self.command();
        command.args(["template", "shop"]).arg(self.chart(case.chart)).args(["--namespace", "jvms"]);
        command.args(Self::cluster(minor));
        if !case.values.is_empty() {
            command.arg("--values").arg(self.chart(case.chart).join(format!("ci/{}-values.yaml", case.values)));
        }
        for setting in settings {
            command.arg(format!("--set-json={setting}"));
        }
        command.output().unwrap()
    }

    /// The same, which must succeed.
    pub fn text(&self, case: &Case, minor: u32, settings: &[&str]) -> String {
        let output = self.template(case, minor, settings);
        assert!(output.status.success(), "{case:?} {settings:?}: {}", text_of(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same as values.
    pub fn objects(&self, case: &Case, minor: u32, settings: &[&str]) -> Vec<Value> {
        manifest::parse(&self.text(case, minor, settings))
    }
}

/// The kinds beyond the usual that such a cluster has.
fn api_versions(minor: u32) -> String {
    let mut kinds = vec!["monitoring.coreos.com/v1/PodMonitor", "monitoring.coreos.com/v1/PrometheusRule"];
    if minor >= 34 {
        kinds.push("admissionregistration.k8s.io/v1beta1/MutatingAdmissionPolicy");
    }
    if minor >= 36 {
        kinds.push("admissionregistration.k8s.io/v1/MutatingAdmissionPolicy");
    }
    kinds.join(",")
}

/// Copies a directory, without what `helm dependency build` left in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        if entry.path().is_dir() {
            if name != "charts" {
                copy(&entry.path(), &to.join(name));
            }
        } else {
            fs::copy(entry.path(), to.join(name)).unwrap();
        }
    }
}
