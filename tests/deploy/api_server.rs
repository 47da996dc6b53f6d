//! The API server's word on the manifests, and the admission policy at work.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::helm::{APP, CASES, Case, Helm};
use crate::manifest::{environment, exporter, items, named, of_kind, pod_spec, restricted_violations, texts};
use crate::support::{ensure, skip, wait_for};
use crate::{run, shipped, tool};

/// The release of the server.
const SERVER: u32 = 36;

const OPTIONS: &str = "-XX:NativeMemoryTracking=summary -XX:+StartAttachListener";

#[test]
fn a_real_api_server_takes_every_manifest() {
    let test = "a_real_api_server_takes_every_manifest";
    let Some((helm, cluster)) = Helm::new(test).zip(Cluster::start(test)) else { return };
    let kubectl = tool("kubectl", test).unwrap();
    if !cluster.add_operator() {
        skip(test, "no definitions of the Prometheus operator; run scripts/kubernetes-tools");
        return;
    }
    for name in ["jvms", "shop", "monitoring"] {
        cluster.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}).to_string());
    }
    for case in &CASES {
        cluster.apply(&helm.text(case, SERVER, &[]));
    }
    for name in ["daemonset.yaml", "admission-policy.yaml", "pod-monitor-agents.yaml", "pod-monitor-sidecars.yaml"] {
        cluster.apply(&fs::read_to_string(shipped::plain(name)).unwrap());
    }
    cluster.apply(&run(Command::new(kubectl).arg("kustomize").arg(shipped::example())));
}

/// With a cluster to ask, helm knows by itself which kinds there are.
#[test]
fn helm_installs_what_the_cluster_has_kinds_for() {
    let test = "helm_installs_what_the_cluster_has_kinds_for";
    let Some((helm, cluster)) = Helm::new(test).zip(Cluster::start(test)) else { return };
    let call = |verb: &str| {
        let mut command = helm.command();
        command.env("KUBECONFIG", cluster.config()).args([verb, "jvms"]).arg(helm.chart("hotspot-exporter"));
        let on = ["admissionPolicy", "prometheus.podMonitor", "grafana.dashboards", "prometheusRule", "networkPolicy"];
        run(command.args(on.map(|key| format!("--set={key}.enabled=true"))))
    };
    let monitors = || crate::text_of(&cluster.kubectl(&["get", "podmonitor", "--output=name"]));
    assert!(call("install").contains("no PodMonitor was made"));
    assert!(cluster.kubectl(&["get", "mutatingadmissionpolicy/jvms-hotspot-exporter-inject"]).status.success());
    if !cluster.add_operator() {
        skip(test, "no definitions of the Prometheus operator; run scripts/kubernetes-tools");
        return;
    }
    assert!(!call("upgrade").contains("WARNING"));
    assert_eq!(monitors().trim(), "podmonitor.monitoring.coreos.com/jvms-hotspot-exporter");
}

/// The policy by which Kubernetes itself enforces the restricted standard, on the pods that the example makes.
#[test]
fn the_restricted_standard_admits_the_sidecar() {
    let test = "the_restricted_standard_admits_the_sidecar";
    let Some((helm, cluster)) = Helm::new(test).zip(Cluster::start(test)) else { return };
    for (name, level) in [("restricted", "restricted"), ("baseline", "baseline"), ("privileged", "privileged")] {
        let labels = json!({"pod-security.kubernetes.io/enforce": level});
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        cluster.apply(&namespace.to_string());
    }
    let pod_in = |namespace: &str, object: &Value| {
        let metadata = json!({"name": "pod", "namespace": namespace});
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod_spec(object)})
    };
    for case in CASES.iter().filter(|case| case.chart == "examples/app") {
        let objects = helm.objects(case, SERVER, &[]);
        cluster.admit(&pod_in("restricted", of_kind(&objects, "Deployment"))).unwrap();
    }
    let objects = helm.objects(&crate::helm::AGENT, SERVER, &[]);
    let agent = of_kind(&objects, "DaemonSet");
    let refusal = cluster.admit(&pod_in("baseline", agent)).unwrap_err();
    assert!(refusal.contains("violates PodSecurity \"baseline"), "{refusal}");
    cluster.admit(&pod_in("privileged", agent)).unwrap();
}

/// A labelled pod with one JVM, as its owner writes it.
fn pod() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "app", "namespace": "default", "labels": {"hotspot-exporter/inject": "true"}},
        "spec": {
            "securityContext": {"runAsUser": 10001, "runAsGroup": 10002},
            "containers": [
                {"name": "app", "image": "app"},
                {"name": "helper", "image": "helper"},
            ],
        },
    })
}

