//! What a JVM is, beside its numbers.

use super::collector::Collector;
use super::command::{self, NmtSetting};
use super::version;
use crate::perfdata::Image;

/// The lasting facts of a JVM. Nothing of its command line but what [`command`] lets through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Jvm {
    /// The garbage collector, where it is a known one.
    pub collector: Option<Collector>,
    /// Feature release: 8, 11, 25.
    pub feature: Option<u32>,
    /// `java.version`
    pub java_version: Option<String>,
    /// `java.vm.name`
    pub vm_name: Option<String>,
    /// `java.vm.vendor`
    pub vm_vendor: Option<String>,
    /// `java.vm.version`
    pub vm_version: Option<String>,
    /// Main class, or file name of the jar.
    pub main: Option<String>,
    /// A name for the application, from an allowed property, the jar or the main class, in this order.
    pub app: Option<String>,
    /// Of the application, where its jar's name has one.
    pub app_version: Option<String>,
    /// `app` is a launcher or a name that any application may have: what started the JVM knows a better one.
    pub app_is_launcher: bool,
    /// Whether Native Memory Tracking was asked for.
    pub nmt: NmtSetting,
    /// `-XX:MaxMetaspaceSize`, in bytes.
    pub max_metaspace: Option<u64>,
    /// Whether the JVM has an attach listener to start; `None` where it does not tell.
    pub attach_supported: Option<bool>,
    /// A GraalVM native image: other collectors and pools, few counters.
    pub native_image: bool,
    /// The JVM has finished its start, or has no counter for that. On JDK 17 and later the region is readable before
    /// premain agents have run; names, arguments and the clock's frequency come after them
    /// (`PerfDataManager::create_misc_perfdata`), and last the time at which the start was over.
    pub fully_up: bool,
}

impl Jvm {
    /// Reads the JVM in `image`. `properties` are the system properties that may name the application, the best first.
    pub fn of(image: &Image, properties: &[String]) -> Self {
        let text = |name: &str| image.text(name).filter(|text| !text.is_empty()).map(|text| text.into_owned());
        let java_version = text("java.property.java.version");
        let specification = image.text("java.property.java.vm.specification.version");
        let feature = java_version.as_deref().and_then(version::feature);
        let vm_args = image.text("java.rt.vmArgs");
        let identity = command::identify(
            &image.text("sun.rt.javaCommand").unwrap_or_default(),
            vm_args.as_deref().unwrap_or_default(),
            properties,
        );
        Self {
            collector: Collector::of(image),
            feature: feature.or_else(|| version::feature(&specification?)),
            java_version,
            vm_name: text("java.property.java.vm.name"),
            vm_vendor: text("java.property.java.vm.vendor"),
            vm_version: text("java.property.java.vm.version"),
            main: identity.main,
            app: identity.app,
            app_version: identity.version,
            app_is_launcher: identity.is_launcher,
            nmt: vm_args.as_deref().map(command::nmt).unwrap_or_default(),
            max_metaspace: vm_args.as_deref().and_then(command::max_metaspace),
            attach_supported: attach_supported(image),
            native_image: is_native_image(image),
            fully_up: image.word("sun.rt.createVmEndTime") != Some(0),
        }
    }
}

/// The first of the 64 capabilities (`jvmCapabilities`, runtimeService.cpp): 0 with `-XX:+DisableAttachMechanism`.
fn attach_supported(image: &Image) -> Option<bool> {
    match image.text("sun.rt.jvmCapabilities")?.bytes().next() {
        Some(b'1') => Some(true),
        Some(b'0') => Some(false),
        _ => None,
    }
}

/// GraalVM native images publish counters of their own under this name (substratevm, `SystemCounters`).
pub(super) fn is_native_image(image: &Image) -> bool {
    image.entry("com.oracle.svm.processors").is_some()
        || image.text("java.property.java.vm.name").as_deref() == Some("Substrate VM")
}
