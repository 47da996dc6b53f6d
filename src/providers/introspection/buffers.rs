//! Memory outside of the heap that buffers of `java.nio` hold, as the BufferPoolMXBeans `direct` and `mapped` say: static
//! fields of two classes of HotSpot's own loader.
//!
//! A class that is not loaded has counted nothing. The loader's newest class is the first of its chain, so only classes
//! that are new since the last pass are looked at.

use super::class_loaders::ClassLoaderReader;
use super::fields::{FieldBytes, FieldSpan, Gathered};
use super::objects::{ClassEncoding, ClassReader, ReferenceEncoding};
use super::threads::JvmTraits;
use crate::discovery::{HotSpotMemory, Implausible};
use crate::hotspot::Collector;

/// What values that fail their checks are counted as.
pub(super) const BUFFERS: &str = "buffers";
/// Most classes of HotSpot's own loader that are looked at in one pass.
const CLASSES_MAXIMUM: usize = 50_000;
/// Classes whose names are read at once.
const BATCH: usize = 256;
/// Most bytes in a pool; more is no number of bytes.
const BYTES_MAXIMUM: u64 = 1 << 50;

const DIRECT: &str = "java/nio/Bits";
/// From JDK 14 on, and before.
const MAPPED: &str = "sun/nio/ch/FileChannelImpl$DefaultUnmapper";
const MAPPED_BEFORE_14: &str = "sun/nio/ch/FileChannelImpl$Unmapper";

/// The buffers of one pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BufferUse {
    /// `getMemoryUsed`
    pub(super) used: u64,
    /// `getTotalCapacity`
    pub(super) capacity: u64,
    pub(super) count: u64,
}

/// Both pools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BufferPools {
    pub(super) direct: BufferUse,
    pub(super) mapped: BufferUse,
}

/// Reads the buffers of one JVM. Not on JDK 8, whose classes have no chain, and not of ZGC.
#[derive(Debug)]
pub(super) struct BufferReader {
    classes: ClassReader,
    loaders: ClassLoaderReader,
    /// Offsets of a loader's first class, and of a class's next one, name and mirror.
    first: u64,
    next: u64,
    name: u64,
    mirror: u64,
    /// The data of HotSpot's own loader, which stays where it is.
    boot: Option<u64>,
    /// The first class at the last pass.
    newest: u64,
    direct: CountingClass,
    mapped: CountingClass,
    gathered: Gathered,
    buffer: Vec<u8>,
}

/// A class that counts buffers.
#[derive(Debug)]
struct CountingClass {
    name: &'static str,
    /// Its static fields in the order of [`BufferUse`].
    fields: [&'static str; 3],
    /// Its address, once it is loaded.
    class: Option<u64>,
    places: Option<CounterPlaces>,
}

/// Where a class's counters are.
#[derive(Clone, Copy, Debug)]
struct CounterPlaces {
    /// The address of the handle that has the address of the mirror, the object with the static fields.
    handle: u64,
    /// How headers tell the class, and what the mirror's says.
    encoding: ClassEncoding,
    tag: u64,
    fields: [u64; 3],
    span: FieldSpan,
    /// Where the fields refer to objects that count.
    atomic: Option<AtomicPlace>,
}

/// `java.util.concurrent.atomic.AtomicLong`.
#[derive(Clone, Copy, Debug)]
struct AtomicPlace {
    reference: ReferenceEncoding,
    tag: u64,
    value: u64,
    span: FieldSpan,
}

impl BufferReader {
    pub(super) fn of(memory: &HotSpotMemory, traits: JvmTraits) -> Result<Self, Implausible> {
        if traits.collector == Collector::Zgc {
            return Err(Implausible::Unknown("ZGC", "objects that stay in their places"));
        }
        let class = |name, fields| CountingClass { name, fields, class: None, places: None };
        let unmapper = if traits.feature < 14 { MAPPED_BEFORE_14 } else { MAPPED };
        Ok(Self {
            classes: ClassReader::of(memory)?,
            loaders: ClassLoaderReader::of(memory)?,
            first: memory.offset("ClassLoaderData", "_klasses")?,
            next: memory.offset("Klass", "_next_link")?,
            name: memory.offset("Klass", "_name")?,
            mirror: memory.offset("Klass", "_java_mirror")?,
            boot: None,
            newest: 0,
            direct: class(DIRECT, ["RESERVED_MEMORY", "TOTAL_CAPACITY", "COUNT"]),
            mapped: class(unmapper, ["totalSize", "totalCapacity", "count"]),
            gathered: Gathered::default(),
            buffer: Vec::new(),
        })
    }