/// The same with a value at a path.
fn with(path: &str, value: Value) -> Value {
    let mut pod = pod();
    let (parent, key) = path.rsplit_once('/').unwrap();
    pod.pointer_mut(parent).unwrap()[key] = value;
    pod
}

fn with_policy(test: &str, values: &'static str) -> Option<(Helm, Cluster)> {
    let (helm, cluster) = Helm::new(test).zip(Cluster::start(test))?;
    let operator = cluster.add_operator();
    let case = Case { values, chart: "hotspot-exporter", since: 34 };
    let settings: &[&str] = if operator { &[] } else { &["prometheus.podMonitor.sidecars.enabled=false"] };
    cluster.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "jvms"}}).to_string());
    cluster.apply(&helm.text(&case, SERVER, settings));
    Some((helm, cluster))
}

/// The policies work a moment after they were made: the one that changes pods, and the one that warns.
fn wait_for_policy(cluster: &Cluster) {
    wait_for("the policies", || {
        let (pod, _) = cluster.admit(&pod())?;
        ensure(!items(&pod["spec"]["initContainers"]).is_empty(), "no sidecar")?;
        let (_, warnings) = cluster.admit(&with("/spec/securityContext", json!({})))?;
        ensure(!warnings.is_empty(), "no warning")
    });
}

#[test]
fn the_policy_puts_the_sidecar_into_labelled_pods() {
    let Some((helm, cluster)) = with_policy("the_policy_puts_the_sidecar_into_labelled_pods", "sidecars") else {
        return;
    };
    wait_for_policy(&cluster);
    let (admitted, warnings) = cluster.admit(&pod()).unwrap();
    assert_eq!(warnings, "");
    let spec = &admitted["spec"];
    let sidecar = exporter(spec);
    assert_eq!(admitted["metadata"]["labels"]["hotspot-exporter/sidecar"], "true");
    assert_eq!((&sidecar["restartPolicy"], &sidecar["name"]), (&json!("Always"), &json!("hotspot-exporter")));
    let app = named(&spec["containers"], "app");
    assert_eq!(environment(app), [("JDK_JAVA_OPTIONS", OPTIONS)].into());
    assert_eq!(app["volumeMounts"], json!([{"name": "jvm-tmp", "mountPath": "/tmp", "subPath": "app"}]));
    assert_eq!(named(&spec["volumes"], "jvm-tmp")["emptyDir"], json!({"medium": "Memory", "sizeLimit": "64Mi"}));
    let helper = named(&spec["containers"], "helper");
    assert!(helper["env"].is_null() && helper["volumeMounts"].is_null(), "{helper}");
    assert!(sidecar["readinessProbe"].is_null() && sidecar["startupProbe"].is_null());

    // It is the sidecar of the library chart, with the user and group of this pod.
    let objects = helm.objects(&APP, SERVER, &["hotspot-sidecar.config=null"]);
    let mut template = pod();
    template["spec"] = pod_spec(of_kind(&objects, "Deployment")).clone();
    template["metadata"]["labels"] = json!({});
    let (of_chart, _) = cluster.admit(&template).unwrap();
    let mut expected = exporter(&of_chart["spec"]).clone();
    expected["securityContext"]["runAsUser"] = json!(10001);
    expected["securityContext"]["runAsGroup"] = json!(10002);
    assert_eq!(*sidecar, expected);
}

/// What the pod is to consist of.
fn admit_quietly(cluster: &Cluster, pod: &Value) -> Value {
    let (admitted, warnings) = cluster.admit(pod).unwrap();
    assert_eq!(warnings, "", "{pod}");
    admitted["spec"].clone()
}

