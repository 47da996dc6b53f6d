//! What the charts become, and what they refuse.

use std::fs;

use serde_json::{Value, json};

use crate::helm::{AGENT, APP, CASES, Case, Helm, NEWEST};
use crate::manifest::{exporter, items, of_kind, parse, pod_spec, restricted_violations, text, texts};
use crate::support::exporter::command;
use crate::support::golden::{assert_no_differences, compare};
use crate::support::package;
use crate::{run, text_of};

#[test]
fn helm_lints_and_packages_every_chart() {
    let Some(helm) = Helm::new("helm_lints_and_packages_every_chart") else { return };
    for chart in ["hotspot-sidecar", "hotspot-exporter", "examples/app"] {
        let directory = helm.chart(chart);
        let values = fs::read_dir(directory.join("ci")).into_iter().flatten().map(|entry| entry.unwrap().path());
        run(helm.command().args(["lint", "--strict"]).arg(&directory));
        for file in values {
            // Only with the flag of `helm template` would it know what the policy needs.
            if !fs::read_to_string(&file).unwrap().contains("admissionPolicy") {
                run(helm.command().args(["lint", "--strict"]).arg(&directory).arg("--values").arg(file));
            }
        }
        run(helm.command().arg("package").arg(&directory).arg("--destination").arg(helm.chart("packages")));
    }
}

/// Dashboards and rules have a test of their own, and would be long here.
#[test]
fn charts_become_these_manifests() {
    let Some(helm) = Helm::new("charts_become_these_manifests") else { return };
    let mut differences = Vec::new();
    for case in &CASES {
        let text = helm.text(case, NEWEST, &[]);
        let documents = text.split_inclusive("---\n").filter(|document| {
            let shipped = ["/templates/dashboards.yaml\n", "/templates/prometheusrule.yaml\n"];
            !shipped.iter().any(|template| document.contains(template))
        });
        let kept: String = documents.collect();
        differences.extend(compare(&format!("helm/{}.yaml", case.name()), &kept).err());
    }
    assert_no_differences(&differences);
}

/// The arguments and the configuration are those of this very program.
#[test]
fn the_exporter_accepts_what_the_charts_give_it() {
    let Some(helm) = Helm::new("the_exporter_accepts_what_the_charts_give_it") else { return };
    let directory = tempfile::tempdir().unwrap();
    for case in &CASES {
        let objects = helm.objects(case, NEWEST, &[]);
        let pods = objects.iter().filter(|object| object["kind"] == "DaemonSet" || object["kind"] == "Deployment");
        for object in pods {
            let file = directory.path().join("config.yaml");
            let config = objects.iter().find_map(|object| object["data"]["config.yaml"].as_str()).unwrap_or("");
            fs::write(&file, config).unwrap();
            let given = texts(&exporter(pod_spec(object))["args"]);
            // The one is replaced by what the ConfigMap holds; the Secret of the other is the user's.
            let files = ["--config.file=", "--web.config.file="];
            let rest = given.iter().filter(|argument| !files.iter().any(|file| argument.starts_with(file)));
            let mut check = command(rest.map(|argument| (*argument).to_owned()));
            run(check.arg("--config.check").arg(format!("--config.file={}", file.display())));
        }
    }
}

