//! JVMs and exporters in cgroup namespaces of their own, as container runtimes make them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::support::exporter::{Exporter, command};
use crate::support::exposition::Exposition;
use crate::support::jvm::Jvm;
use crate::support::{is_root, jdk, program, skip, wait_for};

const MEMORY: u64 = 512 << 20;

/// A control group of half a CPU and [`MEMORY`]; removed when dropped, when its processes must have ended.
pub(crate) struct Group {
    /// Its directory in each hierarchy, and how a container mounts that hierarchy.
    places: Vec<(PathBuf, String)>,
}

/// What a process sees of control groups.
#[derive(Clone, Copy, Debug)]
pub(crate) enum View {
    /// The mounts of the host, from a namespace of its own.
    Host,
    /// The mounts that a container runtime makes: each shows the group alone.
    Container,
    /// Nothing.
    Nothing,
}

impl Group {
    /// `None`, said as a skip, where no such group can be made.
    pub(crate) fn new(test: &str, name: &str) -> Option<Self> {
        let places = if is_root() && program("unshare").is_some() { hierarchies() } else { Vec::new() };
        let name = format!("hotspot-exporter-{name}-{}", std::process::id());
        let places = places.into_iter().map(|(point, mount)| (point.join(&name), mount)).collect();
        let group = Self { places };
        if group.places.is_empty() || group.limit().is_err() {
            skip(test, "no group with a quota can be made here; it needs root, and the controllers cpu and memory");
            return None;
        }
        Some(group)
    }

    fn limit(&self) -> std::io::Result<()> {
        for (directory, mount) in &self.places {
            fs::create_dir(directory)?;
            for (controller, file, limit) in [
                ("cgroup2", "cpu.max", "50000 100000".to_owned()),
                ("cgroup2", "memory.max", MEMORY.to_string()),
                ("cpu", "cpu.cfs_quota_us", "50000".to_owned()),
                // Beside other tests too, its quota ends sooner than its part of a busy machine.
                ("cgroup2", "cpu.weight", "10000".to_owned()),
                ("cpu", "cpu.shares", "100000".to_owned()),
                ("memory", "memory.limit_in_bytes", MEMORY.to_string()),
            ] {
                if mount.split([' ', ',']).any(|word| word == controller) {
                    fs::write(directory.join(file), limit)?;
                }
            }
        }
        Ok(())
    }

    /// Runs a command in the group and in a cgroup namespace of its own.
    pub(crate) fn run(&self, view: View, inner: &Command) -> Command {
        let enter: Vec<_> =
            self.places.iter().map(|(place, _)| format!("echo $$ > {}/cgroup.procs", place.display())).collect();
        let tmpfs = "mount -t tmpfs none /sys/fs/cgroup";
        let mounts = match view {
            View::Host => "true".to_owned(),
            View::Nothing => tmpfs.to_owned(),
            View::Container => {
                let mount = |(at, (_, mount)): (usize, &(PathBuf, String))| {
                    format!("mkdir /sys/fs/cgroup/{at} && mount -t {mount} none /sys/fs/cgroup/{at}")
                };
                let mounts: Vec<_> = self.places.iter().enumerate().map(mount).collect();
                format!("{tmpfs} && {}", mounts.join(" && "))
            }
        };
        let script = format!("{} && exec unshare -C -m sh -c '{mounts} && exec \"$@\"' sh \"$@\"", enter.join(" && "));
        let mut command = Command::new("sh");
        command.args(["-c", &script, "sh"]).arg(inner.get_program()).args(inner.get_args());
        command
    }

    fn jvm(&self, view: View, options: &[&str]) -> Jvm {
        let mut java = Command::new(jdk::any().java());
        java.args(Jvm::arguments()).arg("-XX:+UseSerialGC").args(options).arg("Workload");
        Jvm::spawn(&mut self.run(view, &java))
    }

    fn exporter(&self, view: View) -> Exporter {
        Exporter::spawn(&mut self.run(view, &command(["--discovery.root=/tmp", "--web.listen-address=127.0.0.1:0"])))
    }

    fn explain(&self, view: View, jvm: &Jvm) -> String {
        let explain = command(["--discovery.root=/tmp", "explain", &jvm.pid().to_string()]);
        let output = self.run(view, &explain).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().find_map(|line| line.strip_prefix("  process: ")).unwrap().to_owned()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for (directory, _) in &self.places {
            // What cannot be removed was not made, or has a process that is still ending.
            let _ = fs::remove_dir(directory);
        }
    }
}

/// The mount points of the hierarchies of cpu and memory, and how each is mounted.
fn hierarchies() -> Vec<(PathBuf, String)> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let found = |wanted: &dyn Fn(&str, &str, &str) -> Option<String>| {
        mounts.lines().find_map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            Some((PathBuf::from(words[1]), wanted(words[1], words[2], words[3])?))
        })
    };
    let version_2 = found(&|point, kind, _| {
        let enabled = fs::read_to_string(format!("{point}/cgroup.subtree_control")).unwrap_or_default();
        let both = ["cpu", "memory"].iter().all(|name| enabled.split_whitespace().any(|word| word == *name));
        (kind == "cgroup2" && both).then(|| kind.to_owned())
    });
    if version_2.is_some() {
        return version_2.into_iter().collect();
    }
    let version_1 = ["cpu", "memory"].map(|controller| {
        found(&|_, kind, options| {
            let names =
                options.split(',').filter(|word| !["rw", "relatime", "nosuid", "nodev", "noexec"].contains(word));
            let names = names.collect::<Vec<_>>();
            (kind == "cgroup" && names.contains(&controller)).then(|| format!("cgroup -o {}", names.join(",")))
        })
    });
    version_1.into_iter().collect::<Option<_>>().unwrap_or_default()
}

