//! A pod without Kubernetes: what a container runtime makes of a rendered manifest, by `unshare`, bind mounts, `chroot`
//! and `setpriv`. Arguments, environment, mounts, users and capabilities are those of the manifest.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::manifest::{containers, environment, exporter, items, named, of_kind, pod_spec, text, texts};
use crate::support::exporter::Exporter;
use crate::support::jdk::{self, Jdk};
use crate::support::jvm::Jvm;
use crate::support::mounts::over_tmp;
use crate::support::{is_root, program, skip};

/// Its directory is on a tmpfs, as a volume of the medium Memory.
pub struct Pod {
    objects: Vec<Value>,
    kind: &'static str,
    directory: TempDir,
}

impl Pod {
    /// The pod of the one object of that kind; `None`, said as a skip, where this machine has no namespaces to give.
    pub fn new(test: &str, objects: Vec<Value>, kind: &'static str) -> Option<Self> {
        let missing = ["unshare", "setpriv", "chroot"].into_iter().find(|name| program(name).is_none());
        if !is_root() || missing.is_some() {
            skip(test, format!("namespaces need root and Debian's util-linux; missing: {missing:?}"));
            return None;
        }
        let directory = tempfile::Builder::new().prefix("hsx-pod-").tempdir_in("/dev/shm").unwrap();
        let pod = Self { objects, kind, directory };
        set_mode(pod.path(), 0o755);
        let classes = pod.directory("classes", 0o755);
        for entry in fs::read_dir(jdk::class_path()).unwrap() {
            let class = entry.unwrap();
            fs::copy(class.path(), classes.join(class.file_name())).unwrap();
        }
        for volume in items(&pod.spec()["volumes"]) {
            pod.make_volume(volume);
        }
        Some(pod)
    }

    fn spec(&self) -> &Value {
        pod_spec(of_kind(&self.objects, self.kind))
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn directory(&self, name: &str, mode: u32) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(&path).unwrap();
        set_mode(&path, mode);
        path
    }

    /// As the kubelet does: an emptyDir is everybody's, and so are directories for subPaths in it.
    fn make_volume(&self, volume: &Value) {
        let path = self.directory(&format!("volumes/{}", text(&volume["name"])), 0o777);
        if let Some(name) = volume["configMap"]["name"].as_str() {
            let map =
                self.objects.iter().find(|object| object["kind"] == "ConfigMap" && object["metadata"]["name"] == name);
            for (file, content) in map.expect(name)["data"].as_object().unwrap() {
                fs::write(path.join(file), text(content)).unwrap();
            }
        } else if volume["hostPath"].is_null() {
            assert!(volume["emptyDir"].is_object(), "{volume}");
            for mount in containers(self.spec()).flat_map(|container| items(&container["volumeMounts"])) {
                if let Some(below) = mount["subPath"].as_str().filter(|_| mount["name"] == volume["name"]) {
                    self.directory(&format!("volumes/{}/{below}", text(&volume["name"])), 0o777);
                }
            }
        }
    }

    /// Where a volume is on this machine.
    pub fn volume(&self, name: &str) -> PathBuf {
        self.path().join("volumes").join(name)
    }

    /// Where the mount's volume is on this machine.
    fn source(&self, mount: &Value) -> PathBuf {
        let volume = self.path().join("volumes").join(text(&mount["name"]));
        volume.join(mount["subPath"].as_str().unwrap_or(""))
    }

    /// The JVM of a container, as pid 1 unless the pod shares processes. Its file system is this machine's, but for the
    /// mounts.
    pub fn start(&self, container: &str, jdk: &Jdk) -> Jvm {
        let container = named(&self.spec()["containers"], container);
        let mut script = String::new();
        for mount in items(&container["volumeMounts"]) {
            let from = self.source(mount);
            script += &match text(&mount["mountPath"]) {
                "/tmp" => over_tmp(&from) + " && ",
                place => format!("mount --bind {} {place} && ", from.display()),
            };
        }
        let mut command = self.unshare();
        command.args(["sh", "-c", &(script + "cd / && exec \"$@\""), "sh"]).args(self.setpriv(container));
        command
            .envs(environment(container))
            .arg(jdk.java())
            .arg("-cp")
            .arg(self.path().join("classes"))
            .arg("Workload");
        Jvm::spawn(&mut command)
    }

