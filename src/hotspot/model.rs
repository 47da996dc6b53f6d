//! The typed model of one JVM.

use super::collector::{PauseCounters, pauses};
use super::counters::Counters;
use super::pool::{Heap, Pool, metaspace};
use super::runtime::{ClassCounters, CompilerCounters, ThreadCounters, start_time};
use super::safepoint::SafepointCounters;
use super::text_counter::TextCounter;
use super::{Jvm, facts};
use crate::fact::{Fact, Formula};
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
    /// The heap.
    pub(crate) heap: Heap,
    /// Metaspace, and Compressed Class Space, which is a part of it.
    pub(crate) metaspace: [Pool; 2],
    /// Address space reserved for class metadata, in bytes.
    pub(crate) metaspace_reserved: Option<Formula>,
    /// The collectors whose counters count pauses.
    pub(crate) pauses: Vec<PauseCounters>,
    /// `sun.gc.cause`: the cause of the running collection.
    pub(crate) cause: Option<TextCounter>,
    /// `sun.gc.lastCause`
    pub(crate) last_cause: Option<TextCounter>,
    /// CPU seconds of the collector's threads, by kind (G1 and Parallel, JDK 22 and later).
    pub(crate) gc_cpu_time: Vec<(&'static str, Formula)>,
    /// Offset of `sun.gc.tlab.alloc`, in heap words.
    pub(crate) tlab_allocated: Option<u32>,
    /// Offset of the used bytes of the old generation's first space. G1 allocates humongous objects there directly.
    pub(crate) old_used: Option<u32>,
    /// Safepoints.
    pub(crate) safepoints: SafepointCounters,
    /// Threads.
    pub(crate) threads: ThreadCounters,
    /// Classes.
    pub(crate) classes: ClassCounters,
    /// The JIT compiler.
    pub(crate) compiler: CompilerCounters,
    /// Seconds of the VM thread's operations.
    pub(crate) vm_operation_time: Option<Formula>,
    /// CPU seconds of the VM thread (JDK 22 and later).
    pub(crate) vm_cpu_time: Option<Formula>,
}

impl Model {
    /// Interprets `image`. `properties` are the system properties that may name the application, by descending
    /// preference.
    pub fn of(image: &Image, properties: &[String]) -> Self {
        let counters = Counters::of(image);
        let jvm = Jvm::of(image, properties);
        Self {
            frequency: counters.frequency(),
            begin_millis: image.word("sun.rt.createVmBeginTime").unwrap_or(0),
            start_millis: image.word("sun.rt.createVmBeginTime").or(image.word("sun.rt.vmInitDoneTime")).unwrap_or(0),
            uptime_ticks: counters.offset(UPTIME).zip(image.word(UPTIME)),
            start_time: start_time(&counters),
            heap: Heap::of(&jvm, &counters),
            metaspace: metaspace(&jvm, &counters),
            metaspace_reserved: counters.nonzero("sun.gc.metaspace.maxCapacity"),
            pauses: pauses(&counters, jvm.native_image),
            cause: counters.text_counter("sun.gc.cause"),
            last_cause: counters.text_counter("sun.gc.lastCause"),
            gc_cpu_time: gc_cpu_time(&counters),
            tlab_allocated: counters.offset("sun.gc.tlab.alloc"),
            old_used: counters.offset("sun.gc.generation.1.space.0.used"),
            safepoints: SafepointCounters::of(&jvm, &counters),
            threads: ThreadCounters::of(&counters),
            classes: ClassCounters::of(&counters),
            compiler: CompilerCounters::of(&counters),
            vm_operation_time: counters.seconds("sun.threads.vmOperationTime"),
            vm_cpu_time: counters.seconds("sun.threads.cpu_time.vm"),
            jvm,
        }
    }

    /// The facts that rules may name.
    pub fn facts(&self) -> Vec<Fact> {
        facts::facts(self)
    }
}

const UPTIME: &str = "sun.os.hrt.ticks";

/// `conc_dedup` is string deduplication, which belongs to the collector although its counter's name has no `gc_`.
fn gc_cpu_time(counters: &Counters<'_>) -> Vec<(&'static str, Formula)> {
    let threads = [
        ("parallel_workers", "sun.threads.cpu_time.gc_parallel_workers"),
        ("conc_mark", "sun.threads.cpu_time.gc_conc_mark"),
        ("conc_refine", "sun.threads.cpu_time.gc_conc_refine"),
        ("conc_refine_control", "sun.threads.cpu_time.gc_conc_refine_control"),
        ("service", "sun.threads.cpu_time.gc_service"),
        ("conc_dedup", "sun.threads.cpu_time.conc_dedup"),
    ];
    threads.into_iter().filter_map(|(thread, name)| Some((thread, counters.seconds(name)?))).collect()
}
