//! Which words of a region the sampler looks at, and what each collector's words can be trusted for.

use super::allocation::AllocationRule;
use crate::fact::Fact;
use crate::fact::{Formula, Scale};
use crate::hotspot::{self, Collector, Jvm};
use crate::perfdata::{ByteOrder, Image};

/// What a kind of pause means for the heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Collects the young generation, and perhaps some of the old one.
    Young,
    /// Collects the whole heap.
    Full,
    /// A phase of a concurrent cycle: nothing is collected in it.
    Phase,
    /// Likewise, of a major collection of generational ZGC.
    MajorPhase,
}

/// One collector's pauses. Offsets are those of its counters in the region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PauseSource {
    /// Name of its MXBean, `jvm.gc.name`.
    pub gc: Box<str>,
    /// What its MXBean calls the end of one, `jvm.gc.action`.
    pub action: Box<str>,
    /// What it does.
    pub role: Role,
    /// `sun.gc.collector.N.invocations`
    pub invocations: u32,
    /// `sun.gc.collector.N.time`
    pub time: u32,
    /// `sun.gc.collector.N.lastEntryTime`
    pub entry: u32,
    /// `sun.gc.collector.N.lastExitTime`
    pub exit: u32,
}

/// One heap pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSource {
    /// Name of its MXBean.
    pub pool: Box<str>,
    /// Offsets of the words whose sum is used.
    pub used: Box<[u32]>,
}

/// A string counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextCounter {
    offset: u32,
    length: u32,
    order: ByteOrder,
}

impl TextCounter {
    /// Offsets of the words that the first `bytes` bytes of the string lie in.
    pub(super) fn words(&self, bytes: u32) -> impl Iterator<Item = u32> + use<> {
        let end = self.offset.saturating_add(bytes.min(self.length));
        (self.offset & !7..end).step_by(8)
    }

    /// The string in those words, up to its NUL; invalid UTF-8 is replaced.
    pub(super) fn decode(&self, words: &[i64]) -> String {
        let bytes: Vec<u8> = words.iter().flat_map(|word| bytes_of(*word, self.order)).collect();
        let from = usize::try_from(self.offset & 7).unwrap_or(0);
        let text = bytes.get(from..).unwrap_or_default().split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }

    /// Whether the string in those words is `text`.
    pub(super) fn is(&self, words: &[i64], text: &str) -> bool {
        let bytes = words.iter().flat_map(|word| bytes_of(*word, self.order));
        let from = usize::try_from(self.offset & 7).unwrap_or(0);
        bytes.skip(from).take(text.len().saturating_add(1)).eq(text.bytes().chain([0]))
    }

    /// Its length in bytes, with the NUL.
    pub(super) fn length(&self) -> u32 {
        self.length
    }
}

fn bytes_of(word: i64, order: ByteOrder) -> [u8; 8] {
    match order {
        ByteOrder::Big => word.to_be_bytes(),
        ByteOrder::Little => word.to_le_bytes(),
    }
}

/// When the pools hold what survived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survivors {
    /// At the end of a young or full collection.
    AfterPause,
    /// At the end of a concurrent cycle.
    AfterCycle,
}

/// Where the allocation estimate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllocationSource {
    /// How collections tell themselves.
    pub rule: AllocationRule,
    /// `sun.gc.tlab.alloc`
    pub tlab: u32,
    /// G1's old generation, which takes humongous objects directly.
    pub old: Option<u32>,
}

/// All that is looked at in one JVM. What is unsound for its collector and JDK is not in it.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplePlan {
    /// `sun.os.hrt.frequency`, ticks per second.
    pub frequency: f64,
    /// Tick 0 in milliseconds since the epoch; 0 while the JVM has not said.
    pub begin: i64,
    /// `sun.rt.safepoints` and `sun.rt.safepointTime`
    pub safepoints: Option<[u32; 2]>,
    /// Collectors whose words count true pauses.
    pub pauses: Vec<PauseSource>,
    /// The collector whose concurrent cycles `sun.gc.cause` tells, and that counter.
    pub cycles: Option<(&'static str, TextCounter)>,
    /// `sun.gc.lastCause`
    pub last_cause: Option<TextCounter>,
    /// Pools that make up the heap.
    pub pools: Vec<PoolSource>,
    /// When `pools` tell the live set, if ever.
    pub survivors: Option<Survivors>,
    /// Whether `pools` are updated between collections, so that their sum has a true peak.
    pub heap_peak: bool,
    /// `java.threads.live`
    pub threads: Option<u32>,
    /// Loaded and shared-loaded classes, then those unloaded.
    pub classes: Option<[u32; 4]>,
    /// The allocation estimate.
    pub allocation: Option<AllocationSource>,
}