#[test]
fn the_sidecar_keeps_to_the_restricted_standard() {
    let Some(helm) = Helm::new("the_sidecar_keeps_to_the_restricted_standard") else { return };
    for case in CASES.iter().filter(|case| case.chart == "examples/app") {
        let objects = helm.objects(case, NEWEST, &[]);
        let spec = pod_spec(of_kind(&objects, "Deployment"));
        assert_eq!(restricted_violations(spec), Vec::<String>::new(), "{case:?}");
        assert_eq!(spec["automountServiceAccountToken"], false);
        let sidecar = exporter(spec);
        assert_eq!(sidecar["securityContext"]["readOnlyRootFilesystem"], true);
        assert!(sidecar["readinessProbe"].is_null(), "it would take the application out of service");
        assert!(sidecar["startupProbe"].is_null(), "it would delay the application");
        assert!(items(&sidecar["volumeMounts"]).iter().all(|mount| mount["readOnly"] == true), "{sidecar}");
    }
    // Without the exporter's own privileges the node agent would keep to it as well.
    let agent = helm.objects(&AGENT, NEWEST, &[]);
    let spec = pod_spec(of_kind(&agent, "DaemonSet"));
    let expected = ["hostPID", "\"DirectoryOrCreate\"}}", "capabilities.add", "runAsNonRoot", "runAsUser"];
    let violations = restricted_violations(spec);
    assert_eq!(violations.len(), expected.len(), "{violations:?}");
    assert!(violations.iter().zip(expected).all(|(found, end)| found.ends_with(end)), "{violations:?}");
    let capabilities = &exporter(spec)["securityContext"]["capabilities"];
    assert_eq!(texts(&capabilities["add"]), ["DAC_READ_SEARCH", "SYS_PTRACE"]);
}

#[test]
fn a_guaranteed_pod_stays_guaranteed() {
    let Some(helm) = Helm::new("a_guaranteed_pod_stays_guaranteed") else { return };
    let objects = helm.objects(&APP, NEWEST, &["hotspot-sidecar.guaranteed=true"]);
    let resources = &exporter(pod_spec(of_kind(&objects, "Deployment")))["resources"];
    assert_eq!(resources["limits"], json!({"cpu": "5m", "memory": "48Mi"}));
    assert_eq!(resources["requests"], resources["limits"]);
}

/// A change of the configuration is rolled out as every other is.
#[test]
fn the_sum_of_the_configuration_is_in_the_pods() {
    let Some(helm) = Helm::new("the_sum_of_the_configuration_is_in_the_pods") else { return };
    let sum = |case: &Case, kind: &str, setting: &str| {
        let objects = helm.objects(case, NEWEST, &[setting]);
        let annotations = of_kind(&objects, kind)["spec"]["template"]["metadata"]["annotations"].clone();
        let sums = annotations.as_object().unwrap().iter().filter(|(name, _)| name.starts_with("checksum/"));
        sums.map(|(_, value)| text(value).to_owned()).next().expect("a checksum")
    };
    for (case, kind, key) in [(&AGENT, "DaemonSet", "config"), (&APP, "Deployment", "hotspot-sidecar.config")] {
        let [before, after] = ["30s", "31s"].map(|time| sum(case, kind, &format!("{key}.nmt.interval=\"{time}\"")));
        assert_ne!(before, after, "{kind}");
    }
}

