//! The package on a machine with systemd that has really booted.
//!
//! One machine serves all tests, which take turns and begin with the package newly installed.

mod machine;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use crate::support::{ensure, skip_this, wait_for};
use crate::text_of;
use machine::Machine;

const SERVICE: &str = "hotspot-exporter";
const OF_BOB: &str = "hotspot-exporter@bob";
const PORT: u16 = 9850;
const PORT_OF_BOB: u16 = 9851;

/// The machine for one test, with the package as `apt install` leaves it; `None`, said as a skip, where it cannot boot.
fn installed() -> Option<MutexGuard<'static, Machine>> {
    static MACHINE: OnceLock<Result<Mutex<Machine>, String>> = OnceLock::new();
    match MACHINE.get_or_init(|| Machine::boot().map(Mutex::new)) {
        Ok(machine) => {
            // What a failed test leaves is put right here.
            let machine = machine.lock().unwrap_or_else(PoisonError::into_inner);
            machine.reset();
            Some(machine)
        }
        Err(reason) => {
            skip_this(reason);
            None
        }
    }
}

impl Machine {
    /// Settings of the service that take less time than its own.
    fn hurry(&self, settings: &str) {
        self.run(&format!(
            "mkdir -p /run/systemd/system/{SERVICE}.service.d
             printf '[Service]\nRestartSec=100ms\n{settings}' >/run/systemd/system/{SERVICE}.service.d/quick.conf
             systemctl daemon-reload"
        ));
    }

    fn configure(&self, text: &str) {
        self.run(&format!("printf '{text}' >/etc/hotspot-exporter/config.yaml"));
    }

    fn main_process(&self, unit: &str) -> String {
        let pid = self.property(unit, "MainPID");
        assert_ne!(pid, "0", "{unit} runs: {}", self.journal());
        pid
    }

    /// Waits until another process than this one serves.
    fn wait_for_successor(&self, of: &str) -> String {
        let successor = self.wait_for_property(SERVICE, "MainPID", |pid| pid != "0" && pid != of);
        self.wait_for_property(SERVICE, "ActiveState", |state| state == "active");
        successor
    }

    fn is(&self, question: &str, unit: &str) -> bool {
        self.attempt(&format!("systemctl {question} {unit}")).status.success()
    }
}

#[test]
fn an_installed_service_is_ready_after_its_first_scan() {
    let Some(machine) = installed() else { return };
    for unit in [SERVICE, "hotspot-exporter.socket"] {
        assert!(!machine.is("is-enabled", unit) && !machine.is("is-active", unit), "the administrator enables {unit}");
    }
    machine.start_jvm("orders", &["User=alice"]);
    machine.run(&format!("systemctl enable --now {SERVICE}"));
    // Nobody waits for the page of a service that is ready.
    assert!(machine.get(PORT, "/metrics").text().contains("hotspot_exporter_build_info"));
    machine.wait_for_property(SERVICE, "StatusText", |status| status.starts_with("1 JVMs served, 0 stalled"));
    let status = machine.run(&format!("cat /proc/{}/status", machine.main_process(SERVICE)));
    let last =
        |field: &str| status.lines().find_map(|line| line.strip_prefix(field)?.split_whitespace().last()).unwrap();
    assert_eq!(last("Uid:"), machine.run("id --user hotspot-exporter"));
    let (dac_read_search, sys_ptrace) = (1 << 2, 1 << 19);
    assert_eq!(u64::from_str_radix(last("CapBnd:"), 16), Ok(dac_read_search | sys_ptrace));
    assert_eq!(machine.run(&format!("stat --format='%U %a' /var/lib/{SERVICE}")), "hotspot-exporter 700");
    machine.run(&format!("systemctl stop {SERVICE}"));
    assert_eq!(machine.property(SERVICE, "Result"), "success");
    assert_eq!(machine.property(SERVICE, "ExecMainStatus"), "0");
}

#[test]
fn a_configuration_is_reloaded_if_it_is_valid() {
    let Some(machine) = installed() else { return };
    machine.hurry("");
    machine.run(&format!("systemctl start {SERVICE}"));
    let pid = machine.main_process(SERVICE);
    assert_eq!(machine.get(PORT, "/metrics/client_java").status, 404);
    machine.configure("profiles: [otel, client_java]\\n");
    machine.run(&format!("systemctl reload {SERVICE}"));
    let status = |path: &str| machine.get(PORT, path).status;
    wait_for("the new profile", || ensure(status("/metrics/client_java") == 200, machine.journal()));

    machine.configure("profiles: [nothing]\\n");
    let reload = machine.attempt(&format!("systemctl reload {SERVICE}"));
    assert!(!reload.status.success(), "{}", text_of(&reload));
    assert!(machine.journal().contains("config.yaml:1:"), "{}", machine.journal());
    assert_eq!((machine.main_process(SERVICE), status("/metrics/client_java")), (pid.clone(), 200));

    // What keeps it from starting may be put right at any time.
    let restart = machine.attempt(&format!("systemctl restart {SERVICE}"));
    assert!(!restart.status.success(), "{}", text_of(&restart));
    machine.configure("profiles: [otel]\\n");
    machine.wait_for_successor(&pid);
    assert_eq!(status("/metrics"), 200);
}