    /// The exporter, in a root of its own that it cannot write to, with nothing in it but the binary, what Rust's binaries
    /// of this machine link to, and the mounts.
    pub fn exporter(&self) -> Exporter {
        let container = exporter(self.spec());
        let security = &container["securityContext"];
        assert_eq!(security["readOnlyRootFilesystem"], true);
        assert_eq!(security["allowPrivilegeEscalation"], false);
        let root = self.directory("root", 0o755);
        fs::copy(env!("CARGO_BIN_EXE_hotspot-exporter"), root.join("hotspot-exporter")).unwrap();
        for libraries in ["lib", "lib64"] {
            symlink(Path::new("usr").join(libraries), root.join(libraries)).unwrap();
        }
        let mut script = String::from("set -e; cd \"$0\"; mount --bind -o ro . . && cd \"$0\"; ");
        for place in ["proc", "usr"] {
            self.directory(&format!("root/{place}"), 0o755);
        }
        script += "mount --bind -o ro /usr usr; mount -t proc proc proc; ";
        script += "refuse() { if touch \"$1/file\" 2>/dev/null; then exit 1; fi; }; refuse .; ";
        for mount in items(&container["volumeMounts"]) {
            let place = text(&mount["mountPath"]).trim_start_matches('/');
            self.directory(&format!("root/{place}"), 0o755);
            let source = self.source(mount);
            script += &if mount["name"] == "state" {
                format!("mount --bind {} {place}; ", source.display())
            } else {
                assert_eq!(mount["readOnly"], true, "{mount}");
                format!("mount --bind -o ro {} {place}; refuse {place}; ", source.display())
            };
        }
        let mut command = self.unshare();
        command.args(["sh", "-c", &(script + "exec chroot . \"$@\"")]).arg(&root).args(self.setpriv(container));
        command.arg("/hotspot-exporter").args(texts(&container["args"])).stdin(Stdio::null());
        Exporter::spawn_as_it_is(&mut command)
    }

    /// A container's namespaces. Pods that share processes, and those of the node agent, have this machine's.
    fn unshare(&self) -> Command {
        let mut command = Command::new("unshare");
        command.arg("--mount");
        if self.spec()["hostPID"] != true && self.spec()["shareProcessNamespace"] != true {
            command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
        }
        command
    }

    /// User and group: the container's own, else the pod's.
    fn user(&self, container: &Value) -> [u64; 2] {
        ["runAsUser", "runAsGroup"].map(|key| {
            let found = [container, self.spec()].into_iter().find_map(|place| place["securityContext"][key].as_u64());
            found.unwrap_or_else(|| panic!("{key} in {container}"))
        })
    }

    fn setpriv(&self, container: &Value) -> Vec<String> {
        let capabilities = &container["securityContext"]["capabilities"];
        assert_eq!(texts(&capabilities["drop"]), ["ALL"]);
        let added: String =
            texts(&capabilities["add"]).iter().map(|name| format!(",+{}", name.to_ascii_lowercase())).collect();
        let [uid, gid] = self.user(container);
        vec![
            "/usr/bin/setpriv".to_owned(),
            "--pdeathsig=KILL".to_owned(),
            format!("--reuid={uid}"),
            format!("--regid={gid}"),
            "--clear-groups".to_owned(),
            format!("--bounding-set=-all{added}"),
            "--inh-caps=-all".to_owned(),
            "--no-new-privs".to_owned(),
        ]
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}
