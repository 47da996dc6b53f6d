//! A real node: etcd, an API server, containerd and a kubelet, in namespaces that end with the tests. One is started for
//! all of them. The controllers of Kubernetes are not among its programs: the tests make the pods of workloads.

mod agent;
mod alert;
mod images;
mod namespaces;
mod sidecars;
mod workloads;

use std::fmt::Display;
use std::fs;
use std::os::unix::fs::symlink;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::{ControlPlane, Programs};
use crate::helm::Helm;
use crate::manifest::items;
use crate::support::{ensure, is_root, skip, wait_at_most};
use crate::{fetched_or_installed, run, text_of};
pub use namespaces::Namespaces;
use workloads::Pod;

/// Long enough for a dozen JVMs that start at once on two processors.
const PATIENCE: Duration = Duration::from_secs(180);

/// The namespaces of the pods, with the Pod Security Standard that each enforces.
const NAMESPACES: [(&str, &str); 4] =
    [("monitoring", "privileged"), ("shop", "restricted"), ("charts", "restricted"), ("jvms", "restricted")];

/// The release of the chart that the node agent and the policy are of.
const RELEASE: &str = "jvms";

/// A ready node, with the namespaces above, the images, the node agent and the policy.
pub struct Node {
    control_plane: ControlPlane,
    namespaces: Arc<Namespaces>,
    helm: Helm,
    agent: OnceLock<Pod>,
    pods: Mutex<Option<(Instant, Value)>>,
}

/// Why there is none.
enum Missing {
    Tools(String),
    Failed,
}

impl Node {
    /// The node of all tests, started by the first; `None`, said as a skip, where this machine cannot have one.
    pub fn shared(test: &str) -> Option<&'static Self> {
        static NODE: OnceLock<Result<Node, Missing>> = OnceLock::new();
        let node = NODE.get_or_init(|| {
            let started = || Self::start(test).map_err(Missing::Tools);
            // The next test must not wait for another one.
            catch_unwind(AssertUnwindSafe(started)).unwrap_or_else(|_| Err(Missing::Failed))
        });
        match node {
            Ok(node) => Some(node),
            Err(Missing::Tools(reason)) => {
                skip(test, reason);
                None
            }
            Err(Missing::Failed) => panic!("the node did not start; the first test to fail says why"),
        }
    }

    fn start(test: &str) -> Result<Self, String> {
        let [kubelet, plugins] = prerequisites()?;
        let programs = Programs::find(test).ok_or("no API server; run ./test.sh")?;
        let helm = Helm::new(test).ok_or("no helm; run ./test.sh")?;
        let directory = tempfile::Builder::new().prefix("hsx-node-").tempdir().unwrap().keep();
        fs::write(directory.join("containerd.toml"), containerd_configuration(&plugins)).unwrap();
        symlink(kubelet, directory.join("kubelet")).unwrap();
        let namespaces = Arc::new(Namespaces::new(&directory));
        let control_plane = std::thread::scope(|scope| {
            let images = scope.spawn(|| images::provide(test, &namespaces));
            let control_plane = ControlPlane::start(&programs, &directory, Some(Arc::clone(&namespaces)));
            let configuration = directory.join("kubelet.new");
            fs::write(&configuration, kubelet_configuration(namespaces.group()).to_string()).unwrap();
            // From its place on, the kubelet starts.
            fs::rename(configuration, directory.join("kubelet.yaml")).unwrap();
            images.join().unwrap();
            control_plane
        });
        let node = Self { control_plane, namespaces, helm, agent: OnceLock::new(), pods: Mutex::default() };
        node.wait("the node to be ready", || {
            let object = node.get(&["node/node"])?;
            let ready = items(&object["status"]["conditions"]).iter().find(|condition| condition["type"] == "Ready");
            ensure(ready.is_some_and(|ready| ready["status"] == "True"), format!("{ready:?}"))
        });
        node.install();
        Ok(node)
    }

    /// The namespaces, and the chart with the node agent and the policy, in the way of its users.
    fn install(&self) {
        for (name, level) in NAMESPACES {
            let labels = json!({"pod-security.kubernetes.io/enforce": level});
            let metadata = json!({"name": name, "labels": labels});
            self.control_plane
                .apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}).to_string());
        }
        let settings = ["nativeMemory=true", "admissionPolicy.enabled=true", "config.nmt.interval=2s"];
        self.install_chart(RELEASE, "hotspot-exporter", "monitoring", &settings);
        let agent = self.start_pods("monitoring", "daemonset/jvms-hotspot-exporter", 1).remove(0);
        self.agent.set(agent).unwrap();
        self.wait("the policy", || {
            let (pod, _) = self.control_plane.admit(&workloads::pod("probe", "shop"))?;
            ensure(!items(&pod["spec"]["initContainers"]).is_empty(), "no sidecar")
        });
    }

    /// The pod of the node agent.
    fn agent(&self) -> &Pod {
        self.agent.get().unwrap()
    }

    /// `helm install`.
    fn install_chart(&self, release: &str, chart: &str, namespace: &str, settings: &[&str]) {
        let mut command = self.helm.command();
        command.env("KUBECONFIG", self.control_plane.config());
        command.args(["install", release]).arg(self.helm.chart(chart)).args(["--namespace", namespace]);
        command.args(settings.iter().map(|setting| format!("--set={setting}")));
        self.namespaces.online(|| run(&mut command));
    }

    /// An object of the API server.
    fn get(&self, arguments: &[&str]) -> Result<Value, String> {
        let output = self.control_plane.kubectl(&[&["get", "--output=json"], arguments].concat());
        ensure(output.status.success(), text_of(&output))?;
        serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())
    }

    /// All pods, as they were at most half a second ago: every question is a process of its own.
    fn pods(&self) -> Result<Value, String> {
        let mut kept = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((asked, pods)) = &*kept
            && asked.elapsed() < Duration::from_millis(500)
        {
            return Ok(pods.clone());
        }
        let pods = self.get(&["pods", "--all-namespaces"])?;
        *kept = Some((Instant::now(), pods.clone()));
        Ok(pods)
    }

    /// Asks until the answer is `Ok`.
    fn wait<T, E: Display>(&self, what: &str, ask: impl FnMut() -> Result<T, E>) -> T {
        wait_at_most(PATIENCE, ask)
            .unwrap_or_else(|error| panic!("waited {PATIENCE:?} for {what}: {error}\n{}", self.account()))
    }

    /// What the node says of itself, for a test that fails.
    fn account(&self) -> String {
        let events = self.control_plane.kubectl(&["get", "events", "--all-namespaces", "--sort-by=.lastTimestamp"]);
        let pods = self.control_plane.kubectl(&["get", "pods", "--all-namespaces", "--output=wide"]);
        let logs = ["kubelet", "containerd"].map(|name| {
            let log = fs::read_to_string(self.namespaces.directory().join(format!("{name}.log"))).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            format!("{name}:\n{}", lines[lines.len().saturating_sub(30)..].join("\n"))
        });
        format!("{}\n{}\n{}", text_of(&pods), text_of(&events), logs.join("\n"))
    }
}