#[test]
fn the_policy_keeps_what_pods_have() {
    let Some((_, cluster)) = with_policy("the_policy_keeps_what_pods_have", "sidecars") else { return };
    wait_for_policy(&cluster);
    let admit = |pod: &Value| admit_quietly(&cluster, pod);

    // Other variables and their order, mounts, volumes and init containers stay; options are appended.
    let mut full = with(
        "/spec/containers/0/env",
        json!([
            {"name": "FIRST", "value": "1"},
            {"name": "JDK_JAVA_OPTIONS", "value": "-Xmx1g -Dname=$(FIRST)"},
            {"name": "LAST", "value": "2"},
        ]),
    );
    full["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    full["spec"]["volumes"] = json!([{"name": "data", "emptyDir": {}}]);
    full["spec"]["initContainers"] = json!([{"name": "migrate", "image": "app"}]);
    let spec = admit(&full);
    let app = named(&spec["containers"], "app");
    let expected = json!([
        {"name": "FIRST", "value": "1"},
        {"name": "JDK_JAVA_OPTIONS", "value": format!("-Xmx1g -Dname=$(FIRST) {OPTIONS}")},
        {"name": "LAST", "value": "2"},
    ]);
    assert_eq!(app["env"], expected);
    let mounts = items(&app["volumeMounts"]).iter().map(|mount| mount["mountPath"].as_str().unwrap());
    assert_eq!(mounts.collect::<Vec<_>>(), ["/data", "/tmp"]);
    let names =
        |list: &Value| items(list).iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&spec["volumes"]), ["data", "jvm-tmp"]);
    assert_eq!(names(&spec["initContainers"]), ["migrate", "hotspot-exporter"]);

    // A value from elsewhere cannot be appended to, so it is left alone; the counters are there all the same.
    let from = json!({"configMapKeyRef": {"name": "options", "key": "java"}});
    let spec = admit(&with("/spec/containers/0/env", json!([{"name": "JDK_JAVA_OPTIONS", "valueFrom": from}])));
    assert_eq!(spec["containers"][0]["env"], json!([{"name": "JDK_JAVA_OPTIONS", "valueFrom": from}]));
    assert_eq!(exporter(&spec)["securityContext"]["runAsUser"], 10001);
    let spec = admit(&with("/spec/containers/0/envFrom", json!([{"configMapRef": {"name": "options"}}])));
    assert!(spec["containers"][0]["env"].is_null(), "{spec}");
}

#[test]
fn the_policy_follows_users_names_and_labels() {
    let Some((_, cluster)) = with_policy("the_policy_follows_users_names_and_labels", "sidecars") else { return };
    wait_for_policy(&cluster);
    let admit = |pod: &Value| admit_quietly(&cluster, pod);

    // The user and group of the container win over those of the pod.
    let spec = admit(&with("/spec/containers/0/securityContext", json!({"runAsUser": 7, "runAsGroup": 8})));
    let security = &exporter(&spec)["securityContext"];
    assert_eq!((&security["runAsUser"], &security["runAsGroup"]), (&json!(7), &json!(8)));

    // Where the containers see each other's processes, the exporter looks at them too.
    let spec = admit(&with("/spec/shareProcessNamespace", json!(true)));
    assert_eq!(texts(&exporter(&spec)["args"]), ["--discovery.root=/hsperf/{container}", "--web.listen-address=:9850"]);

    // Several JVMs, by name: each its own directory.
    let mut two = with("/metadata/annotations", json!({"hotspot-exporter/containers": "app, helper"}));
    two["spec"]["containers"][1]["env"] = json!([{"name": "JDK_JAVA_OPTIONS", "value": ""}]);
    let spec = admit(&two);
    for name in ["app", "helper"] {
        let container = named(&spec["containers"], name);
        assert_eq!(container["volumeMounts"][0]["subPath"], name);
        assert_eq!(environment(container), [("JDK_JAVA_OPTIONS", OPTIONS)].into());
    }

    // A pod that keeps to the restricted standard still does.
    let mut strict = pod();
    strict["spec"]["securityContext"]["runAsNonRoot"] = json!(true);
    strict["spec"]["securityContext"]["seccompProfile"] = json!({"type": "RuntimeDefault"});
    for container in strict["spec"]["containers"].as_array_mut().unwrap() {
        container["securityContext"] = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    }
    assert_eq!(restricted_violations(&admit(&strict)), Vec::<String>::new());

    // Once is enough, and nothing happens without the label.
    let again = json!({"apiVersion": "v1", "kind": "Pod", "metadata": pod()["metadata"], "spec": admit(&pod())});
    let (twice, _) = cluster.admit(&again).unwrap();
    assert_eq!(twice["spec"], again["spec"]);
    for labels in [json!({}), json!({"hotspot-exporter/inject": "false"})] {
        let (alone, warnings) = cluster.admit(&with("/metadata/labels", labels)).unwrap();
        assert!(alone["spec"]["initContainers"].is_null() && warnings.is_empty(), "{alone} {warnings}");
        assert!(!alone.to_string().contains("jvm-tmp"), "{alone}");
    }
}

