//! How many class loaders a JVM has: HotSpot's chain of their data, less what belongs to single hidden classes.

use super::fields::FieldSpan;
use crate::discovery::{HotSpotMemory, Implausible};

/// What values that fail their checks are counted as.
pub(super) const CLASS_LOADERS: &str = "class_loaders";
/// Most data of loaders and hidden classes in a chain that is read.
const CHAIN_MAXIMUM: u64 = 100_000;

/// Counts the class loaders of one JVM. Not on JDK 8, where hidden classes cannot be told.
#[derive(Debug)]
pub(super) struct ClassLoaderReader {
    head: u64,
    next: u64,
    of_hidden_class: u64,
    span: FieldSpan,
    buffer: Vec<u8>,
}

impl ClassLoaderReader {
    pub(super) fn of(memory: &HotSpotMemory) -> Result<Self, Implausible> {
        let next = memory.offset("ClassLoaderData", "_next")?;
        let of_hidden_class = memory
            .offset("ClassLoaderData", "_has_class_mirror_holder")
            .or_else(|_| memory.offset("ClassLoaderData", "_is_anonymous"))?;
        Ok(Self {
            head: memory.address("ClassLoaderDataGraph", "_head")?,
            next,
            of_hidden_class,
            span: FieldSpan::covering(&[(next, 8), (of_hidden_class, 1)])?,
            buffer: Vec::new(),
        })
    }

    /// The number of loaders, HotSpot's own included.
    ///
    /// # Errors
    /// Among others, that the chain has changed meanwhile.
    pub(super) fn read(&mut self, memory: &HotSpotMemory) -> Result<u64, Implausible> {
        self.walk(memory).map(|(loaders, _)| loaders)
    }

    /// The data of the loader of HotSpot's own classes, the last in the chain.
    pub(super) fn boot(&mut self, memory: &HotSpotMemory) -> Result<u64, Implausible> {
        self.walk(memory).map(|(_, last)| last)
    }

    fn walk(&mut self, memory: &HotSpotMemory) -> Result<(u64, u64), Implausible> {
        let head = memory.pointer(self.head)?;
        let (mut loaders, mut at) = (0_u64, head);
        // After each power of two, the place that a loop would come back to (Brent).
        let mut passed = 0;
        for number in 0..CHAIN_MAXIMUM {
            if at == passed {
                return Err(Implausible::Value("the data of a class loader, for the second time", at));
            }
            if number.is_power_of_two() {
                passed = at;
            }
            let fields = self.span.read(memory, at, &mut self.buffer)?;
            match fields.byte(self.of_hidden_class).unwrap_or_default() {
                0 => loaders = loaders.saturating_add(1),
                1 => {}
                flag => return Err(Implausible::Value("the flag of a class loader's data", flag.into())),
            }
            match fields.word(self.next).unwrap_or_default() {
                0 if memory.pointer(self.head)? == head => return Ok((loaders, at)),
                0 => return Err(Implausible::Value("the first class loader's data, once more", head)),
                next => at = next,
            }
        }
        Err(Implausible::Value("the length of the chain of class loaders, at least", CHAIN_MAXIMUM))
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

    /// A chain of which every third one belongs to a hidden class.
    fn planted(length: u64) -> (Planted, Vec<u64>, u64) {
        let mut planted = Planted::new();
        let data: Vec<u64> = (0..length).map(|at| planted.object(&[0, u64::from(at % 3 == 1), 0])).collect();
        for pair in data.windows(2) {
            planted.set(pair[0] + 16, pair[1]);
        }
        planted.fields(&[("ClassLoaderData", "_next", 16), ("ClassLoaderData", "_has_class_mirror_holder", 8)]);
        let head = planted.field("ClassLoaderDataGraph", "_head", data[0]);
        (planted, data, head)
    }

    fn read(planted: &Planted) -> Result<u64, Implausible> {
        let memory = planted.memory();
        ClassLoaderReader::of(&memory).unwrap().read(&memory)
    }

    #[test]
    fn data_of_hidden_classes_is_no_loader() {
        let (planted, data, _) = planted(7);
        assert_eq!(read(&planted), Ok(5));
        let memory = planted.memory();
        assert_eq!(ClassLoaderReader::of(&memory).unwrap().boot(&memory), Ok(data[6]));
    }

    #[test]
    fn chains_that_cannot_be_are_refused() {
        for wild in [1, 8, 1 << 46, u64::MAX - 7] {
            let (mut planted, data, head) = planted(3);
            planted.set(data[2] + 16, wild);
            assert!(read(&planted).is_err(), "{wild:#x}");
            planted.set(head, wild);
            assert!(read(&planted).is_err(), "{wild:#x}");
        }
        let (mut endless, data, _) = planted(3);
        endless.set(data[2] + 16, data[0]);
        assert!(matches!(read(&endless), Err(Implausible::Value(_, at)) if data.contains(&at)));
        endless.set(data[0] + 16, data[0]);
        assert_eq!(read(&endless), Err(Implausible::Value("the data of a class loader, for the second time", data[0])));
        let (mut odd, data, _) = planted(3);
        odd.set(data[0] + 8, 2);
        assert!(matches!(read(&odd), Err(Implausible::Value(_, 2))));
    }
}