fn page_of(exporter: &Exporter, jvm: &Jvm) -> Exposition {
    wait_for("the JVM", || exporter.scrape().of_pid(jvm.pid()).ok_or("not there")).1
}

#[test]
fn a_container_with_its_own_cgroup_namespace_and_a_quota_of_half_a_cpu_shows_that_quota() {
    const TEST: &str = "a_container_with_its_own_cgroup_namespace_and_a_quota_of_half_a_cpu_shows_that_quota";
    let Some((container, other)) = Group::new(TEST, "jvm").zip(Group::new(TEST, "exporter")) else { return };
    let jvm = container.jvm(View::Container, &[]);
    let check = |exporter: &Exporter, from: &str| {
        let page = page_of(exporter, &jvm);
        let value = |name: &str| page.value(name, &[]);
        assert_eq!(value("jvm_hotspot_cgroup_cpu_quota"), Some(0.5), "{from}");
        assert_eq!(value("jvm_cpu_count"), Some(1.0), "{from}");
        assert_eq!(value("jvm_hotspot_cgroup_memory_limit_bytes"), Some(MEMORY as f64), "{from}");
        assert!(value("jvm_hotspot_cgroup_memory_current_bytes") > Some(0.0), "{from}");
        assert!(value("jvm_hotspot_cgroup_cpu_periods_total").is_some(), "{from}");
    };
    check(&Exporter::start(["--discovery.root=/tmp"]), "from the host");
    for view in [View::Host, View::Container, View::Nothing] {
        check(&other.exporter(view), &format!("from another container that sees {view:?}"));
        assert_eq!(other.explain(view, &jvm), "visible, and so is its cgroup", "{view:?}");
    }
    check(&container.exporter(View::Container), "from the same group");
}

#[test]
fn a_jvm_that_the_kernel_kills_for_lack_of_memory_is_told_from_one_that_a_signal_kills() {
    const TEST: &str = "a_jvm_that_the_kernel_kills_for_lack_of_memory_is_told_from_one_that_a_signal_kills";
    let Some((group, other)) = Group::new(TEST, "full").zip(Group::new(TEST, "killed")) else { return };
    let exporter = Exporter::start(["--discovery.root=/tmp"]);
    let mut fill = Command::new(jdk::any().java());
    fill.args(Jvm::arguments()).args(["-XX:+UseSerialGC", "-XX:MaxDirectMemorySize=8g", "Ailing", "fill"]);
    let (mut full, killed) = (Jvm::spawn(&mut group.run(View::Host, &fill)), other.jvm(View::Host, &[]));
    let pids = [full.pid(), killed.pid()];
    for jvm in [&full, &killed] {
        let page = page_of(&exporter, jvm);
        assert_eq!(page.value("jvm_hotspot_cgroup_oom_kills_total", &[]), Some(0.0));
    }
    full.tell("now");
    full.await_death();
    killed.kill();
    let how = |pid: u32| {
        let overview: serde_json::Value = serde_json::from_slice(&exporter.get("/overview").body).unwrap();
        let jvm = overview["jvms"].as_array().unwrap().iter().find(|jvm| jvm["pid"] == pid).cloned();
        jvm.unwrap_or_default()["end"]["how"].as_str().map(str::to_owned)
    };
    let ends = wait_for("both ends", || {
        let ends = pids.map(how);
        if ends.iter().all(Option::is_some) { Ok(ends) } else { Err(format!("{ends:?}")) }
    });
    let [full, killed] = ends.map(Option::unwrap);
    assert_eq!(full, "out_of_memory");
    // A JVM of another test that starts at that moment removes the file.
    assert!(["killed", "unknown"].contains(&killed.as_str()), "{killed}");
}

#[test]
fn a_cgroup_that_cannot_be_seen_gives_no_number_of_cpus_and_explain_says_why() {
    const TEST: &str = "a_cgroup_that_cannot_be_seen_gives_no_number_of_cpus_and_explain_says_why";
    let Some((container, other)) = Group::new(TEST, "blind-jvm").zip(Group::new(TEST, "blind-exporter")) else {
        return;
    };
    let jvm = container.jvm(View::Nothing, &[]);
    let counted = container.jvm(View::Nothing, &["-XX:ActiveProcessorCount=7"]);
    let exporter = other.exporter(View::Container);
    let page = page_of(&exporter, &jvm);
    assert!(page.value("jvm_cpu_time_seconds_total", &[]).is_some(), "the process is seen");
    assert_eq!(page.value("jvm_cpu_count", &[]), None, "not the host's");
    assert_eq!(page.samples.iter().find(|sample| sample.name.contains("cgroup")), None);
    assert_eq!(page_of(&exporter, &counted).value("jvm_cpu_count", &[]), Some(7.0), "the JVM's own word");
    let reason = other.explain(View::Container, &jvm);
    for part in ["neither the exporter nor the process has a mount", "mount /sys/fs/cgroup", "the number of CPUs"] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    let seen = Exporter::start(["--discovery.root=/tmp"]);
    assert_eq!(page_of(&seen, &jvm).value("jvm_hotspot_cgroup_cpu_quota", &[]), Some(0.5), "the host sees it");
}