/// Pods that cannot have the sidecar, and what is said of them.
fn problems() -> Vec<(Value, &'static str)> {
    let mount = |path: &str| {
        let mut pod = with("/spec/containers/0/volumeMounts", json!([{"name": "own", "mountPath": path}]));
        pod["spec"]["volumes"] = json!([{"name": "own", "emptyDir": {}}]);
        pod
    };
    let mut two_users = with("/metadata/annotations", json!({"hotspot-exporter/containers": "app,helper"}));
    two_users["spec"]["containers"][1]["securityContext"] = json!({"runAsUser": 5});
    vec![
        (with("/spec/securityContext", json!({"runAsGroup": 10002})), "set runAsUser"),
        (with("/spec/securityContext", json!({"runAsUser": 10001})), "set runAsGroup"),
        (two_users, "run as different users or groups"),
        (
            with("/metadata/annotations", json!({"hotspot-exporter/containers": "apq"})),
            "is apq, but the pod has app,helper",
        ),
        (mount("/tmp"), "has a volume of its own at /tmp; remove it"),
        // Other ways to write it.
        (mount("/tmp/"), "has a volume of its own at /tmp; remove it"),
        (mount("/./tmp//"), "has a volume of its own at /tmp; remove it"),
        (
            with("/metadata/annotations", json!({"hotspot-exporter/tmp-medium": "memory"})),
            "hotspot-exporter/tmp-medium is memory; use Memory or Disk",
        ),
        (
            with("/metadata/annotations", json!({"hotspot-exporter/tmp-size-limit": "much"})),
            "hotspot-exporter/tmp-size-limit is much; use a size",
        ),
        (
            with("/metadata/annotations", json!({"hotspot-exporter/tmp-size-limit": "0"})),
            "hotspot-exporter/tmp-size-limit is 0; use a size",
        ),
        (mount("/tmp/hsperfdata_app"), "volume at hsperfdata_USER"),
        (with("/spec/volumes", json!([{"name": "jvm-tmp", "hostPath": {"path": "/tmp"}}])), "rename it"),
    ]
}

#[test]
fn pods_that_cannot_have_the_sidecar_are_left_alone_with_a_warning() {
    let test = "pods_that_cannot_have_the_sidecar_are_left_alone_with_a_warning";
    let Some((_, cluster)) = with_policy(test, "sidecars") else { return };
    wait_for_policy(&cluster);
    for (pod, message) in problems() {
        let (admitted, warnings) = cluster.admit(&pod).unwrap();
        assert!(
            warnings.contains("hotspot-exporter was not added") && warnings.contains(message),
            "{message}: {warnings}"
        );
        // Whoever looks at the pod reads it too: a controller passes no warning on.
        let problem = admitted["metadata"]["annotations"]["hotspot-exporter/problem"].as_str().unwrap();
        assert!(problem.contains(message), "{problem}");
        assert!(admitted["spec"]["initContainers"].is_null(), "{admitted}");
        assert_eq!(admitted["spec"]["containers"][0]["env"], pod["spec"]["containers"][0]["env"]);
        assert_eq!(admitted["spec"]["containers"][0]["volumeMounts"], pod["spec"]["containers"][0]["volumeMounts"]);
    }
}

/// The owner applies a workload and never sees its pods made.
#[test]
fn owners_of_workloads_are_warned() {
    let Some((_, cluster)) = with_policy("owners_of_workloads_are_warned", "sidecars") else { return };
    let made = |kind: &str, pod: &Value| {
        let template = json!({"metadata": pod["metadata"], "spec": pod["spec"]});
        let mut workload = json!({"kind": kind, "metadata": {"name": "app", "namespace": "default"}});
        let selector = json!({"matchLabels": pod["metadata"]["labels"]});
        (workload["apiVersion"], workload["spec"]) = match kind {
            "Job" | "CronJob" => {
                let mut template = template;
                template["spec"]["restartPolicy"] = json!("Never");
                let job = json!({"template": template});
                let spec = json!({"schedule": "0 0 * * *", "jobTemplate": {"spec": job}});
                ("batch/v1".into(), if kind == "Job" { job } else { spec })
            }
            "StatefulSet" => {
                ("apps/v1".into(), json!({"serviceName": "app", "selector": selector, "template": template}))
            }
            _ => ("apps/v1".into(), json!({"selector": selector, "template": template})),
        };
        workload
    };
    let broken = with("/spec/securityContext", json!({}));
    wait_for("the policies", || {
        ensure(!cluster.admit(&made("Deployment", &broken))?.1.is_empty(), "no warning about workloads")
    });
    for kind in ["Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"] {
        let (_, warnings) = cluster.admit(&made(kind, &pod())).unwrap();
        assert_eq!(warnings, "", "{kind}");
        let start = format!("hotspot-exporter will not be added to the pods of this {kind}: ");
        for (pod, message) in problems() {
            let (_, warnings) = cluster.admit(&made(kind, &pod)).unwrap();
            assert!(warnings.contains(&start) && warnings.contains(message), "{kind}: {message}: {warnings}");
        }
        // The label in the wrong place asks for nothing.
        let mut misplaced = made(kind, &with("/metadata/labels", json!({"app": "app"})));
        let (_, warnings) = cluster.admit(&misplaced).unwrap();
        assert_eq!(warnings, "", "{kind}");
        misplaced["metadata"]["labels"] = json!({"hotspot-exporter/inject": "true"});
        let (_, warnings) = cluster.admit(&misplaced).unwrap();
        assert!(warnings.contains(&start) && warnings.contains("put the label into"), "{kind}: {warnings}");
    }
}