    /// Reads both pools. The first call looks at all of HotSpot's own classes, about 1,000.
    pub(super) fn read(&mut self, memory: &HotSpotMemory) -> Result<BufferPools, Implausible> {
        if self.direct.class.is_none() || self.mapped.class.is_none() {
            self.find(memory)?;
        }
        if self.direct.places.is_none()
            && let Some(class) = self.direct.class
        {
            self.direct.places = self.places(memory, class, self.direct.fields, true)?;
        }
        if self.mapped.places.is_none()
            && let Some(class) = self.mapped.class
        {
            self.mapped.places = self.places(memory, class, self.mapped.fields, false)?;
        }
        let direct = self.direct.places.map(|places| self.direct_use(memory, places)).transpose()?;
        let mapped = self.mapped.places.map(|places| self.mapped_use(memory, places)).transpose()?;
        Ok(BufferPools { direct: direct.unwrap_or_default(), mapped: mapped.unwrap_or_default() })
    }

    /// Looks for the classes among those that are new.
    fn find(&mut self, memory: &HotSpotMemory) -> Result<(), Implausible> {
        let boot = match self.boot {
            Some(boot) => boot,
            None => *self.boot.insert(self.loaders.boot(memory)?),
        };
        let newest = memory.pointer(boot.wrapping_add(self.first))?;
        let span = FieldSpan::covering(&[(self.name, 8), (self.next, 8)])?;
        let (mut at, mut looked_at) = (newest, 0_usize);
        while at != 0 && at != self.newest {
            let (mut classes, mut symbols) = (Vec::new(), Vec::new());
            while at != 0 && at != self.newest && classes.len() < BATCH {
                let fields = span.read(memory, at, &mut self.buffer)?;
                classes.push(at);
                symbols.push(fields.word(self.name).unwrap_or_default());
                at = fields.word(self.next).unwrap_or_default();
            }
            let found = self.classes.names(memory, &symbols, |index, name| {
                let is_direct = name == self.direct.name.as_bytes();
                (is_direct || name == self.mapped.name.as_bytes()).then_some((is_direct, *classes.get(index)?))
            })?;
            for (is_direct, class) in found {
                let counting = if is_direct { &mut self.direct } else { &mut self.mapped };
                counting.class = Some(class);
            }
            looked_at = looked_at.saturating_add(classes.len());
            if looked_at > CLASSES_MAXIMUM {
                return Err(Implausible::Value("the number of HotSpot's own classes", looked_at as u64));
            }
        }
        self.newest = newest;
        Ok(())
    }

