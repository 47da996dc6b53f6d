//! A real API server on a real etcd, with no node behind it: it admits, defaults and keeps what it is given.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{ensure, free_port, target, wait_for};
use crate::{run, text_of, tool};

/// Ends with its test.
pub struct Cluster {
    kubectl: PathBuf,
    directory: TempDir,
    children: Vec<Child>,
    #[expect(dead_code, reason = "held until the cluster ends")]
    running: MutexGuard<'static, ()>,
}

/// One cluster at a time: starting, each keeps two processors busy.
static RUNNING: Mutex<()> = Mutex::new(());

impl Cluster {
    /// `None`, said as a skip, without the programs.
    pub fn start(test: &str) -> Option<Self> {
        let [kubectl, server, etcd] = ["kubectl", "kube-apiserver", "etcd"].map(|name| tool(name, test));
        let (kubectl, server, etcd) = (kubectl?, server?, etcd?);
        let openssl = tool("openssl", test)?;
        let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut cluster = Self { kubectl, directory: tempfile::tempdir().unwrap(), children: Vec::new(), running };
        let [clients, peers, api] = [free_port(), free_port(), free_port()];
        let storage = format!("http://127.0.0.1:{clients}");
        cluster.spawn(
            Command::new(etcd)
                .arg(format!("--data-dir={}", cluster.path("etcd").display()))
                .arg(format!("--listen-client-urls={storage}"))
                .arg(format!("--advertise-client-urls={storage}"))
                .arg(format!("--listen-peer-urls=http://127.0.0.1:{peers}"))
                .arg("--unsafe-no-fsync"),
        );
        let key = cluster.path("key.pem");
        run(Command::new(openssl).args(["genrsa", "-out"]).arg(&key).arg("2048").stderr(Stdio::null()));
        let tokens = cluster.path("tokens.csv");
        fs::write(&tokens, "test,test,test,system:masters\n").unwrap();
        cluster.spawn(
            Command::new(server)
                .arg(format!("--etcd-servers={storage}"))
                .args(["--bind-address=127.0.0.1", &format!("--secure-port={api}")])
                .arg(format!("--cert-dir={}", cluster.path("certificates").display()))
                .args(["--authorization-mode=AlwaysAllow", "--service-cluster-ip-range=10.0.0.0/24"])
                .arg(format!("--token-auth-file={}", tokens.display()))
                .arg("--service-account-issuer=https://localhost")
                .arg(format!("--service-account-key-file={}", key.display()))
                .arg(format!("--service-account-signing-key-file={}", key.display()))
                // Nobody makes the accounts that it would ask for, and nobody needs its own endpoint.
                .args(["--disable-admission-plugins=ServiceAccount", "--endpoint-reconciler-type=none"]),
        );
        let config = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             contexts: [{{name: test, context: {{cluster: test, user: test}}}}]\n\
             users: [{{name: test, user: {{token: test}}}}]\n\
             clusters: [{{name: test, cluster: {{server: \"https://127.0.0.1:{api}\", insecure-skip-tls-verify: true}}}}]\n"
        );
        fs::write(cluster.config(), config).unwrap();
        wait_for("the API server", || {
            // Every question is a process, which takes the processor from what it waits for.
            std::thread::sleep(Duration::from_millis(200));
            let output = cluster.kubectl(&["get", "--raw", "/readyz"]);
            ensure(output.status.success(), format!("{}{}", text_of(&output), cluster.log()))
        });
        Some(cluster)
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
        Command::new(&self.kubectl).env("KUBECONFIG", self.config()).args(arguments).output().unwrap()
    }

    /// A call that reads objects.
    pub fn give(&self, arguments: &[&str], objects: &str) -> Output {
        let mut command = Command::new(&self.kubectl);
        command.env("KUBECONFIG", self.config()).args(arguments).args(["-f", "-"]);
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
        self.directory.path().join(name)
    }

    fn spawn(&mut self, command: &mut Command) {
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        self.children.push(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The server before what it stores in. Both fail only for a child that has ended already.
        for child in self.children.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
