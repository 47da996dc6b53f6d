//! Rendered manifests against the schemas of the releases of Kubernetes that the charts are for.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::helm::{CASES, Helm, NEWEST};
use crate::{run, shipped, text_of, tool};

/// A case that a release cannot have is refused, with the remedy.
#[test]
fn manifests_are_valid_from_1_28_on() {
    let test = "manifests_are_valid_from_1_28_on";
    let Some((helm, validator)) = Helm::new(test).zip(tool("kubernetes-validate", test)) else { return };
    let directory = tempfile::tempdir().unwrap();
    for minor in 28..=NEWEST {
        let mut files = Vec::new();
        for case in &CASES {
            let output = helm.template(case, minor, &[]);
            if minor < case.since {
                let said = text_of(&output);
                let remedy = if case.since == 29 { "Set native: false" } else { "use the library chart" };
                assert!(!output.status.success() && said.contains(remedy), "1.{minor} {case:?}: {said}");
                continue;
            }
            assert!(output.status.success(), "1.{minor} {case:?}: {}", text_of(&output));
            let file = directory.path().join(format!("{}-{minor}.yaml", case.name()));
            fs::write(&file, output.stdout).unwrap();
            files.push(file);
        }
        files.extend((minor >= 29).then(shipped::rendered_example));
        // Each file says from when on it is good.
        for (name, since) in [
            ("daemonset.yaml", 30),
            ("admission-policy.yaml", 36),
            ("pod-monitor-agents.yaml", 28),
            ("pod-monitor-sidecars.yaml", 28),
        ] {
            files.extend((minor >= since).then(|| shipped::plain(name)));
        }
        validate(&validator, minor, &files);
    }
}

/// The validator does find what is wrong.
#[test]
fn a_field_that_a_release_does_not_have_is_found() {
    let test = "a_field_that_a_release_does_not_have_is_found";
    let Some((helm, validator)) = Helm::new(test).zip(tool("kubernetes-validate", test)) else { return };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("app.yaml");
    fs::write(&file, helm.text(&crate::helm::APP, NEWEST, &[])).unwrap();
    let output = Command::new(validator).args(["--strict", "-k", "1.27"]).arg(file).output().unwrap();
    assert!(!output.status.success() && text_of(&output).contains("restartPolicy"), "{}", text_of(&output));
}

/// Kinds of the Prometheus operator are unknown to it; the API server tries those.
fn validate(validator: &Path, minor: u32, files: &[std::path::PathBuf]) {
    let mut command = Command::new(validator);
    command.args(["--strict", "-k", &format!("1.{minor}")]).args(files);
    let output = command.output().unwrap();
    let said = text_of(&output);
    assert!(output.status.success(), "1.{minor}: {said}");
    for line in said.lines().filter(|line| !line.starts_with("INFO")) {
        let known = ["PodMonitor", "PrometheusRule"].iter().any(|kind| line.contains(&format!("for kind {kind} ")));
        assert!(known, "1.{minor}: {line}");
    }
    assert!(said.lines().filter(|line| line.starts_with("INFO")).count() + 1 > files.len(), "{said}");
}

/// The manifests that need no helm, as kubectl prints them.
#[test]
fn kustomize_renders_the_component() {
    let test = "kustomize_renders_the_component";
    let Some(kubectl) = tool("kubectl", test) else { return };
    let text = run(Command::new(kubectl).arg("kustomize").arg(shipped::example()));
    let differences: Vec<String> =
        crate::support::golden::compare("kubernetes/example.yaml", &text).err().into_iter().collect();
    crate::support::golden::assert_no_differences(&differences);
}