/// The kubelet and the directory of the network's plugins, or why this machine cannot be a node.
fn prerequisites() -> Result<[PathBuf; 2], String> {
    if !is_root() {
        return Err("a node needs root".to_owned());
    }
    let programs = [
        "containerd",
        "containerd-shim-runc-v2",
        "runc",
        "ctr",
        "ip",
        "unshare",
        "nsenter",
        "setpriv",
        "etcd",
        "openssl",
        "kube-apiserver",
        "kubectl",
        "helm",
        "buildah",
        "cc",
        "ldd",
    ];
    let missing: Vec<&str> = programs.into_iter().filter(|name| fetched_or_installed(name).is_none()).collect();
    let kubelet = fetched_or_installed("kubelet").ok_or("no kubelet; run ./test.sh")?;
    ensure(missing.is_empty(), format!("no {}; run ./test.sh", missing.join(", ")))?;
    let plugins = ["/usr/lib/cni", "/opt/cni/bin"].map(PathBuf::from);
    let plugins = plugins.into_iter().find(|path| path.join("bridge").is_file());
    let plugins = plugins.ok_or("no containernetworking-plugins; run ./test.sh")?;
    let mut probe = Command::new("unshare");
    probe.args(["--fork", "--pid", "--mount-proc", "--mount", "--net", "--uts", "--ipc", "sh", "-c"]);
    probe.arg("mount -t tmpfs none /mnt && ip link add name node type bridge");
    let output = probe.output().unwrap();
    ensure(output.status.success(), format!("no namespaces with mounts and networks here: {}", text_of(&output)))?;
    Ok([kubelet, plugins])
}

fn containerd_configuration(plugins: &Path) -> String {
    let (plugins, sandbox) = (plugins.display(), images::SANDBOX);
    format!(
        r#"version = 2
root = "/run/node/containerd"
state = "/run/node/containerd-state"
[grpc]
address = "/run/node/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "/run/node/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{sandbox}"
# Without CAP_SYS_RESOURCE runc dies of a lower score.
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{plugins}"
conf_dir = "/run/node/cni"
"#
    )
}

fn kubelet_configuration(group: &str) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{group}"),
        "failCgroupV1": false,
        "failSwapOn": false,
        "enforceNodeAllocatable": [],
        // A machine with a full disk is a node all the same.
        "evictionHard": {"memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
        "localStorageCapacityIsolation": false,
        "containerRuntimeEndpoint": "unix:///run/node/containerd.sock",
        "resolvConf": "/run/node/resolv.conf",
        "volumePluginDir": "/run/node/plugins",
        // ConfigMaps are seen by pods after one such time.
        "syncFrequency": "1s",
    })
}
