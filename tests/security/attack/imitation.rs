//! Processes that imitate a JVM, vmStructs and all (`tests/hostile/libjvm.c`), and what is wrong with each of them.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::attack::held::program;
use crate::support::exporter::Exporter;
use crate::support::exposition::Exposition;
use crate::support::native::compile;
use crate::support::regions::fixture;
use crate::support::{copy_program, ensure, wait_for};

/// Where imitations are started from.
pub(crate) struct Imitations {
    folder: TempDir,
}

/// Ends with its test.
pub(crate) struct Imitation {
    child: Child,
    pub(crate) mode: String,
}

impl Imitations {
    /// `None`, said as a skip, where they cannot be had.
    pub(crate) fn new() -> Option<Self> {
        let folder = program()?;
        let options = ["tests/hostile/libjvm.c", "-shared", "-fPIC", "-pthread"];
        copy_program(compile("libimitation.so", &options)?, &folder.path().join("libjvm.so"));
        // Other users start it.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        Some(Self { folder })
    }

    /// Starts one with the recorded counters of that name.
    pub(crate) fn start(&self, region: &str, mode: &str) -> Imitation {
        self.start_as(&[], region, mode.as_ref())
    }

    /// Starts one in a mount namespace of its own: within one, the tables of the first process are those of all.
    pub(crate) fn start_apart(&self, region: &str, mode: &str) -> Imitation {
        self.start_as(&["unshare", "--mount", "--"], region, mode.as_ref())
    }

    /// Starts one as another user, who may mount.
    pub(crate) fn start_as_user(&self, uid: u32, region: &str, mode: &str) -> Imitation {
        let become_user = format!("setpriv --reuid {uid} --inh-caps +sys_admin --ambient-caps +sys_admin");
        let script = format!("[ ! -c /dev/fuse ] || exec 9<>/dev/fuse; exec {become_user} \"$@\"");
        self.start_as(&["sh", "-c", &script, "sh"], region, mode.as_ref())
    }

    /// Starts one behind another command.
    pub(crate) fn start_as(&self, prefix: &[&str], region: &str, mode: &OsStr) -> Imitation {
        let counters = self.folder.path().join(region);
        if !counters.exists() {
            fs::copy(fixture(region), &counters).unwrap();
        }
        let java = self.folder.path().join("java");
        let mut words = prefix.iter().map(OsStr::new).chain([java.as_os_str(), mode, counters.as_os_str()]);
        let mut command = Command::new(words.next().unwrap());
        let mut child = command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let mode = mode.to_string_lossy().into_owned();
        assert_eq!(line.trim_end(), child.id().to_string(), "{mode} has started");
        Imitation { child, mode }
    }
}

impl Imitation {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Has it hold its readers in one of the ways of `tests/memory/libjvm.c`, and waits until it does.
    pub(crate) fn hold(&mut self, way: u8) -> bool {
        self.child.stdin.as_mut().unwrap().write_all(&[way]).unwrap();
        let maps = format!("/proc/{}/maps", self.pid());
        wait_for("the pages to be held", || match self.child.try_wait().unwrap() {
            Some(_) => Ok(false),
            None if way == b'u' => Ok(true),
            None => ensure(fs::read_to_string(&maps).unwrap().contains(" /mnt/"), "not mapped").map(|()| true),
        })
    }

    /// What of a page is of this process.
    pub(crate) fn page(&self, page: &Exposition) -> Option<Exposition> {
        page.of_pid(self.pid()).map(|(_, page)| page)
    }

    /// The same once it is served.
    pub(crate) fn served(&self, exporter: &Exporter) -> Exposition {
        wait_for(&self.mode, || self.page(&exporter.scrape()).ok_or("not served"))
    }
}

impl Drop for Imitation {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The series of a page that come from the reader of that name.
pub(crate) fn published<'p>(page: &'p Exposition, what: &str) -> Vec<&'p crate::support::exposition::Sample> {
    let names: &[&str] = match what {
        "heap" => &["jvm_hotspot_heap_used_bytes"],
        "humongous" => &["jvm_hotspot_g1_humongous_bytes"],
        "code_heaps" => {
            &["jvm_hotspot_code_cache_nmethods", "jvm_hotspot_code_cache_full_total", "jvm_memory_used_bytes"]
        }
        "flags" => &["jvm_hotspot_flag"],
        "class_loaders" => &["jvm_hotspot_class_loaders"],
        "buffers" => &["jvm_buffer_memory_used_bytes", "jvm_buffer_count"],
        "thread_states" => &["jvm_hotspot_thread_states"],
        "allocated" => &["jvm_hotspot_allocated_source_info"],
        other => panic!("no reader {other}"),
    };
    let is_of = |sample: &&crate::support::exposition::Sample| match sample.name.as_str() {
        "jvm_memory_used_bytes" => sample.labels["jvm_memory_pool_name"].starts_with("Code"),
        "jvm_hotspot_allocated_source_info" => sample.labels["mode"] == "exact",
        name => names.contains(&name),
    };
    page.samples.iter().filter(|sample| names.contains(&&*sample.name)).filter(is_of).collect()
}

/// How many values of a reader were rejected.
pub(crate) fn rejected(page: &Exposition, what: &str) -> f64 {
    page.value("jvm_hotspot_introspection_rejected_total", &[("what", what)]).unwrap_or_default()
}