impl SamplePlan {
    /// What to look at in the JVM of `image`. `None` while it has not published its tick frequency: JDK 17 and later
    /// do so after `accessible`, and behind agents.
    pub fn of(image: &Image) -> Option<Self> {
        let jvm = Jvm::of(image, &[]);
        // Native images keep these counters by other rules, which were not measured.
        let collector = jvm.collector.filter(|_| !jvm.native_image);
        let facts = hotspot::facts(image);
        let heap = collector.and_then(|collector| heap(collector, &facts)).unwrap_or_default();
        let cause = text(image, "sun.gc.cause");
        let pauses = collector.map(|collector| pauses(collector, image)).unwrap_or_default();
        let allocation = collector.and_then(|collector| allocation(collector, &pauses, image));
        Some(Self {
            frequency: image.word("sun.os.hrt.frequency").filter(|frequency| *frequency > 0)? as f64,
            begin: image.word("sun.rt.createVmBeginTime").unwrap_or(0),
            safepoints: word(image, "sun.rt.safepoints").zip(word(image, "sun.rt.safepointTime")).map(<[u32; 2]>::from),
            pauses,
            cycles: match collector {
                Some(Collector::Zgc) => cause.map(|cause| ("ZGC", cause)),
                Some(Collector::Shenandoah) => cause.map(|cause| ("Shenandoah", cause)),
                _ => None,
            },
            last_cause: text(image, "sun.gc.lastCause"),
            survivors: match collector {
                _ if heap.is_empty() => None,
                Some(Collector::Serial | Collector::Parallel | Collector::G1) => Some(Survivors::AfterPause),
                Some(Collector::Zgc) => Some(Survivors::AfterCycle),
                _ => None,
            },
            heap_peak: match collector {
                Some(Collector::Serial | Collector::Parallel | Collector::G1 | Collector::Shenandoah) => {
                    // Reported only where every pool tells between collections too: not by Serial and Parallel on JDK 25.
                    facts.iter().any(|fact| fact.source == "area.used")
                }
                _ => false,
            },
            pools: heap,
            threads: word(image, "java.threads.live"),
            classes: match CLASSES.map(|name| word(image, name)) {
                [Some(loaded), Some(shared), Some(unloaded), Some(shared_unloaded)] => {
                    Some([loaded, shared, unloaded, shared_unloaded])
                }
                _ => None,
            },
            allocation,
        })
    }

    /// The words that change before a collector does anything, and when it is done: no collector here pauses outside of
    /// a safepoint, which is counted before threads are stopped and whose time is added when it is over
    /// (`RuntimeService`, `SafepointTracing`; JDK 8 to 27), and concurrent cycles show in the cause. Some may be named
    /// twice. `None` in a JVM that does not count safepoints.
    pub(super) fn pulse_offsets(&self) -> Option<[u32; PULSE]> {
        let [count, time] = self.safepoints?;
        let mut cause = self.cause_offsets().chain([count, count]);
        Some([count, time, cause.next()?, cause.next()?])
    }

    /// The pulse, the words of [`super::jvm::JvmSampler::settled`], and those of the levels in the order in which
    /// [`super::level::Gauges`] takes them. `None` without a pulse.
    pub(super) fn level_offsets(&self) -> Option<Vec<u32>> {
        let invocations = self.pauses.iter().map(|source| source.invocations);
        let old = self.allocation.iter().filter_map(|source| source.old);
        let pools = self.pools.iter().filter(|_| self.heap_peak).flat_map(|pool| pool.used.iter().copied());
        let classes = self.classes.iter().flatten().copied();
        let levels = pools.chain(self.threads).chain(classes);
        Some(self.pulse_offsets()?.into_iter().chain(invocations).chain(old).chain(levels).collect())
    }

    fn cause_offsets(&self) -> impl Iterator<Item = u32> {
        self.cycles.iter().flat_map(|(_, cause)| cause.words(NO_GC_BYTES))
    }