    /// Where the counters of a class are; `None` before the class is initialized.
    fn places(
        &self,
        memory: &HotSpotMemory,
        class: u64,
        fields: [&'static str; 3],
        by_reference: bool,
    ) -> Result<Option<CounterPlaces>, Implausible> {
        let fields = self.classes.offsets(memory, class, fields)?;
        let handle = memory.pointer(class.wrapping_add(self.mirror))?;
        let mirror = memory.pointer(handle)?;
        let kind = self.classes.class_of(memory, &ClassEncoding::all(memory), mirror, "java/lang/Class")?;
        let [first, second, third] = fields;
        let span = FieldSpan::covering(&[kind.encoding.place(), (first, 8), (second, 8), (third, 8)])?;
        let mut places = CounterPlaces { handle, encoding: kind.encoding, tag: kind.tag, fields, span, atomic: None };
        if by_reference {
            let mut buffer = Vec::new();
            let statics = span.read(memory, mirror, &mut buffer)?;
            if statics.half(first) == Some(0) {
                return Ok(None);
            }
            let mut encodings = ReferenceEncoding::all(memory).into_iter();
            let found =
                encodings.find_map(|reference| self.atomic(memory, kind.encoding, reference, statics, first).ok());
            places.atomic = Some(found.ok_or(Implausible::Value("an AtomicLong's class", mirror))?);
        }
        Ok(Some(places))
    }

    fn atomic(
        &self,
        memory: &HotSpotMemory,
        encoding: ClassEncoding,
        reference: ReferenceEncoding,
        statics: FieldBytes<'_>,
        field: u64,
    ) -> Result<AtomicPlace, Implausible> {
        let address = reference.reference(statics, field)?;
        let class = self.classes.class_of(memory, &[encoding], address, "java/util/concurrent/atomic/AtomicLong")?;
        let [value] = self.classes.offsets(memory, class.address, ["value"])?;
        let span = FieldSpan::covering(&[encoding.place(), (value, 8)])?;
        Ok(AtomicPlace { reference, tag: class.tag, value, span })
    }

    /// Two longs and an int of the mirror.
    fn mapped_use(&mut self, memory: &HotSpotMemory, places: CounterPlaces) -> Result<BufferUse, Implausible> {
        let [used, capacity, count] = places.fields;
        let statics = places.statics(memory, &mut self.buffer)?;
        let number = |field| statics.word(field).unwrap_or_default();
        BufferUse::checked(number(used), number(capacity), statics.half(count).unwrap_or_default().into())
    }

    /// Three AtomicLongs.
    fn direct_use(&mut self, memory: &HotSpotMemory, places: CounterPlaces) -> Result<BufferUse, Implausible> {
        let Some(atomic) = places.atomic else { return Ok(BufferUse::default()) };
        let statics = places.statics(memory, &mut self.buffer)?;
        let mut addresses = [0; 3];
        for (address, field) in addresses.iter_mut().zip(places.fields) {
            *address = atomic.reference.reference(statics, field)?;
        }
        self.gathered.read(memory, atomic.span, addresses.into_iter());
        let mut numbers = [0; 3];
        for (index, number) in numbers.iter_mut().enumerate() {
            let fields = self.gathered.get(index);
            let tag = fields.and_then(|fields| places.encoding.tag(fields)).unwrap_or_default();
            let value = fields.filter(|_| tag == atomic.tag).and_then(|fields| fields.word(atomic.value));
            *number = value.ok_or(Implausible::Value("the header of an AtomicLong", tag))?;
        }
        let [used, capacity, count] = numbers;
        BufferUse::checked(used, capacity, count)
    }
}

impl CounterPlaces {
    /// The static fields, wherever their object is by now.
    fn statics<'b>(&self, memory: &HotSpotMemory, buffer: &'b mut Vec<u8>) -> Result<FieldBytes<'b>, Implausible> {
        let statics = self.span.read(memory, memory.pointer(self.handle)?, buffer)?;
        match self.encoding.tag(statics) {
            Some(tag) if tag == self.tag => Ok(statics),
            tag => Err(Implausible::Value("the header of a class's mirror", tag.unwrap_or_default())),
        }
    }
}

