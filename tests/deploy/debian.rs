//! The Debian package: what it holds, and what its scripts ask of systemd.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run;
use crate::support::{is_root, package, program, skip, target};
use tempfile::TempDir;

/// The package, with the binary of the tests in the place of the release's: what is packed and where is the same.
pub(crate) struct Deb {
    directory: TempDir,
    file: PathBuf,
    dpkg: PathBuf,
}

impl Deb {
    /// `None`, said as a skip, without the programs.
    fn build(test: &str) -> Option<Self> {
        let deb = Self::of_version(concat!(env!("CARGO_PKG_VERSION"), "-1"));
        if deb.is_none() {
            skip(test, "no target/tools/bin/cargo-deb, which ./test.sh installs, or no dpkg-deb");
        }
        deb
    }

    /// The package as that version; `None` without the programs.
    pub(crate) fn of_version(version: &str) -> Option<Self> {
        let builder = target().join("tools/bin/cargo-deb");
        let dpkg = program("dpkg-deb").filter(|_| builder.is_file())?;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("hotspot-exporter.deb");
        let mut command = Command::new(builder);
        command.args(["deb", "--no-build", "--no-strip", "--fast", "--profile=dev", "--deb-version", version]);
        run(command.arg("--output").arg(&file).current_dir(package()));
        Some(Self { directory, file, dpkg })
    }

    /// The file, which ends with this value.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// A file of its control part.
    fn info(&self, name: &str) -> String {
        run(Command::new(&self.dpkg).arg("-I").arg(&self.file).arg(name))
    }
}

/// A machine on which systemd seems to run. Its programs only record that they were called.
struct Systemd {
    directory: TempDir,
}

impl Systemd {
    fn new() -> Self {
        let systemd = Self { directory: tempfile::tempdir().unwrap() };
        fs::create_dir(systemd.programs()).unwrap();
        for name in ["systemctl", "deb-systemd-invoke", "deb-systemd-helper", "systemd-sysusers", "systemd-tmpfiles"] {
            executable(&systemd.programs().join(name), "#!/bin/sh\necho \"${0##*/} $*\" >> \"$CALLS\"\n");
        }
        systemd
    }

    fn programs(&self) -> PathBuf {
        self.directory.path().join("bin")
    }

    /// What the scripts take for `/`, where dpkg told them.
    fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// The calls of a maintainer script.
    fn calls(&self, script: &str, arguments: &[&str]) -> Vec<String> {
        let (file, calls) = (self.directory.path().join("script"), self.directory.path().join("calls"));
        executable(&file, script);
        fs::write(&calls, "").unwrap();
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-ec"]);
        command.arg("mount -t tmpfs none /run; mkdir -p /run/systemd/system; exec \"$@\"").arg("sh").arg(file);
        command.args(arguments).env("CALLS", &calls).env("DPKG_ROOT", self.root());
        let path = format!("{}:{}", self.programs().display(), std::env::var("PATH").unwrap());
        run(command.env("PATH", path));
        fs::read_to_string(calls).unwrap().lines().map(str::to_owned).collect()
    }
}

