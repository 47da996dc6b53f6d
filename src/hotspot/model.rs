//! The typed model of one JVM.

use super::collector::{PauseCounters, pauses};
use super::counters::Counters;
use super::pool::Heap;
use super::text_counter::TextCounter;
use super::{Jvm, ProcessStart, facts};
use crate::fact::{Fact, Formula, Scale};
use crate::metric::Value;
use crate::perfdata::Image;

/// The meaning of one JVM's counters. Facts, the sampler's plan and the columns of lists follow from it. Words are
/// named by their byte offset in the region. What the JVM does not publish is absent.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The JVM's identity.
    pub jvm: Jvm,
    /// `sun.os.hrt.frequency`, ticks per second; `None` while the JVM has not written it.
    pub(crate) frequency: Option<f64>,
    /// `sun.rt.createVmBeginTime`, which is tick 0, in milliseconds since the epoch; 0 while the JVM has not written
    /// it.
    pub(crate) begin_millis: i64,
    /// The start in milliseconds since the epoch, which distinguishes two JVMs in the same region; 0 where the JVM does
    /// not publish it.
    pub(crate) start_millis: i64,
    /// `sun.os.hrt.ticks`, the uptime, which JDK 8 to 24 write every 50 ms (JDK-8241678 removed it): its offset, and
    /// its value in the image.
    pub(crate) uptime_ticks: Option<(u32, i64)>,
    /// The start in seconds since the epoch.
    pub(crate) start_time: Option<Formula>,
    /// Bytes of counters that did not fit into the region; `None` where all did.
    pub(crate) overflow: Option<Formula>,
    /// The heap.
    pub(crate) heap: Heap,
    /// The collectors whose counters count pauses.
    pub(crate) pauses: Vec<PauseCounters>,
    /// `sun.gc.cause`: the cause of the running collection.
    pub(crate) cause: Option<TextCounter>,
    /// `sun.gc.lastCause`
    pub(crate) last_cause: Option<TextCounter>,
    /// Offset of the time at which Shenandoah last ended a phase or a cycle.
    pub(crate) shenandoah_exit: Option<u32>,
    /// Offset of `sun.gc.tlab.alloc`, in heap words.
    pub(crate) tlab_allocated: Option<u32>,
    /// Offsets of used bytes and capacity of the young generation's first space, eden where there is one.
    pub(crate) eden: Option<[u32; 2]>,
    /// Offset of the used bytes of the old generation's first space. G1 allocates humongous objects there directly.
    pub(crate) old_used: Option<u32>,
    /// Offsets of [`SAFEPOINTS`] and [`SAFEPOINT_TIME`].
    pub(crate) safepoints: Option<[u32; 2]>,
    /// Offset of `java.threads.live`, daemon threads included.
    pub(crate) threads: Option<u32>,
    /// Offsets of the numbers of classes loaded and unloaded, each from class files and from the CDS archive.
    pub(crate) classes: Option<[u32; 4]>,
    /// What rules may name.
    pub facts: Vec<Fact>,
}

impl Model {
    /// Interprets `image`. `properties` are the system properties that may name the application, by descending
    /// preference.
    pub fn of(image: &Image, properties: &[String]) -> Self {
        Self::launched(image, &ProcessStart::default(), properties)
    }

    /// The same with what the JVM's process tells of its start.
    pub(crate) fn launched(image: &Image, start: &ProcessStart, properties: &[String]) -> Self {
        let counters = Counters::of(image);
        let jvm = Jvm::of(image, start, properties);
        let mut model = Self {
            frequency: counters.frequency(),
            begin_millis: image.word("sun.rt.createVmBeginTime").unwrap_or(0),
            start_millis: image.word("sun.rt.createVmBeginTime").or(image.word("sun.rt.vmInitDoneTime")).unwrap_or(0),
            uptime_ticks: counters.offset(UPTIME).zip(image.word(UPTIME)),
            start_time: start_time(&counters),
            overflow: overflow(image),
            heap: Heap::of(&jvm, &counters),
            pauses: pauses(&counters, jvm.native_image),
            cause: counters.text_counter("sun.gc.cause"),
            last_cause: counters.text_counter("sun.gc.lastCause"),
            shenandoah_exit: counters.offset("sun.gc.collector.1.lastExitTime"),
            tlab_allocated: counters.offset("sun.gc.tlab.alloc"),
            eden: counters.all(["sun.gc.generation.0.space.0.used", "sun.gc.generation.0.space.0.capacity"]),
            old_used: counters.offset("sun.gc.generation.1.space.0.used"),
            safepoints: counters.all([SAFEPOINTS, SAFEPOINT_TIME]),
            threads: counters.offset("java.threads.live"),
            classes: counters.all([LOADED[0], LOADED[1], UNLOADED[0], UNLOADED[1]]),
            facts: Vec::new(),
            jvm,
        };
        model.facts = facts::facts(&model, &counters);
        model
    }

    /// Takes another start, in seconds since the epoch, for that of the JVM.
    pub(crate) fn correct_start(&mut self, seconds: f64) {
        let start = Formula::Constant(Value::Float(seconds));
        for fact in &mut self.facts {
            match fact.name {
                START_TIME => fact.formula = start.clone(),
                AGE => fact.formula = Formula::Age(Box::new(start.clone())),
                _ => {}
            }
        }
        self.start_time = Some(start);
    }
}

/// The fact of the start.
pub(super) const START_TIME: &str = "target.start_time";
/// The fact of the time since then.
pub(super) const AGE: &str = "target.uptime";

/// The bytes of counters for which the region had no room. A change of it changes the layout, so a constant is enough.
fn overflow(image: &Image) -> Option<Formula> {
    let bytes = image.prologue.overflow;
    (bytes > 0).then(|| Formula::Constant(Value::Int(bytes.into())))
}

const UPTIME: &str = "sun.os.hrt.ticks";

/// Classes loaded since the start, from class files and from the CDS archive, which has the majority since JDK 12. A
/// native image publishes only a constant for class files.
pub(super) const LOADED: [&str; 2] = ["java.cls.loadedClasses", "java.cls.sharedLoadedClasses"];
/// Classes unloaded since the start.
pub(super) const UNLOADED: [&str; 2] = ["java.cls.unloadedClasses", "java.cls.sharedUnloadedClasses"];
/// Safepoints since the start.
pub(super) const SAFEPOINTS: &str = "sun.rt.safepoints";
/// Ticks at safepoints.
pub(super) const SAFEPOINT_TIME: &str = "sun.rt.safepointTime";

/// The start in seconds since the epoch. `createVmBeginTime` is 0 until the JVM is up, and native images lack it;
/// `vmInitDoneTime` is written earlier, and names a time a fraction of a second after the start.
fn start_time(counters: &Counters<'_>) -> Option<Formula> {
    let words = ["sun.rt.createVmBeginTime", "sun.rt.vmInitDoneTime"];
    let words: Box<[u32]> = words.iter().filter_map(|name| counters.offset(name)).collect();
    (!words.is_empty()).then_some(Formula::FirstNonZero(words, Scale::Ratio(1.0, 1000.0)))
}
