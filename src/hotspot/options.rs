//! The JVM's options that matter: an allow-list, as in [`command`](super::command).

use super::command::STRING_MAXIMUM;

/// The arguments, which are not quoted, without the last one where HotSpot may have truncated it.
fn arguments(vm_args: &str) -> impl DoubleEndedIterator<Item = &str> {
    let whole = if is_truncated(vm_args) { vm_args.rsplit_once(' ').map_or("", |(whole, _)| whole) } else { vm_args };
    whole.split(' ')
}

/// The rest of the last argument that starts with `prefix`, which is the one that the JVM uses; `None` if it is empty.
fn last<'a>(vm_args: &'a str, prefix: &str) -> Option<&'a str> {
    arguments(vm_args).rev().find_map(|argument| argument.strip_prefix(prefix)).filter(|value| !value.is_empty())
}

fn is_truncated(text: &str) -> bool {
    text.len() >= STRING_MAXIMUM
}

/// Where a JVM's options stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct VmOptions<'a> {
    /// `java.rt.vmArgs`: those of the command line, of its argument files, and of `JAVA_TOOL_OPTIONS`.
    pub(super) args: &'a str,
    /// `java.rt.vmFlags`: those of the file of `-XX:Flags`, without `-XX:` (arguments.cpp, `process_settings_file`).
    /// HotSpot reads the file first, so that `args` win.
    pub(super) flags: &'a str,
    /// Those of the process's words: what `args` lacks where HotSpot has cut it. `_JAVA_OPTIONS`, the only text behind
    /// them, may be lost.
    pub(super) words: &'a [String],
}

impl<'a> VmOptions<'a> {
    /// The value of `-XX:NAME=value`.
    fn value(&self, name: &str) -> Option<&'a str> {
        let prefix = format!("-XX:{name}=");
        let words = if is_truncated(self.args) { self.words } else { &[] };
        let word = words.iter().rev().find_map(|word| word.strip_prefix(&prefix));
        word.or_else(|| last(self.args, &prefix)).or_else(|| last(self.flags, &format!("{name}=")))
    }

    /// Whether `-XX:-NAME` stands behind every `-XX:+NAME`.
    fn is_off(&self, name: &str) -> bool {
        let switch = |text, prefix: &str| {
            arguments(text).rev().find_map(|word| word.strip_prefix(prefix)?.strip_suffix(name).map(str::to_owned))
        };
        switch(self.args, "-XX:").or_else(|| switch(self.flags, "")).as_deref() == Some("-")
    }

    /// `-XX:NativeMemoryTracking`. JDK 8 and 11 take it from the command line only (measured), and answer that it is
    /// off.
    pub(super) fn nmt(&self) -> NmtSetting {
        match self.value("NativeMemoryTracking") {
            Some("summary" | "detail") => NmtSetting::On,
            Some("off") => NmtSetting::Off,
            Some(_) => NmtSetting::Unknown,
            None if is_truncated(self.args) || is_truncated(self.flags) => NmtSetting::Unknown,
            None => NmtSetting::Off,
        }
    }

    /// `-XX:MaxMetaspaceSize` in bytes.
    pub(super) fn max_metaspace(&self) -> Option<u64> {
        bytes(self.value("MaxMetaspaceSize")?)
    }

    /// Whence the JVM has its number of CPUs (os.cpp, `os::active_processor_count`).
    pub(super) fn cpus(&self) -> CpuSetting {
        let count = self.value("ActiveProcessorCount").and_then(|count| count.parse().ok());
        match count {
            Some(count @ 1..) => CpuSetting::Count(count),
            _ if self.is_off("UseContainerSupport") => CpuSetting::Affinity,
            _ => CpuSetting::Available,
        }
    }
}

/// Whether Native Memory Tracking is on by the JVM's options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NmtSetting {
    /// It is off.
    Off,
    /// It is on, unless a command has shut it down (JDK 8 and 11).
    On,
    /// The options are missing, or truncated to 1024 bytes without the option.
    #[default]
    Unknown,
}

/// Whence a JVM has its number of CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum CpuSetting {
    /// From its affinity and its cgroup's quota.
    #[default]
    Available,
    /// From its affinity only, with `-XX:-UseContainerSupport`.
    Affinity,
    /// From `-XX:ActiveProcessorCount`.
    Count(u64),
}

