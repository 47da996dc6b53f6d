//! What the counters of one JVM mean, typed.

use super::collector::{PauseCounters, pauses};
use super::counters::Counters;
use super::pool::{Heap, Pool, metaspace};
use super::runtime::{Classes, Compiler, Threads, start_time};
use super::safepoint::Safepoints;
use super::text_counter::TextCounter;
use super::{Jvm, facts};
use crate::fact::{Fact, Formula};
use crate::perfdata::Image;

/// What the counters of one JVM mean. Made once from an image; facts, the sampler's plan and what lists show all follow
/// from it. Words are named by their byte offset in the region. What the JVM does not publish is absent.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// What kind of JVM it is.
    pub jvm: Jvm,
    /// `sun.os.hrt.frequency`, ticks per second. JDK 17 and later write it after `accessible`, and behind agents.
    pub frequency: Option<f64>,
    /// Tick 0 in milliseconds since the epoch; 0 while the JVM has not written it.
    pub begin: i64,
    /// What tells two JVMs in the same region apart: epoch milliseconds of the start, 0 where the JVM does not tell.
    pub birth: i64,
    /// `sun.os.hrt.ticks`, the uptime, which JDK 8 to 24 write every 50 ms (JDK-8241678 removed it): its offset, and its
    /// value in the image.
    pub uptime_ticks: Option<(u32, i64)>,
    /// When the JVM started, in seconds since the epoch.
    pub start_time: Option<Formula>,
    /// The heap.
    pub heap: Heap,
    /// Metaspace, and Compressed Class Space, which is part of it.
    pub metaspace: [Pool; 2],
    /// Address space reserved for class metadata, in bytes.
    pub metaspace_reserved: Option<Formula>,
    /// Collectors whose counters mean pauses.
    pub pauses: Vec<PauseCounters>,
    /// `sun.gc.cause`: of the collection that runs.
    pub cause: Option<TextCounter>,
    /// `sun.gc.lastCause`
    pub last_cause: Option<TextCounter>,
    /// Seconds of CPU time of the collector's threads, by kind (G1 and Parallel, JDK 22 and later).
    pub gc_cpu_time: Vec<(&'static str, Formula)>,
    /// Offset of `sun.gc.tlab.alloc`, in heap words.
    pub tlab_allocated: Option<u32>,
    /// Offset of the bytes used in the old generation of G1, which takes humongous objects directly.
    pub humongous: Option<u32>,
    /// Safepoints.
    pub safepoints: Safepoints,
    /// Threads.
    pub threads: Threads,
    /// Classes.
    pub classes: Classes,
    /// The JIT compiler.
    pub compiler: Compiler,
    /// Seconds that the VM thread spent in its operations.
    pub vm_operation_time: Option<Formula>,
    /// Seconds of CPU time of the VM thread (JDK 22 and later).
    pub vm_cpu_time: Option<Formula>,
}

impl Model {
    /// Reads the meaning of `image`. `properties` are the system properties that may name the application, the best
    /// first.
    pub fn of(image: &Image, properties: &[String]) -> Self {
        let counters = Counters::of(image);
        let jvm = Jvm::of(image, properties);
        Self {
            frequency: counters.frequency(),
            begin: image.word("sun.rt.createVmBeginTime").unwrap_or(0),
            birth: image.word("sun.rt.createVmBeginTime").or(image.word("sun.rt.vmInitDoneTime")).unwrap_or(0),
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
            humongous: counters.offset("sun.gc.generation.1.space.0.used"),
            safepoints: Safepoints::of(&jvm, &counters),
            threads: Threads::of(&counters),
            classes: Classes::of(&counters),
            compiler: Compiler::of(&counters),
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

/// String deduplication is the collector's, though its counter's name does not say so.
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