fn executable(file: &Path, text: &str) {
    fs::write(file, text).unwrap();
    fs::set_permissions(file, Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn the_debian_package_installs_what_it_should() {
    let Some(deb) = Deb::build("the_debian_package_installs_what_it_should") else { return };
    let root = deb.directory.path().join("root");
    run(Command::new(&deb.dpkg).arg("-x").arg(&deb.file).arg(&root));
    for (installed, ours) in [
        ("usr/lib/systemd/system/hotspot-exporter.service", "deploy/systemd/hotspot-exporter.service"),
        ("usr/lib/systemd/system/hotspot-exporter@.service", "deploy/systemd/hotspot-exporter@.service"),
        ("usr/lib/systemd/system/hotspot-exporter.socket", "deploy/systemd/hotspot-exporter.socket"),
        ("usr/lib/sysusers.d/hotspot-exporter.conf", "deploy/systemd/sysusers.d/hotspot-exporter.conf"),
        ("usr/lib/tmpfiles.d/hotspot-exporter.conf", "deploy/systemd/tmpfiles.d/hotspot-exporter.conf"),
        ("etc/hotspot-exporter/config.yaml", "config/hotspot-exporter.yaml"),
        ("etc/default/hotspot-exporter", "deploy/debian/default"),
        ("usr/share/hotspot-exporter/grafana/jvm.json", "deploy/grafana/jvm.json"),
        ("usr/share/hotspot-exporter/prometheus/alerts.yml", "deploy/prometheus/alerts.yml"),
        ("usr/share/doc/hotspot-exporter/README.md", "README.md"),
    ] {
        let read = |path: PathBuf| fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(read(root.join(installed)) == read(package().join(ours)), "{installed} is not {ours}");
    }
    // What the unit calls before it starts.
    let configuration = root.join("etc/hotspot-exporter/config.yaml");
    let mut check = Command::new(root.join("usr/bin/hotspot-exporter"));
    run(check.arg("--config.check").arg(format!("--config.file={}", configuration.display())));
    assert_eq!(deb.info("conffiles"), "/etc/hotspot-exporter/config.yaml\n/etc/default/hotspot-exporter\n");
}

/// Without the program that makes the user, the package does not configure at all.
#[test]
fn the_debian_package_depends_on_what_makes_the_user() {
    let Some(deb) = Deb::build("the_debian_package_depends_on_what_makes_the_user") else { return };
    assert!(deb.info("postinst").contains("systemd-sysusers"), "the user is made");
    let control = deb.info("control");
    let depends = control.lines().find_map(|line| line.strip_prefix("Depends: ")).unwrap();
    let one_of = "systemd | systemd-standalone-sysusers | systemd-sysusers";
    assert!(depends.split(", ").any(|package| package == one_of), "{depends}");
}

/// Units of users are the template's instances, of which the tools that handle the other units know nothing.
#[test]
fn maintainer_scripts_handle_every_unit() {
    let test = "maintainer_scripts_handle_every_unit";
    let Some(deb) = Deb::build(test) else { return };
    if !is_root() || program("unshare").is_none() {
        return skip(test, "a systemd that seems to run needs root, and Debian's util-linux");
    }
    let systemd = Systemd::new();
    let calls = |script: &str, arguments: &[&str]| systemd.calls(&deb.info(script), arguments);
    let about = |calls: &[String], verb: &str| -> Vec<String> {
        let units = calls.iter().filter_map(|call| call.strip_prefix(&format!("deb-systemd-invoke {verb} ")));
        units.flat_map(|units| units.split(' ').map(str::to_owned)).collect()
    };
    let ours = ["hotspot-exporter.service", "hotspot-exporter.socket", "hotspot-exporter@*.service"];

    let upgrade = calls("postinst", &["configure", "0.0.1-1"]);
    let mut restarted = about(&upgrade, "try-restart");
    restarted.sort();
    assert_eq!(restarted, ours, "{upgrade:?}");
    // With the new units.
    let position = |start: &str| upgrade.iter().position(|call| call.starts_with(start));
    assert!(position("systemctl --system daemon-reload").unwrap() < position("deb-systemd-invoke").unwrap());
    let stopped = calls("prerm", &["remove"]);
    let mut stopped = about(&stopped, "stop");
    stopped.sort();
    assert_eq!(stopped, ours);

    // The administrator starts what is new, and an upgrade stops nothing before its files are there.
    let first = calls("postinst", &["configure", ""]);
    assert!(!first.iter().any(|call| call.starts_with("deb-systemd-invoke")), "{first:?}");
    assert_eq!(calls("prerm", &["upgrade", "0.2.0-1"]), Vec::<String>::new());
}

/// A removed package comes back as it was; a purged one leaves nothing.
#[test]
fn a_purge_forgets_the_units_of_users() {
    let test = "a_purge_forgets_the_units_of_users";
    let Some(deb) = Deb::build(test) else { return };
    if !is_root() || program("unshare").is_none() {
        return skip(test, "a systemd that seems to run needs root, and Debian's util-linux");
    }
    let systemd = Systemd::new();
    let wants = systemd.root().join("etc/systemd/system/multi-user.target.wants");
    fs::create_dir_all(&wants).unwrap();
    for name in ["hotspot-exporter@bob.service", "other@bob.service"] {
        symlink(format!("/lib/systemd/system/{name}"), wants.join(name)).unwrap();
    }
    let left = || fs::read_dir(&wants).unwrap().count();
    systemd.calls(&deb.info("postrm"), &["remove"]);
    assert_eq!(left(), 2);
    systemd.calls(&deb.info("postrm"), &["purge"]);
    assert!(left() == 1 && wants.join("other@bob.service").is_symlink());
}