/// A size in HotSpot's syntax: digits, and `k`, `m`, `g` or `t` in either case.
fn bytes(size: &str) -> Option<u64> {
    let digits = size.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match size.strip_prefix(digits)? {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        "t" | "T" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1_u64 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn native_memory_tracking() {
        let pad = "x".repeat(1024);
        let table = [
            ("-Xmx1g".to_owned(), NmtSetting::Off),
            ("-XX:NativeMemoryTracking=summary".to_owned(), NmtSetting::On),
            ("-XX:NativeMemoryTracking=detail -XX:NativeMemoryTracking=off".to_owned(), NmtSetting::Off),
            ("-XX:NativeMemoryTracking=odd".to_owned(), NmtSetting::Unknown),
            (format!("-Dpad={pad}"), NmtSetting::Unknown),
            (format!("-XX:NativeMemoryTracking=summary -Dpad={pad}"), NmtSetting::On),
        ];
        for (vm_args, expected) in table {
            assert_eq!(VmOptions { args: &vm_args, flags: "", words: &[] }.nmt(), expected, "{vm_args}");
        }
    }

    #[test]
    fn metaspace_bound() {
        let table = [
            ("-XX:MaxMetaspaceSize=64m", Some(64 << 20)),
            ("-XX:MaxMetaspaceSize=64m -XX:MaxMetaspaceSize=1G", Some(1 << 30)),
            ("-XX:MaxMetaspaceSize=4096", Some(4096)),
            ("-XX:MaxMetaspaceSize=4q", None),
            ("-XX:MaxMetaspaceSize=", None),
            ("-XX:MaxMetaspaceSize=99999999999t", None),
            ("-Xmx1g", None),
        ];
        for (vm_args, expected) in table {
            assert_eq!(VmOptions { args: vm_args, flags: "", words: &[] }.max_metaspace(), expected, "{vm_args}");
        }
    }

    #[test]
    fn options_of_a_file_are_overridden_by_the_command_line() {
        let flags = "+UseSerialGC NativeMemoryTracking=detail MaxMetaspaceSize=1k ActiveProcessorCount=3";
        let options = VmOptions { args: "-Xmx1g", flags, words: &[] };
        assert_eq!(
            (options.nmt(), options.max_metaspace(), options.cpus()),
            (NmtSetting::On, Some(1024), CpuSetting::Count(3))
        );
        let args = "-XX:NativeMemoryTracking=off -XX:MaxMetaspaceSize=2k -XX:ActiveProcessorCount=-1";
        let options = VmOptions { args, flags, words: &[] };
        assert_eq!(
            (options.nmt(), options.max_metaspace(), options.cpus()),
            (NmtSetting::Off, Some(2048), CpuSetting::Available)
        );
        for (args, flags, expected) in [
            ("-XX:-UseContainerSupport", "", CpuSetting::Affinity),
            ("", "-UseContainerSupport", CpuSetting::Affinity),
            ("-XX:-UseContainerSupport -XX:+UseContainerSupport", "", CpuSetting::Available),
            ("-XX:+UseContainerSupport", "-UseContainerSupport", CpuSetting::Available),
            ("-XX:-UseContainerSupport -XX:ActiveProcessorCount=2", "", CpuSetting::Count(2)),
        ] {
            assert_eq!(VmOptions { args, flags, words: &[] }.cpus(), expected, "{args} {flags}");
        }
    }

    #[test]
    fn options_that_hotspot_has_cut_are_in_the_words() {
        let args = format!("-XX:ActiveProcessorCount=3 -Dpad={} -XX:ActiveProcessorC", "x".repeat(1000));
        let words = ["java", "-XX:ActiveProcessorCount=7", "-XX:NativeMemoryTracking=summary"].map(str::to_owned);
        let options = VmOptions { args: &args, flags: "", words: &words };
        assert_eq!((options.cpus(), options.nmt()), (CpuSetting::Count(7), NmtSetting::On));
        let options = VmOptions { args: "-XX:ActiveProcessorCount=3", ..options };
        assert_eq!(options.cpus(), CpuSetting::Count(3), "a whole text has what comes last");
    }
}
