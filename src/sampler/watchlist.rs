//! Which words of a region the sampler looks at, and what each collector's words can be trusted for.

use super::allocation::Rule;
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
pub struct Text {
    offset: u32,
    length: u32,
    order: ByteOrder,
}

impl Text {
    fn of(image: &Image, name: &str) -> Option<Self> {
        let entry = image.entry(name).filter(|entry| entry.is_text())?;
        Some(Self { offset: entry.offset, length: entry.vector_length, order: image.prologue.byte_order })
    }

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
    pub rule: Rule,
    /// `sun.gc.tlab.alloc`
    pub tlab: u32,
    /// G1's old generation, which takes humongous objects directly.
    pub old: Option<u32>,
}

/// All that is looked at in one JVM. What is unsound for its collector and JDK is not in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Watchlist {
    /// `sun.os.hrt.frequency`, ticks per second.
    pub frequency: f64,
    /// Tick 0 in milliseconds since the epoch; 0 while the JVM has not said.
    pub begin: i64,
    /// Collectors whose words count true pauses.
    pub pauses: Vec<PauseSource>,
    /// The collector whose concurrent cycles `sun.gc.cause` tells, and that counter.
    pub cycles: Option<(&'static str, Text)>,
    /// `sun.gc.lastCause`
    pub last_cause: Option<Text>,
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

/// The algorithms behind the counters (metrics differ by what each publishes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Serial,
    Parallel,
    G1,
    Cms,
    Z,
    Shenandoah,
}

/// A collector by its counter's name, in any JDK from 8 to 27: family, MXBean, action, role. Shenandoah's counters
/// nest phases and count no pauses.
fn recognise(name: &str) -> Option<(Family, &'static str, &'static str, Role)> {
    const MINOR: &str = "end of minor GC";
    const MAJOR: &str = "end of major GC";
    const PAUSE: &str = "end of GC pause";
    Some(match name {
        "Copy" | "Serial young collection pauses" => (Family::Serial, "Copy", MINOR, Role::Young),
        "MSC" | "Serial full collection pauses" => (Family::Serial, "MarkSweepCompact", MAJOR, Role::Full),
        "PSScavenge" | "Parallel young collection pauses" => (Family::Parallel, "PS Scavenge", MINOR, Role::Young),
        "PSParallelCompact" | "PSMarkSweep" | "Parallel full collection pauses" => {
            (Family::Parallel, "PS MarkSweep", MAJOR, Role::Full)
        }
        "G1 incremental collections" | "G1 young collection pauses" => {
            (Family::G1, "G1 Young Generation", MINOR, Role::Young)
        }
        "G1 stop-the-world full collections" | "G1 full collection pauses" => {
            (Family::G1, "G1 Old Generation", MAJOR, Role::Full)
        }
        "G1 stop-the-world phases" | "G1 concurrent cycle pauses" => {
            (Family::G1, "G1 Concurrent GC", "end of concurrent GC pause", Role::Phase)
        }
        "PCopy" => (Family::Cms, "ParNew", MINOR, Role::Young),
        "CMS" => (Family::Cms, "ConcurrentMarkSweep", MAJOR, Role::Full),
        "Z concurrent cycle pauses" => (Family::Z, "ZGC Pauses", PAUSE, Role::Phase),
        "ZGC minor collection pauses" => (Family::Z, "ZGC Minor Pauses", PAUSE, Role::Phase),
        "ZGC major collection pauses" => (Family::Z, "ZGC Major Pauses", PAUSE, Role::Phase),
        "Shenandoah partial" | "Shenandoah full" => (Family::Shenandoah, "", "", Role::Phase),
        _ => return None,
    })
}

/// Collectors that a JVM may have; HotSpot numbers them 0 to 2.
const COLLECTORS: std::ops::Range<u32> = 0..4;