/// What an application keeps in /tmp decides on the volume; a volume of its own stays what it is.
#[test]
fn pods_choose_the_volume_that_is_their_tmp() {
    let Some((_, cluster)) = with_policy("pods_choose_the_volume_that_is_their_tmp", "sidecars") else { return };
    wait_for_policy(&cluster);
    let volume = |pod: &Value| named(&admit_quietly(&cluster, pod)["volumes"], "jvm-tmp")["emptyDir"].clone();
    let annotated = |annotations: Value| volume(&with("/metadata/annotations", annotations));
    let (medium, size) = ("hotspot-exporter/tmp-medium", "hotspot-exporter/tmp-size-limit");
    assert_eq!(annotated(json!({size: "1Gi"})), json!({"medium": "Memory", "sizeLimit": "1Gi"}));
    assert_eq!(annotated(json!({medium: "Disk"})), json!({"sizeLimit": "64Mi"}));
    assert_eq!(annotated(json!({medium: "Disk", size: "20Gi"})), json!({"sizeLimit": "20Gi"}));
    assert_eq!(annotated(json!({medium: "Memory"})), json!({"medium": "Memory", "sizeLimit": "64Mi"}));

    let mut own = with("/spec/volumes", json!([{"name": "jvm-tmp", "emptyDir": {"sizeLimit": "3Gi"}}]));
    own["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "jvm-tmp", "mountPath": "/tmp"}]);
    assert_eq!(volume(&own), json!({"sizeLimit": "3Gi"}));
    let mounts = admit_quietly(&cluster, &own)["containers"][0]["volumeMounts"].clone();
    assert_eq!(mounts, json!([{"name": "jvm-tmp", "mountPath": "/tmp", "subPath": "app"}]));
}

#[test]
fn pods_that_cannot_have_the_sidecar_can_be_refused() {
    let Some((_, cluster)) = with_policy("pods_that_cannot_have_the_sidecar_can_be_refused", "deny") else { return };
    let label = json!({"metadata": {"labels": {"example.com/java": "true"}}}).to_string();
    // Only in namespaces with the label; a pod elsewhere is nobody's business.
    let (elsewhere, _) = cluster.admit(&pod()).unwrap();
    assert!(elsewhere["spec"]["initContainers"].is_null(), "{elsewhere}");
    assert!(cluster.kubectl(&["patch", "namespace", "default", "--patch", &label]).status.success());
    wait_for("the policies", || {
        let (admitted, _) = cluster.admit(&pod())?;
        ensure(!items(&admitted["spec"]["initContainers"]).is_empty(), "no sidecar")?;
        ensure(cluster.admit(&with("/spec/securityContext", json!({}))).is_err(), "not refused")
    });
    let (admitted, _) = cluster.admit(&pod()).unwrap();
    let args = texts(&exporter(&admitted["spec"])["args"]);
    assert_eq!(args[2..], ["--web.listen-address=:9851", "--log.format=json"]);
    // As they stand in the values.
    let variables = &exporter(&admitted["spec"])["env"];
    assert_eq!(named(variables, "OTEL_EXPORTER_OTLP_ENDPOINT")["value"], "http://$(HOST):4317/?a=<b>&c='d'");
    assert_eq!(named(variables, "HOST")["valueFrom"]["fieldRef"]["fieldPath"], "status.hostIP");
    let secret = json!({"name": "otlp", "key": "headers", "optional": true});
    assert_eq!(named(variables, "OTEL_EXPORTER_OTLP_HEADERS")["valueFrom"]["secretKeyRef"], secret);
    let from = json!([{"prefix": "A_", "configMapRef": {"name": "otlp", "optional": true}}]);
    assert_eq!(exporter(&admitted["spec"])["envFrom"], from);
    assert_eq!(environment(&admitted["spec"]["containers"][0]), [("JAVA_TOOL_OPTIONS", OPTIONS)].into());
    for (pod, message) in problems() {
        let refusal = cluster.admit(&pod).unwrap_err();
        assert!(
            refusal.contains("hotspot-exporter was not added") && refusal.contains(message),
            "{message}: {refusal}"
        );
    }
}