/// Kubernetes before 1.30 has an annotation in place of the field.
#[test]
fn app_armor_profiles_are_annotations_before_1_30() {
    let Some(helm) = Helm::new("app_armor_profiles_are_annotations_before_1_30") else { return };
    let name = "container.apparmor.security.beta.kubernetes.io/hotspot-exporter";
    for (profile, expected) in [
        (r#"{"type": "Unconfined"}"#, "unconfined"),
        (r#"{"type": "RuntimeDefault"}"#, "runtime/default"),
        (r#"{"type": "Localhost", "localhostProfile": "jvms"}"#, "localhost/jvms"),
    ] {
        let setting = format!("containerSecurityContext.appArmorProfile={profile}");
        let objects = helm.objects(&AGENT, 29, &[&setting]);
        let template = &of_kind(&objects, "DaemonSet")["spec"]["template"];
        assert_eq!(template["metadata"]["annotations"][name], expected);
        assert!(exporter(pod_spec(of_kind(&objects, "DaemonSet")))["securityContext"]["appArmorProfile"].is_null());
    }
}

/// Each agent is reached on its own, and all of them are in the namespace that was asked for.
#[test]
fn the_service_resolves_to_every_agent() {
    let Some(helm) = Helm::new("the_service_resolves_to_every_agent") else { return };
    let objects = helm.objects(&Case { values: "everything", ..AGENT }, NEWEST, &[]);
    let (service, agent) = (of_kind(&objects, "Service"), of_kind(&objects, "DaemonSet"));
    assert_eq!(service["spec"]["clusterIP"], "None");
    for (name, value) in service["spec"]["selector"].as_object().unwrap() {
        assert_eq!(agent["spec"]["template"]["metadata"]["labels"][name], *value, "{name}");
    }
    let port = &service["spec"]["ports"][0];
    assert_eq!(port["targetPort"], exporter(pod_spec(agent))["ports"][0]["name"]);
    assert_eq!(port["port"], exporter(pod_spec(agent))["ports"][0]["containerPort"]);
    for object in objects.iter().filter(|object| object["metadata"]["name"] != "extra") {
        let namespace = &object["metadata"]["namespace"];
        assert!(namespace == "monitoring" || object["metadata"]["name"] == "shop-text", "{object}");
    }
}

/// OTLP is configured by the environment.
#[test]
fn the_environment_reaches_the_exporter() {
    let Some(helm) = Helm::new("the_environment_reaches_the_exporter") else { return };
    for (case, kind) in [(AGENT, "DaemonSet"), (APP, "Deployment")] {
        let objects = helm.objects(&Case { values: "everything", ..case }, NEWEST, &[]);
        let exporter = exporter(pod_spec(of_kind(&objects, kind)));
        let endpoint = &crate::manifest::named(&exporter["env"], "OTEL_EXPORTER_OTLP_ENDPOINT")["value"];
        assert_eq!(endpoint, "http://collector.monitoring:4317", "{case:?}");
        assert_eq!(items(&exporter["envFrom"]).len(), 1, "{case:?}");
    }
}

/// Each refusal names the remedy. Settings are `--set-json`.
#[test]
fn values_that_cannot_work_are_refused() {
    let Some(helm) = Helm::new("values_that_cannot_work_are_refused") else { return };
    let [sidecars, host_network] = ["sidecars", "host-network"].map(|values| Case { values, ..AGENT });
    let shared = r#"hotspot-sidecar.jvm.containers=[{"name":"orders"},{"name":"billing","subPath":"orders"}]"#;
    let below =
        r#"hotspot-sidecar.jvm.containers=[{"name":"orders","mountPath":"/tmp/hsperfdata_app"},{"name":"billing"}]"#;
    let table: &[(&Case, &str, &str)] = &[
        (&APP, "hotspot-sidecar.jvm.uid=null", "set jvm.uid and jvm.gid"),
        (&APP, "hotspot-sidecar.jvm.gid=null", "of another group it closes the connection"),
        (&APP, "hotspot-sidecar.jvm.containers=[]", "name the containers with a JVM"),
        (&APP, r#"hotspot-sidecar.jvm.containers=[{"name":"orders"}]"#, "add `- name: billing`"),
        (&APP, shared, "give each its own, or leave it out"),
        (&APP, below, "mount it at /tmp"),
        (&APP, "hotspot-sidecar.existingConfigMap=\"other\"", "keep one"),
        (&APP, "hotspot-sidecar.jvm.uid=\"app\"", "got string, want"),
        (&APP, "hotspot-sidecar.jvm.user=1", "additional properties 'user' not allowed"),
        (&APP, "hotspot-sidecar.readinessProbe={}", "additional properties 'readinessProbe' not allowed"),
        (&APP, "hotspot-sidecar.tmp.medium=\"disk\"", "value must be one of"),
        (&APP, "hotspot-sidecar.image.digest=\"sha256:1\"", "does not match pattern"),
        (&APP, "hotspot-sidecar.web.port=0", "minimum"),
        (&APP, r#"hotspot-sidecar.jvm.containers=[{"name":"orders","subPath":"../x"}]"#, "does not match pattern"),
        (&AGENT, "mode=\"sidecar\"", "value must be one of 'daemonset', 'none'"),
        (&AGENT, "imag={}", "additional properties 'imag' not allowed"),
        (&AGENT, "image.pullPolicy=\"Sometimes\"", "value must be one of"),
        (&AGENT, "web.port=\"9850\"", "got string, want integer"),
        (&AGENT, "prometheus.podMonitor.interval=\"often\"", "does not match pattern"),
        (&AGENT, "prometheus.serviceMonitor={}", "additional properties 'serviceMonitor' not allowed"),
        (&AGENT, "extraArgs=[\"list\"]", "does not match pattern"),
        (&AGENT, "commonLabels={\"a\":1}", "got number, want string"),
        (&AGENT, "config.attach.mode=\"passive\"", "Set nativeMemory: true"),
        (&AGENT, "config.nmt.mode=\"passive\"", "Set nativeMemory: true"),
        (&AGENT, "env=[{\"value\":\"1\"}]", "missing property 'name'"),
        (&AGENT, "dnsPolicy=\"Cluster\"", "value must be one of"),
        (&AGENT, "namespaceOverride=\"A b\"", "does not match pattern"),
        (&AGENT, "terminationGracePeriodSeconds=-1", "minimum"),
        (&host_network, "networkPolicy.enabled=true", "does not apply to pods in the network of their node"),
        (&sidecars, "service.enabled=true", "service is for mode daemonset"),
        (&sidecars, "networkPolicy.enabled=true", "networkPolicy is for mode daemonset"),
        (&sidecars, "prometheus.podMonitor.enabled=true", "set prometheus.podMonitor.sidecars.enabled"),
        (&sidecars, "admissionPolicy.onProblem=\"Audit\"", "value must be one of 'Warn', 'Deny'"),
    ];
    for (case, setting, message) in table {
        let output = helm.template(case, NEWEST, &[setting]);
        let said = text_of(&output);
        assert!(!output.status.success() && said.contains(message), "{setting} must say {message:?}:\n{said}");
    }
    let both = helm.template(&AGENT, NEWEST, &["existingConfigMap=\"other\"", "config.limits.max_jvms=1"]);
    assert!(!both.status.success() && text_of(&both).contains("keep one"), "{}", text_of(&both));
}

/// Dashboards and rules pass through helm as they are, with all that looks like a template in them.
#[test]
fn dashboards_and_rules_pass_through_unchanged() {
    let Some(helm) = Helm::new("dashboards_and_rules_pass_through_unchanged") else { return };
    let files = helm.chart("hotspot-exporter/files");
    let dashboard = r#"{"title": "A", "legend": "{{app}} $x", "links": ["<a&b>"]}"#;
    let rules = "groups:\n- name: a\n  rules:\n  - alert: A\n    expr: up == 0\n    annotations: {summary: '{{ $labels.app }} \"x\"'}\n";
    for (directory, file, content) in [("dashboards", "a.json", dashboard), ("rules", "a.yml", rules)] {
        fs::create_dir_all(files.join(directory)).unwrap();
        fs::write(files.join(directory).join(file), content).unwrap();
    }
    let objects = helm.objects(&Case { values: "everything", ..AGENT }, NEWEST, &[]);
    let mut groups = Vec::new();
    for path in sorted(&files.join("rules")) {
        groups.extend(items(&parse(&fs::read_to_string(path).unwrap())[0]["groups"]).to_vec());
    }
    groups.push(json!({"name": "own", "rules": [{"record": "jvm:up:count", "expr": "count(jvm_up)"}]}));
    assert_eq!(of_kind(&objects, "PrometheusRule")["spec"]["groups"], Value::Array(groups));
    for path in sorted(&files.join("dashboards")) {
        let file = path.file_name().unwrap().to_str().unwrap();
        let map = objects.iter().find(|object| object["data"].get(file).is_some()).expect(file);
        let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(json(text(&map["data"][file])), json(&fs::read_to_string(&path).unwrap()), "{file}");
        assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
        assert_eq!(map["metadata"]["annotations"]["grafana_folder"], "JVM");
    }
    let none = ["prometheusRule.enabled=true", "prometheusRule.defaultRules=false"];
    let output = helm.template(&AGENT, NEWEST, &none);
    assert!(text_of(&output).contains("give prometheusRule.groups"), "{}", text_of(&output));
}

fn sorted(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn notes_say_what_was_not_made() {
    let Some(helm) = Helm::new("notes_say_what_was_not_made") else { return };
    let notes = |settings: &[&str]| {
        let mut install = helm.command();
        install.args(["install", "shop"]).arg(helm.chart("hotspot-exporter")).arg("--dry-run=client");
        run(install.args(settings.iter().map(|setting| format!("--set={setting}"))))
    };
    let usual = notes(&[]);
    assert!(usual.contains("pod-security.kubernetes.io/enforce=privileged"), "{usual}");
    assert!(usual.contains("ds/shop-hotspot-exporter -- /hotspot-exporter list"), "{usual}");
    assert!(!usual.contains("WARNING"), "{usual}");
    let missing = notes(&["prometheus.podMonitor.enabled=true", "prometheusRule.enabled=true"]);
    assert!(missing.contains("no PodMonitor was made") && missing.contains("no PrometheusRule was made"), "{missing}");
    assert!(notes(&["mode=none"]).contains("nothing was installed"));
}

/// The API server sees no images, and the JVM's /tmp changes: who enables the policy is told.
#[test]
fn notes_say_what_pods_need() {
    let Some(helm) = Helm::new("notes_say_what_pods_need") else { return };
    let notes = |setting: &str| {
        // Without a cluster to ask, helm does not know the policy's kind, and its template refuses the chart.
        let chart = helm.chart("hotspot-exporter");
        let policy = chart.join("templates/admissionpolicy.yaml");
        let kept = fs::read_to_string(&policy).unwrap();
        fs::write(&policy, "").unwrap();
        let mut install = helm.command();
        install.args(["install", "shop"]).arg(&chart).args(["--dry-run=client", "--set=admissionPolicy.enabled=true"]);
        let said = run(install.arg(format!("--set={setting}")));
        fs::write(&policy, kept).unwrap();
        said
    };
    let usual = notes("mode=none");
    for part in
        ["runAsUser and runAsGroup", "USER only", "64Mi of memory", "tmp-size-limit", "hotspot-exporter/problem'"]
    {
        assert!(usual.contains(part), "{part}: {usual}");
    }
    assert!(notes("admissionPolicy.tmp.medium=").contains("64Mi on disk"));
    assert!(notes("admissionPolicy.onProblem=Deny").contains("is rejected"));
}

/// The commands of the Kubernetes page work.
#[test]
fn the_readmes_commands_render() {
    let Some(helm) = Helm::new("the_readmes_commands_render") else { return };
    let readme = fs::read_to_string(package().join("docs/kubernetes.md")).unwrap().replace("\\\n", " ");
    let calls: Vec<&str> = readme.lines().filter_map(|line| line.strip_prefix("helm install ")).collect();
    assert_eq!(calls.len(), 2, "{calls:?}");
    for call in calls {
        let arguments = call.replace("helm/hotspot-exporter", helm.chart("hotspot-exporter").to_str().unwrap());
        let mut template = helm.command();
        template.arg("template").args(arguments.split_whitespace()).args(Helm::cluster(NEWEST));
        let objects = parse(&run(&mut template));
        for kind in ["PodMonitor", "PrometheusRule"] {
            assert!(objects.iter().any(|object| object["kind"] == kind), "{call}: no {kind}");
        }
    }
}

/// One version for the program and the charts; a tag that is left out follows it.
#[test]
fn charts_have_the_programs_version() {
    for chart in ["hotspot-sidecar", "hotspot-exporter"] {
        let file = package().join("helm").join(chart).join("Chart.yaml");
        let chart = &parse(&fs::read_to_string(file).unwrap())[0];
        assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    }
}