impl BufferUse {
    fn checked(used: u64, capacity: u64, count: u64) -> Result<Self, Implausible> {
        match [used, capacity, count].into_iter().find(|number| *number > BYTES_MAXIMUM) {
            Some(number) => Err(Implausible::Value("the bytes or number of buffers", number)),
            None => Ok(Self { used, capacity, count }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation
    )]

    use super::*;
    use crate::providers::introspection::planted::Planted;

    /// A JVM whose own loader has no class yet; the address of the loader's first class.
    fn empty() -> (Planted, u64) {
        let mut planted = Planted::new();
        planted.describe_classes();
        planted.fields(&[
            ("ClassLoaderData", "_klasses", 0),
            ("ClassLoaderData", "_has_class_mirror_holder", 8),
            ("ClassLoaderData", "_next", 16),
        ]);
        let boot = planted.object(&[0, 0, 0]);
        planted.field("ClassLoaderDataGraph", "_head", boot);
        (planted, boot)
    }

    /// Loads a class whose mirror has these words behind its header; the mirror's address.
    fn load(planted: &mut Planted, boot: u64, newest: &mut u64, class: u64, statics: &[u64]) -> u64 {
        let mirror_class = planted.class("java/lang/Class", 0, &[]);
        let mirror = planted.object(&[&[1, mirror_class][..], statics].concat());
        let handle = planted.object(&[mirror]);
        planted.set(class + 40, handle);
        planted.set(class + 32, *newest);
        planted.set(boot, class);
        *newest = class;
        mirror
    }

    fn reader(planted: &Planted) -> BufferReader {
        BufferReader::of(&planted.memory(), JvmTraits { feature: 21, collector: Collector::G1 }).unwrap()
    }

    /// AtomicLongs of these values.
    fn atomics(planted: &mut Planted, values: [u64; 3]) -> [u64; 3] {
        let class = planted.class("java/util/concurrent/atomic/AtomicLong", 0, &[("value", 16)]);
        values.map(|value| planted.object(&[1, class, value]))
    }

    #[test]
    fn classes_are_found_once_they_are_loaded_and_counters_once_they_are_set() {
        let (mut planted, boot) = empty();
        let other = planted.class("java/lang/Object", 0, &[]);
        let mut newest = 0;
        load(&mut planted, boot, &mut newest, other, &[]);
        let mut reader = reader(&planted);
        assert_eq!(reader.read(&planted.memory()), Ok(BufferPools::default()), "neither is loaded");

        let bits = planted.class(DIRECT, 0, &[("RESERVED_MEMORY", 16), ("TOTAL_CAPACITY", 24), ("COUNT", 32)]);
        let mirror = load(&mut planted, boot, &mut newest, bits, &[0; 3]);
        assert_eq!(reader.read(&planted.memory()), Ok(BufferPools::default()), "not initialized");
        let counters = atomics(&mut planted, [4096, 4000, 2]);
        (0..3).for_each(|at| planted.set(mirror + 16 + 8 * at as u64, counters[at]));
        let direct = BufferUse { used: 4096, capacity: 4000, count: 2 };
        assert_eq!(reader.read(&planted.memory()), Ok(BufferPools { direct, ..BufferPools::default() }));

        let unmapper = planted.class(MAPPED, 0, &[("count", 16), ("totalSize", 24), ("totalCapacity", 32)]);
        load(&mut planted, boot, &mut newest, unmapper, &[(9 << 32) | 3, 700, 600]);
        let mapped = BufferUse { used: 700, capacity: 600, count: 3 };
        assert_eq!(reader.read(&planted.memory()), Ok(BufferPools { direct, mapped }));
        planted.set(counters[2] + 8, other);
        assert!(reader.read(&planted.memory()).is_err(), "no AtomicLong any more");
        planted.set(mirror + 8, other);
        assert!(reader.read(&planted.memory()).is_err(), "no mirror any more");
    }

    #[test]
    fn chains_and_values_that_cannot_be_are_refused() {
        for wild in [1, 8, 1 << 46, u64::MAX - 7] {
            let (mut planted, boot) = empty();
            let mut newest = 0;
            let class = planted.class("java/lang/Object", 0, &[]);
            load(&mut planted, boot, &mut newest, class, &[]);
            planted.set(class + 32, wild);
            assert!(reader(&planted).read(&planted.memory()).is_err(), "{wild:#x}");
        }
        let (mut planted, boot) = empty();
        let mut newest = 0;
        let class = planted.class("java/lang/Object", 0, &[]);
        load(&mut planted, boot, &mut newest, class, &[]);
        planted.set(class + 32, class);
        assert!(matches!(reader(&planted).read(&planted.memory()), Err(Implausible::Value(..))), "an endless chain");

        let (mut planted, boot) = empty();
        let mut newest = 0;
        let unmapper = planted.class(MAPPED, 0, &[("count", 16), ("totalSize", 24), ("totalCapacity", 32)]);
        load(&mut planted, boot, &mut newest, unmapper, &[3, u64::MAX, 600]);
        assert!(matches!(reader(&planted).read(&planted.memory()), Err(Implausible::Value(_, u64::MAX))));
    }
}
