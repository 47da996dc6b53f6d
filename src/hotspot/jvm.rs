//! The identity of a JVM: what does not change in its life.

use super::collector::Collector;
use super::command::{self, RegionTexts};
use super::launch::ProcessStart;
use super::options::{CpuSetting, NmtSetting, VmOptions};
use crate::perfdata::Image;

/// The identity of a JVM. Of the command line it holds only what [`command`] returns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Jvm {
    /// The garbage collector; `None` if it is unknown.
    pub(crate) collector: Option<Collector>,
    /// Feature release: 8, 11, 25.
    pub(crate) feature: Option<u32>,
    /// `java.version`
    pub java_version: Option<String>,
    /// `java.vm.name`
    pub(crate) vm_name: Option<String>,
    /// `java.vm.vendor`
    pub(crate) vm_vendor: Option<String>,
    /// `java.vm.version`
    pub(crate) vm_version: Option<String>,
    /// Main class, or file name of the jar.
    pub(crate) main: Option<String>,
    /// A name for the application, from an allowed property or variable, the jar or the main class, in this order.
    pub app: Option<String>,
    /// The application's version, where the jar's name contains one.
    pub(crate) app_version: Option<String>,
    /// `app` is the name of a launcher; the unit or container that started the JVM may have a better one.
    pub(crate) app_is_launcher: bool,
    /// Whether Native Memory Tracking is on by the JVM's options.
    pub(crate) nmt: NmtSetting,
    /// `-XX:MaxMetaspaceSize`, in bytes.
    pub(crate) max_metaspace: Option<u64>,
    /// Whence it has its number of CPUs.
    pub(crate) cpus: CpuSetting,
    /// Whether the JVM can start an attach listener; `None` where it does not publish this.
    pub(crate) attach_supported: Option<bool>,
    /// A GraalVM native image, with other collectors and pools and fewer counters.
    pub(crate) native_image: bool,
    /// The JVM has finished its start, or has no counter for this. Since JDK 17 the region is readable before premain
    /// agents run; HotSpot writes names, arguments and the tick frequency after them
    /// (`PerfDataManager::create_misc_perfdata`), and the end time of the start last.
    pub(crate) fully_up: bool,
}

impl Jvm {
    /// Reads the identity of the JVM in `image`. `properties` are the system properties that may name the application,
    /// by descending preference.
    pub(super) fn of(image: &Image, start: &ProcessStart, properties: &[String]) -> Self {
        let text = |name: &str| image.text(name).filter(|text| !text.is_empty()).map(|text| text.into_owned());
        let java_version = text("java.property.java.version");
        let specification = image.text("java.property.java.vm.specification.version");
        let feature = java_version.as_deref().and_then(feature_of);
        let args = image.text("java.rt.vmArgs");
        let part = |name: &str| image.text(name).unwrap_or_default();
        let [command, class_path, flags] =
            ["sun.rt.javaCommand", "java.property.java.class.path", "java.rt.vmFlags"].map(part);
        let vm_args = args.as_deref().unwrap_or_default();
        let region = RegionTexts { command: &command, vm_args, class_path: &class_path };
        let launch = region.launch(start);
        let options = VmOptions { args: vm_args, flags: &flags, words: launch.options };
        let program = command::identify(region, &launch, properties);
        Self {
            main: program.main,
            app: program.app,
            app_version: program.version,
            app_is_launcher: program.is_launcher,
            collector: Collector::of(image),
            feature: feature.or_else(|| feature_of(&specification?)),
            java_version,
            vm_name: text("java.property.java.vm.name"),
            vm_vendor: text("java.property.java.vm.vendor"),
            vm_version: text("java.property.java.vm.version"),
            nmt: if args.is_some() { options.nmt() } else { NmtSetting::Unknown },
            max_metaspace: options.max_metaspace(),
            cpus: options.cpus(),
            attach_supported: attach_supported(image),
            native_image: is_native_image(image),
            fully_up: image.word("sun.rt.createVmEndTime") != Some(0),
        }
    }
}

/// The first of 64 capabilities (runtimeService.cpp, `jvmCapabilities`): 0 with `-XX:+DisableAttachMechanism`.
fn attach_supported(image: &Image) -> Option<bool> {
    match image.text("sun.rt.jvmCapabilities")?.bytes().next() {
        Some(b'1') => Some(true),
        Some(b'0') => Some(false),
        _ => None,
    }
}

/// GraalVM native images publish this counter (substratevm, `SystemCounters`).
fn is_native_image(image: &Image) -> bool {
    image.entry("com.oracle.svm.processors").is_some()
        || image.text("java.property.java.vm.name").as_deref() == Some("Substrate VM")
}

/// The feature release of `java.version` or `java.vm.specification.version`: 8 of `1.8.0_504` and `1.8`, 11 of
/// `11.0.33-ea`, 27 of `27` (JEP 223 changed the scheme in JDK 9).
fn feature_of(version: &str) -> Option<u32> {
    let version = version.strip_prefix("1.").unwrap_or(version);
    let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn feature_release() {
        let table = [
            ("1.8.0_504", Some(8)),
            ("1.8", Some(8)),
            ("9-internal", Some(9)),
            ("11.0.33-ea", Some(11)),
            ("21.0.13.0.3", Some(21)),
            ("25.0.3", Some(25)),
            ("27", Some(27)),
            ("1", Some(1)),
            ("", None),
            ("unknown", None),
            ("99999999999", None),
        ];
        for (version, expected) in table {
            assert_eq!(super::feature_of(version), expected, "{version}");
        }
    }
}