impl Watchlist {
    /// What to look at in the JVM of `image`. `None` while it has not published its tick frequency: JDK 17 and later
    /// do so after `accessible`, and behind agents.
    pub fn of(image: &Image) -> Option<Self> {
        let frequency = image.word("sun.os.hrt.frequency").filter(|frequency| *frequency > 0)? as f64;
        let offset = |name: &str| image.entry(name).filter(|entry| entry.is_word()).map(|entry| entry.offset);
        let mut family = None;
        let mut pauses = Vec::new();
        for number in COLLECTORS {
            let counter = |leaf| format!("sun.gc.collector.{number}.{leaf}");
            let name = image.text(&counter("name"));
            let Some((known, gc, action, role)) = name.as_deref().and_then(recognise) else { continue };
            family = Some(known);
            let words = [counter("invocations"), counter("time"), counter("lastEntryTime"), counter("lastExitTime")];
            let [Some(invocations), Some(time), Some(entry), Some(exit)] = words.map(|name| offset(&name)) else {
                continue;
            };
            if known != Family::Shenandoah {
                let (gc, action) = (gc.into(), action.into());
                pauses.push(PauseSource { gc, action, role, invocations, time, entry, exit });
            }
        }
        let classes = ["loadedClasses", "sharedLoadedClasses", "unloadedClasses", "sharedUnloadedClasses"]
            .map(|leaf| offset(&format!("java.cls.{leaf}")));
        let cause = Text::of(image, "sun.gc.cause");
        let sampled = image.entry("sun.os.hrt.ticks").is_some();
        Some(Self {
            frequency,
            begin: image.word("sun.rt.createVmBeginTime").unwrap_or(0),
            pauses,
            cycles: match family {
                Some(Family::Z) => cause.map(|cause| ("ZGC", cause)),
                Some(Family::Shenandoah) => cause.map(|cause| ("Shenandoah", cause)),
                _ => None,
            },
            last_cause: Text::of(image, "sun.gc.lastCause"),
            pools: family.map(|family| pools(family, &offset)).unwrap_or_default(),
            survivors: match family {
                Some(Family::Serial | Family::Parallel | Family::G1) => Some(Survivors::AfterPause),
                Some(Family::Z) => Some(Survivors::AfterCycle),
                _ => None,
            },
            heap_peak: match family {
                Some(Family::G1 | Family::Shenandoah) => true,
                // JDK 25 dropped the sampler of eden (JDK-8241678), and with it the clock it kept.
                Some(Family::Serial | Family::Parallel) => sampled,
                _ => false,
            },
            threads: offset("java.threads.live"),
            classes: match classes {
                [Some(loaded), Some(shared), Some(unloaded), Some(shared_unloaded)] => {
                    Some([loaded, shared, unloaded, shared_unloaded])
                }
                _ => None,
            },
            allocation: allocation(family, &offset),
        })
    }

    /// The words that tell whether anything happened, and those that move without a collection: `invocations` of each
    /// collector, the cause, and the pools where their peak is kept.
    pub(super) fn quick_offsets(&self) -> Vec<u32> {
        let invocations = self.pauses.iter().map(|source| source.invocations);
        let pools = self.pools.iter().filter(|_| self.heap_peak).flat_map(|pool| pool.used.iter().copied());
        invocations.chain(self.cause_offsets()).chain(pools).collect()
    }

    fn cause_offsets(&self) -> impl Iterator<Item = u32> {
        self.cycles.iter().flat_map(|(_, cause)| cause.words(NO_GC_BYTES))
    }

    /// The words of a whole look, in the order in which [`super::track`] takes them.
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

/// Bytes of [`NO_GC`] and its NUL.
pub(super) const NO_GC_BYTES: u32 = 6;

impl PauseSource {
    /// The words of one [`super::pause::Look`], in its order.
    pub(super) fn offsets(&self) -> [u32; 4] {
        [self.invocations, self.time, self.entry, self.exit]
    }
}

fn allocation(family: Option<Family>, offset: &impl Fn(&str) -> Option<u32>) -> Option<AllocationSource> {
    let tlab = offset("sun.gc.tlab.alloc")?;
    let old = || offset("sun.gc.generation.1.space.0.used");
    Some(match family? {
        Family::Serial | Family::Parallel => AllocationSource { rule: Rule::EachCollection, tlab, old: None },
        Family::G1 => AllocationSource { rule: Rule::EachCollection, tlab, old: old() },
        Family::Z => AllocationSource { rule: Rule::EachChange, tlab, old: None },
        Family::Cms | Family::Shenandoah => return None,
    })
}

/// The heap's pools by their MXBean names.
fn pools(family: Family, offset: &impl Fn(&str) -> Option<u32>) -> Vec<PoolSource> {
    let young = |space: u32| offset(&format!("sun.gc.generation.0.space.{space}.used"));
    let old = offset("sun.gc.generation.1.space.0.used");
    let known: Vec<(&str, Vec<Option<u32>>)> = match family {
        Family::Serial => vec![
            ("Eden Space", vec![young(0)]),
            ("Survivor Space", vec![young(1), young(2)]),
            ("Tenured Gen", vec![old]),
        ],
        Family::Parallel => vec![
            ("PS Eden Space", vec![young(0)]),
            ("PS Survivor Space", vec![young(1), young(2)]),
            ("PS Old Gen", vec![old]),
        ],
        Family::G1 => vec![
            ("G1 Eden Space", vec![young(0)]),
            // The first survivor space is a dummy.
            ("G1 Survivor Space", vec![young(2)]),
            ("G1 Old Gen", vec![old]),
        ],
        Family::Z if young(0).is_some() => {
            vec![("ZGC Young Generation", vec![young(0)]), ("ZGC Old Generation", vec![old])]
        }
        Family::Z => vec![("ZHeap", vec![old])],
        Family::Shenandoah => vec![("Shenandoah", vec![old])],
        Family::Cms => vec![],
    };
    // A heap without one of its pools would be a false total.
    let whole = known.into_iter().map(|(pool, used)| {
        let used = used.into_iter().collect::<Option<Box<[u32]>>>()?;
        Some(PoolSource { pool: pool.into(), used })
    });
    whole.collect::<Option<Vec<_>>>().unwrap_or_default()
}
