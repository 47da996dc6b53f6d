//! A real API server on a real etcd, with no node behind it: it admits, defaults and keeps what it is given.

use std::fs::{self, File};
use std::io::Write;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::node::Namespaces;
use crate::support::{ensure, free_port, target, wait_for};
use crate::{run, text_of, tool};

/// An API server on an etcd, and a client; ends with its test.
pub struct ControlPlane {
    kubectl: PathBuf,
    directory: PathBuf,
    /// Where its programs and its client run, if that is not the test's own place.
    namespaces: Option<Arc<Namespaces>>,
    children: Vec<Child>,
}

/// A control plane of one test, and nothing else.
pub struct Cluster {
    control_plane: ControlPlane,
    #[expect(dead_code, reason = "held until the cluster ends")]
    directory: TempDir,
    #[expect(dead_code, reason = "held until the cluster ends")]
    running: MutexGuard<'static, ()>,
}

/// The programs of a control plane.
pub struct Programs {
    kubectl: PathBuf,
    server: PathBuf,
    etcd: PathBuf,
    openssl: PathBuf,
}

/// One cluster at a time: starting, each keeps two processors busy.
static RUNNING: Mutex<()> = Mutex::new(());

impl Programs {
    /// `None`, said as a skip, if one of them is not there.
    pub fn find(test: &str) -> Option<Self> {
        let [kubectl, server, etcd] = ["kubectl", "kube-apiserver", "etcd"].map(|name| tool(name, test));
        let (kubectl, server, etcd) = (kubectl?, server?, etcd?);
        Some(Self { kubectl, server, etcd, openssl: tool("openssl", test)? })
    }
}

impl Cluster {
    /// `None`, said as a skip, without the programs.
    pub fn start(test: &str) -> Option<Self> {
        let programs = Programs::find(test)?;
        let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = tempfile::tempdir().unwrap();
        let control_plane = ControlPlane::start(&programs, directory.path(), None);
        Some(Self { control_plane, directory, running })
    }
}

impl Deref for Cluster {
    type Target = ControlPlane;

    fn deref(&self) -> &ControlPlane {
        &self.control_plane
    }
}

impl ControlPlane {
    /// Starts one, with its files in that directory.
    pub fn start(programs: &Programs, directory: &Path, namespaces: Option<Arc<Namespaces>>) -> Self {
        let Programs { kubectl, server, etcd, openssl } = programs;
        let (kubectl, directory) = (kubectl.clone(), directory.to_owned());
        let mut control_plane = Self { kubectl, directory, namespaces, children: Vec::new() };
        let [clients, peers, api] = [free_port(), free_port(), free_port()];
        let storage = format!("http://127.0.0.1:{clients}");
        control_plane.spawn(
            etcd,
            &[
                format!("--data-dir={}", control_plane.path("etcd").display()),
                format!("--listen-client-urls={storage}"),
                format!("--advertise-client-urls={storage}"),
                format!("--listen-peer-urls=http://127.0.0.1:{peers}"),
                "--unsafe-no-fsync".to_owned(),
            ],
        );
        let key = control_plane.path("key.pem");
        run(Command::new(openssl).args(["genrsa", "-out"]).arg(&key).arg("2048").stderr(Stdio::null()));
        let tokens = control_plane.path("tokens.csv");
        fs::write(&tokens, "test,test,test,system:masters\n").unwrap();
        control_plane.spawn(
            server,
            &[
                format!("--etcd-servers={storage}"),
                "--bind-address=127.0.0.1".to_owned(),
                format!("--secure-port={api}"),
                format!("--cert-dir={}", control_plane.path("certificates").display()),
                "--authorization-mode=AlwaysAllow".to_owned(),
                "--allow-privileged".to_owned(),
                "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
                "--kubelet-preferred-address-types=InternalIP".to_owned(),
                format!("--token-auth-file={}", tokens.display()),
                "--service-account-issuer=https://localhost".to_owned(),
                format!("--service-account-key-file={}", key.display()),
                format!("--service-account-signing-key-file={}", key.display()),
                // Nobody makes the accounts that it would ask for, and nobody needs its own endpoint.
                "--disable-admission-plugins=ServiceAccount".to_owned(),
                "--endpoint-reconciler-type=none".to_owned(),
            ],
        );
        let config = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             contexts: [{{name: test, context: {{cluster: test, user: test}}}}]\n\
             users: [{{name: test, user: {{token: test}}}}]\n\
             clusters: [{{name: test, cluster: {{server: \"https://127.0.0.1:{api}\", insecure-skip-tls-verify: true}}}}]\n"
        );
        fs::write(control_plane.config(), config).unwrap();
        wait_for("the API server", || {
            // Every question is a process, which takes the processor from what it waits for.
            std::thread::sleep(Duration::from_millis(200));
            let output = control_plane.kubectl(&["get", "--raw", "/readyz"]);
            ensure(output.status.success(), format!("{}{}", text_of(&output), control_plane.log()))
        });
        control_plane
    }

    fn command(&self, program: &Path) -> Command {
        self.namespaces.as_ref().map_or_else(|| Command::new(program), |place| place.command(program))
    }

    /// kubectl, to be given arguments.
    pub fn client(&self) -> Command {
        let mut command = self.command(&self.kubectl);
        command.env("KUBECONFIG", self.config());
        command
    }

    /// Gives it the definitions of the Prometheus operator; whether there are any.
    pub fn add_operator(&self) -> bool {
        let directory = target().join("tools/crds");
        if !directory.is_dir() {
            return false;
        }
        // They are too long for the annotation that `apply` makes.
        let output = self.kubectl(&["create", "-f", directory.to_str().unwrap()]);
        assert!(output.status.success(), "{}", text_of(&output));
        // Clients learn of kinds by discovery, which lags behind the conditions of their definitions.
        let listing = ["api-resources", "--api-group=monitoring.coreos.com", "--cached=false", "--output=name"];
        wait_for("the kinds of the operator", || {
            let listed = text_of(&self.kubectl(&listing));
            ensure(["podmonitors.", "prometheusrules."].iter().all(|kind| listed.contains(kind)), listed)
        });
        true
    }

    /// A call of kubectl.
    pub fn kubectl(&self, arguments: &[&str]) -> Output {
        self.client().args(arguments).output().unwrap()
    }

    /// A call that reads objects.
    pub fn give(&self, arguments: &[&str], objects: &str) -> Output {
        let mut command = self.client();
        command.args(arguments).args(["-f", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(objects.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// Applies objects, of which every field must be known; what was said.
    pub fn apply(&self, objects: &str) -> String {
        let output = self.give(&["apply", "--validate=strict"], objects);
        assert!(output.status.success(), "{}\n{objects}", text_of(&output));
        text_of(&output)
    }

    /// What a pod becomes when it is made, and the warnings; an error if it is refused. It is not kept.
    pub fn admit(&self, pod: &Value) -> Result<(Value, String), String> {
        let output = self.give(&["create", "--dry-run=server", "--output=json"], &pod.to_string());
        let warnings = String::from_utf8(output.stderr).unwrap();
        if !output.status.success() {
            return Err(warnings);
        }
        Ok((serde_json::from_slice(&output.stdout).unwrap(), warnings))
    }

    /// The file by which clients find it.
    pub fn config(&self) -> PathBuf {
        self.path("config")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn spawn(&mut self, program: &Path, arguments: &[String]) {
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        let mut command = self.command(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.children.push(command.spawn().unwrap());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        // The server before what it stores in. Both fail only for a child that has ended already.
        for child in self.children.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