#[test]
fn an_exporter_that_hangs_or_dies_is_started_again() {
    let Some(machine) = installed() else { return };
    machine.hurry("WatchdogSec=10\\nTimeoutAbortSec=1\\n");
    // Scans alone do not keep the watchdog quiet.
    machine.configure("discovery: {interval: 30m}\\n");
    for user in ["alice", "bob"] {
        machine.start_jvm(&format!("of-{user}"), &[&format!("User={user}")]);
    }
    machine.run(&format!("systemctl start {SERVICE}"));
    machine.wait_for_jvms(PORT, &["of-alice", "of-bob"]);

    let hanging = machine.main_process(SERVICE);
    machine.run(&format!("kill -STOP {hanging}"));
    let next = machine.wait_for_successor(&hanging);
    let said = |text: &str| text_of(&machine.attempt("journalctl --no-pager --unit=hotspot-exporter")).contains(text);
    assert!(said("Watchdog timeout"), "{}", machine.journal());

    machine.run(&format!("kill -KILL {next}"));
    machine.wait_for_successor(&next);
    machine.wait_for_jvms(PORT, &["of-alice", "of-bob"]);
    assert!(said("status=9/KILL"), "{}", machine.journal());
}

/// Says stop when it ends, by a panic too.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn no_request_is_lost_while_the_service_restarts_on_its_socket() {
    let Some(machine) = installed() else { return };
    machine.run(&format!("echo 'ARGS=\"--web.systemd-socket\"' >/etc/default/{SERVICE}"));
    machine.run("systemctl enable --now hotspot-exporter.socket");
    assert!(!machine.is("is-active", SERVICE), "nobody has asked for it");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let ask = || {
            let mut answers = 0;
            while !stop.load(Ordering::Relaxed) {
                let response = machine.get(PORT, "/metrics");
                assert!(response.status == 200 && response.text().contains("hotspot_exporter_build_info"));
                answers += 1;
            }
            answers
        };
        let clients = [(); 4].map(|()| scope.spawn(ask));
        let running = Stop(&stop);
        machine.wait_for_property(SERVICE, "ActiveState", |state| state == "active");
        let mut processes = BTreeSet::from([machine.main_process(SERVICE)]);
        for _ in 0..5 {
            machine.run(&format!("systemctl restart {SERVICE}"));
            processes.insert(machine.main_process(SERVICE));
        }
        drop(running);
        let answers: Vec<u32> = clients.map(|client| client.join().expect("every request is answered")).to_vec();
        println!("{answers:?} requests answered by {processes:?}");
        assert_eq!(processes.len(), 6);
    });
}

#[test]
fn jvms_of_every_kind_of_unit_are_found() {
    let Some(machine) = installed() else { return };
    machine.start_jvm("dynamic", &["DynamicUser=yes"]);
    machine.start_jvm("hidden", &["User=bob", "PrivateTmp=yes"]);
    machine.start_jvm("of-alice", &["User=alice"]);
    machine.start_jvm("of-bob", &["User=bob"]);
    machine.start_jvm("of-root", &[]);
    machine.run(&format!("systemctl start {SERVICE}"));
    machine.wait_for_jvms(PORT, &["dynamic", "hidden", "of-alice", "of-bob", "of-root"]);
    let users: Vec<String> = machine.jvms(PORT).into_iter().map(|(.., user)| user).collect();
    assert_eq!(users[1..], ["bob", "alice", "bob", "root"]);
    // The capabilities do not answer for other users.
    assert!(!machine.get(PORT, "/metrics").text().contains("jvm_nmt_committed_bytes"));

    machine.run(&format!("echo 'ARGS=\"--web.listen-address=:{PORT_OF_BOB}\"' >/etc/default/hotspot-exporter-bob"));
    machine.run(&format!("systemctl start {OF_BOB}"));
    machine.wait_for_jvms(PORT_OF_BOB, &["hidden", "of-bob"]);
    wait_for("native memory of bob's JVM", || {
        let page = machine.get(PORT_OF_BOB, "/metrics");
        ensure(page.text().contains("jvm_nmt_committed_bytes"), page.text())
    });
}

#[test]
fn an_upgrade_restarts_what_runs_and_a_removal_ends_it() {
    let Some(machine) = installed() else { return };
    machine.run(&format!("echo 'ARGS=\"--web.listen-address=:{PORT_OF_BOB}\"' >/etc/default/hotspot-exporter-bob"));
    machine.configure("profiles: [otel, micrometer]\\n");
    machine.run(&format!("systemctl enable --now {SERVICE} {OF_BOB}"));
    let units = [(SERVICE, PORT), (OF_BOB, PORT_OF_BOB)];
    let before = units.map(|(unit, _)| machine.main_process(unit));
    machine.upgrade();
    for ((unit, port), before) in units.into_iter().zip(before) {
        let pid = machine.main_process(unit);
        assert_ne!(pid, before, "{unit} runs with the old program");
        assert_eq!(machine.run(&format!("readlink /proc/{pid}/exe")), "/usr/bin/hotspot-exporter");
        assert_eq!(machine.get(port, "/metrics/micrometer").status, 200, "the configuration is the administrator's");
    }

    machine.run("dpkg --remove hotspot-exporter");
    for (unit, _) in units {
        assert_eq!(machine.property(unit, "ActiveState"), "inactive", "{unit}");
    }
    // As much of its name as the kernel keeps.
    assert_eq!(machine.run("grep --files-with-matches '^hotspot-exporte' /proc/[0-9]*/comm || true"), "");
    machine.run("test -e /etc/hotspot-exporter/config.yaml");
    // It comes back as it was.
    machine.upgrade();
    assert!(units.iter().all(|(unit, _)| machine.is("is-enabled", unit)));

    machine.run("dpkg --purge hotspot-exporter");
    let left = "find /etc /usr /run/systemd /var/lib/systemd -name '*hotspot-exporter*' -not -path '*/default/*-bob'";
    assert_eq!(machine.run(left), "");
}