    /// The words of a whole look, in the order in which [`super::jvm`] takes them.
    pub(super) fn offsets(&self) -> Vec<u32> {
        let pauses = self.pauses.iter().flat_map(PauseSource::offsets);
        let pools = self.pools.iter().flat_map(|pool| pool.used.iter().copied());
        let classes = self.classes.iter().flatten().copied();
        let allocation = self.allocation.iter().flat_map(|source| std::iter::once(source.tlab).chain(source.old));
        pauses.chain(self.cause_offsets()).chain(pools).chain(self.threads).chain(classes).chain(allocation).collect()
    }
}

/// `sun.gc.cause` while no collection runs, in every collector.
pub(super) const NO_GC: &str = "No GC";

/// Words of a pulse: the safepoints, the time in them, and the cause's first bytes, which may lie across two words.
pub(super) const PULSE: usize = 4;

/// Bytes of [`NO_GC`] and its NUL.
pub(super) const NO_GC_BYTES: u32 = 6;

impl PauseSource {
    /// The words of one [`super::pause::PauseReading`], in its order.
    pub(super) fn offsets(&self) -> [u32; 4] {
        [self.invocations, self.time, self.entry, self.exit]
    }
}

/// Loaded classes, then unloaded ones; those of the CDS archive apart.
const CLASSES: [&str; 4] = [
    "java.cls.loadedClasses",
    "java.cls.sharedLoadedClasses",
    "java.cls.unloadedClasses",
    "java.cls.sharedUnloadedClasses",
];

fn word(image: &Image, name: &str) -> Option<u32> {
    image.entry(name).filter(|entry| entry.is_word()).map(|entry| entry.offset)
}

fn text(image: &Image, name: &str) -> Option<TextCounter> {
    let entry = image.entry(name).filter(|entry| entry.is_text())?;
    Some(TextCounter { offset: entry.offset, length: entry.vector_length, order: image.prologue.byte_order })
}

/// The collectors whose counters are pauses, one by one. Of CMS only the young one: what it counts for the old
/// generation differs between JDK 8 and 11, and was not compared with a log.
fn pauses(collector: Collector, image: &Image) -> Vec<PauseSource> {
    let source = |pauses: hotspot::Pauses| {
        let word = |leaf| word(image, &format!("sun.gc.collector.{}.{leaf}", pauses.ordinal));
        Some(PauseSource {
            gc: pauses.gc.into(),
            action: pauses.action.into(),
            role: match pauses.action {
                "end of minor GC" => Role::Young,
                "end of major GC" => Role::Full,
                _ if pauses.gc == "ZGC Major Pauses" => Role::MajorPhase,
                _ => Role::Phase,
            },
            invocations: word("invocations")?,
            time: word("time")?,
            entry: word("lastEntryTime")?,
            exit: word("lastExitTime")?,
        })
    };
    let known = hotspot::pauses(image).into_iter().filter_map(source);
    known.filter(|source| collector != Collector::Cms || source.role == Role::Young).collect()
}

fn allocation(collector: Collector, pauses: &[PauseSource], image: &Image) -> Option<AllocationSource> {
    let is_generational = pauses.iter().any(|source| source.role == Role::MajorPhase);
    let (rule, old) = match collector {
        Collector::Serial | Collector::Parallel => (AllocationRule::EachCollection, None),
        Collector::G1 => (AllocationRule::EachCollection, word(image, "sun.gc.generation.1.space.0.used")),
        Collector::Zgc if is_generational => (AllocationRule::Overwritten, None),
        Collector::Zgc => (AllocationRule::EachChange, None),
        Collector::Cms | Collector::Shenandoah | Collector::Epsilon => return None,
    };
    Some(AllocationSource { rule, tlab: word(image, "sun.gc.tlab.alloc")?, old })
}

/// The heap's pools, where every one of them tells what it holds. Eden of Serial and Parallel need not: after a
/// collection it is empty.
fn heap(collector: Collector, facts: &[Fact]) -> Option<Vec<PoolSource>> {
    let of = |source: &'static str| {
        let is_heap = move |fact: &&Fact| fact.source == source && label(fact, "type") == Some("heap");
        facts.iter().filter(is_heap)
    };
    let mut pools = Vec::new();
    for committed in of("pool.committed") {
        let pool = label(committed, "pool")?;
        let used = of("pool.used").find(|used| label(used, "pool") == Some(pool));
        match used {
            Some(used) => pools.push(PoolSource { pool: pool.into(), used: summed(&used.formula)? }),
            None if matches!(collector, Collector::Serial | Collector::Parallel) && pool.ends_with("Eden Space") => {}
            None => return None,
        }
    }
    Some(pools)
}

/// The words whose sum a formula is.
fn summed(formula: &Formula) -> Option<Box<[u32]>> {
    match formula {
        Formula::Word(word, Scale::One) => Some([*word].into()),
        Formula::Sum(terms, Scale::One) if terms.iter().all(|term| !term.negative) => {
            Some(terms.iter().map(|term| term.word).collect())
        }
        // What is told only after a first collection is looked at only after one.
        Formula::Once(_, inner) => summed(inner),
        _ => None,
    }
}

fn label<'a>(fact: &'a Fact, name: &str) -> Option<&'a str> {
    fact.labels.iter().find(|(label, _)| *label == name).map(|(_, value)| &**value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn list(name: &str) -> SamplePlan {
        let path = format!("{}/tests/fixtures/perfdata/{name}.hsperfdata", env!("CARGO_MANIFEST_DIR"));
        SamplePlan::of(&Image::decode(std::fs::read(path).unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn only_what_a_collector_tells_truly_is_looked_at() {
        // Collectors with pauses; pools; live set, heap peak, cycles, allocation.
        for (name, pauses, pools, live, peak, cycles, allocation) in [
            ("jdk8-Serial", 2, 3, true, true, false, true),
            ("jdk8-G1", 2, 3, true, true, false, true),
            ("jdk11-Parallel", 2, 3, true, true, false, true),
            ("jdk11-ConcMarkSweep", 1, 3, false, false, false, false),
            ("jdk11-Shenandoah", 0, 1, false, true, true, false),
            ("jdk17-G1", 3, 3, true, true, false, true),
            ("jdk17-Z", 1, 1, true, false, true, true),
            ("jdk25-Serial", 2, 2, true, false, false, true),
            ("jdk25-Parallel", 2, 2, true, false, false, true),
            ("jdk25-G1", 3, 3, true, true, false, true),
            ("jdk25-Z", 2, 2, true, false, true, true),
            ("jdk25-Shenandoah", 0, 1, false, true, true, false),
        ] {
            let list = list(name);
            assert_eq!((list.pauses.len(), list.pools.len()), (pauses, pools), "{name}");
            assert_eq!((list.survivors.is_some(), list.heap_peak), (live, peak), "{name}");
            assert_eq!((list.cycles.is_some(), list.allocation.is_some()), (cycles, allocation), "{name}");
            assert!(list.threads.is_some() && list.classes.is_some() && list.begin > 0, "{name}");
        }
    }

    #[test]
    fn only_generational_zgc_overwrites_what_it_published() {
        for (name, rule) in [
            ("jdk17-Z", AllocationRule::EachChange),
            ("jdk21-Z", AllocationRule::EachChange),
            ("jdk25-Z", AllocationRule::Overwritten),
            ("jdk25-G1", AllocationRule::EachCollection),
        ] {
            assert_eq!(list(name).allocation.map(|source| source.rule), Some(rule), "{name}");
        }
    }

    #[test]
    fn a_jvm_without_a_tick_frequency_is_not_ready() {
        let path = format!("{}/tests/fixtures/perfdata/jdk17-G1.hsperfdata", env!("CARGO_MANIFEST_DIR"));
        let mut bytes = std::fs::read(path).unwrap();
        let offset = Image::decode(bytes.clone()).unwrap().entry("sun.os.hrt.frequency").unwrap().offset as usize;
        bytes.get_mut(offset..offset + 8).unwrap().fill(0);
        assert_eq!(SamplePlan::of(&Image::decode(bytes).unwrap()), None);
    }

    #[test]
    fn texts_are_read_at_any_offset() {
        for offset in 0..8 {
            for order in [ByteOrder::Little, ByteOrder::Big] {
                let mut bytes = vec![b'x'; 8 + 24];
                bytes.splice(offset..offset + 6, *b"No GC\0");
                let text = TextCounter { offset: u32::try_from(offset).unwrap(), length: 20, order };
                let read = |count: u32| -> Vec<i64> {
                    text.words(count)
                        .map(|at| order.i64(*bytes.get(at as usize..).unwrap().first_chunk().unwrap()))
                        .collect()
                };
                assert!(text.is(&read(NO_GC_BYTES), NO_GC), "{offset}");
                assert!(!text.is(&read(NO_GC_BYTES), "No G"), "a prefix is not it");
                assert_eq!(text.decode(&read(text.length())), NO_GC, "{offset}");
            }
        }
    }
}
