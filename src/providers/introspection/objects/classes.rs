//! Classes as HotSpot describes them: name, superclass, and the places of fields.

use std::collections::HashMap;

use super::ClassEncoding;
use super::HEADER;
use super::field_layout::{FIELDS_MAXIMUM, FieldEntry, of_array, of_stream};
use crate::discovery::{HotSpotMemory, Implausible, object};
use crate::providers::introspection::fields::{FieldSpan, Gathered};

/// Longest name that is read.
const NAME_MAXIMUM: u64 = 64;
/// Most superclasses of a class; those of threads have a few.
const SUPERS_MAXIMUM: usize = 32;
/// Longest description of a class's fields, in bytes.
const LAYOUT_MAXIMUM: u64 = 32 << 10;

/// Where the fields of classes, names and constant pools are.
#[derive(Clone, Copy, Debug)]
pub(in crate::providers::introspection) struct ClassReader {
    name: u64,
    superclass: u64,
    constants: u64,
    layout: LayoutPlace,
    pool_length: u64,
    pool_entries: u64,
    text_length: u64,
    text: u64,
    array_length: u64,
    bytes: u64,
    shorts: u64,
}

/// Where a class keeps the description of its fields.
#[derive(Clone, Copy, Debug)]
enum LayoutPlace {
    /// Up to JDK 20.
    Array {
        fields: u64,
        count: u64,
    },
    Stream {
        fields: u64,
    },
}

/// A class, and the places of those of its own fields that were asked for.
#[derive(Clone, Debug)]
pub(in crate::providers::introspection) struct JavaClass {
    pub(in crate::providers::introspection) encoding: ClassEncoding,
    /// The header's tag of its objects.
    pub(in crate::providers::introspection) tag: u64,
    /// Its address, or that of the superclass that has the name.
    pub(in crate::providers::introspection) address: u64,
}

impl ClassReader {
    pub(in crate::providers::introspection) fn of(memory: &HotSpotMemory) -> Result<Self, Implausible> {
        let layout = match memory.offset("InstanceKlass", "_fieldinfo_stream") {
            Ok(fields) => LayoutPlace::Stream { fields },
            Err(_) => LayoutPlace::Array {
                fields: memory.offset("InstanceKlass", "_fields")?,
                count: memory.offset("InstanceKlass", "_java_fields_count")?,
            },
        };
        Ok(Self {
            name: memory.offset("Klass", "_name")?,
            superclass: memory.offset("Klass", "_super")?,
            constants: memory.offset("InstanceKlass", "_constants")?,
            layout,
            pool_length: memory.offset("ConstantPool", "_length")?,
            pool_entries: memory.size("ConstantPool")?,
            text_length: memory.offset("Symbol", "_length")?,
            text: memory.offset("Symbol", "_body")?,
            array_length: memory.offset("Array<int>", "_length")?,
            bytes: memory.offset("Array<u1>", "_data")?,
            shorts: memory.offset("Array<u2>", "_data")?,
        })
    }

    /// The class of the object at `address`, if it or a superclass has that name.
    pub(in crate::providers::introspection) fn class_of(
        &self,
        memory: &HotSpotMemory,
        encodings: &[ClassEncoding],
        address: u64,
        name: &str,
    ) -> Result<JavaClass, Implausible> {
        let mut buffer = Vec::new();
        let header = FieldSpan::covering(&[(0, HEADER)])?.read(memory, address, &mut buffer)?;
        let found = encodings.iter().find_map(|encoding| {
            let tag = encoding.tag(header)?;
            let address = self.named(memory, encoding.class(tag).ok()?, name).ok()??;
            Some(JavaClass { encoding: *encoding, tag, address })
        });
        found.ok_or(Implausible::Value("the class of an object", address))
    }

    /// The class at `class`, or the superclass, that has the name.
    pub(in crate::providers::introspection) fn named(
        &self,
        memory: &HotSpotMemory,
        class: u64,
        name: &str,
    ) -> Result<Option<u64>, Implausible> {
        let mut class = class;
        for _ in 0..SUPERS_MAXIMUM {
            if self.name(memory, memory.pointer(class.wrapping_add(self.name))?)? == name.as_bytes() {
                return Ok(Some(class));
            }
            match memory.word(class.wrapping_add(self.superclass))? {
                0 => return Ok(None),
                superclass => class = object(superclass)?,
            }
        }
        Ok(None)
    }

    /// The first [`NAME_MAXIMUM`] bytes of a name.
    pub(in crate::providers::introspection) fn name(
        &self,
        memory: &HotSpotMemory,
        symbol: u64,
    ) -> Result<Vec<u8>, Implausible> {
        let length = u16::from_ne_bytes(memory.bytes(object(symbol)?.wrapping_add(self.text_length))?);
        let length = u64::from(length).min(NAME_MAXIMUM);
        let mut text = vec![0; usize::try_from(length).unwrap_or_default()];
        memory.read(symbol.wrapping_add(self.text), &mut text)?;
        Ok(text)
    }

    /// The names of many classes, each with what `of_name` makes of it. A name that cannot be read is empty.
    pub(in crate::providers::introspection) fn names<T>(
        &self,
        memory: &HotSpotMemory,
        symbols: &[u64],
        mut of_name: impl FnMut(usize, &[u8]) -> Option<T>,
    ) -> Result<Vec<T>, Implausible> {
        let span = FieldSpan::covering(&[(self.text_length, 2), (self.text, NAME_MAXIMUM)])?;
        let mut gathered = Gathered::default();
        gathered.read(memory, span, symbols.iter().copied());
        let found = symbols.iter().enumerate().filter_map(|(index, _)| {
            let fields = gathered.get(index)?;
            let length = usize::from(fields.short(self.text_length)?);
            of_name(index, fields.from(self.text).get(..length)?)
        });
        Ok(found.collect())
    }

    /// The offsets of fields that the class declares, by name.
    ///
    /// # Errors
    /// It does not declare one of them.
    pub(in crate::providers::introspection) fn offsets<const N: usize>(
        &self,
        memory: &HotSpotMemory,
        class: u64,
        names: [&'static str; N],
    ) -> Result<[u64; N], Implausible> {
        let declared = self.declared(memory, class)?;
        let mut offsets = [0; N];
        for (offset, name) in offsets.iter_mut().zip(names) {
            *offset = *declared.get(name.as_bytes()).ok_or(Implausible::Unknown("a Java class", name))?;
        }
        Ok(offsets)
    }

    fn declared(&self, memory: &HotSpotMemory, class: u64) -> Result<HashMap<Vec<u8>, u64>, Implausible> {
        let pool = memory.pointer(class.wrapping_add(self.constants))?;
        let length = memory.half(pool.wrapping_add(self.pool_length))?;
        let mut fields = HashMap::new();
        for field in self.layout(memory, class)?.into_iter().filter(|field| field.name < length) {
            let entry = u64::from(field.name).wrapping_mul(8).wrapping_add(self.pool_entries);
            // The lowest bit marks entries that are not resolved.
            let symbol = memory.word(pool.wrapping_add(entry))? & !1;
            fields.insert(self.name(memory, symbol)?, u64::from(field.offset));
        }
        Ok(fields)
    }

    fn layout(&self, memory: &HotSpotMemory, class: u64) -> Result<Vec<FieldEntry>, Implausible> {
        let array = |field: u64, data: u64, size: u64| {
            let array = memory.pointer(class.wrapping_add(field))?;
            let length = u64::from(memory.half(array.wrapping_add(self.array_length))?).saturating_mul(size);
            if length > LAYOUT_MAXIMUM {
                return Err(Implausible::Value("the length of a class's fields", length));
            }
            let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
            memory.read(array.wrapping_add(data), &mut bytes)?;
            Ok(bytes)
        };
        match self.layout {
            LayoutPlace::Stream { fields } => {
                let bytes = array(fields, self.bytes, 1)?;
                of_stream(&bytes).ok_or(Implausible::Value("the stream of a class's fields", bytes.len() as u64))
            }
            LayoutPlace::Array { fields, count } => {
                let count = u16::from_ne_bytes(memory.bytes(class.wrapping_add(count))?);
                Ok(of_array(&array(fields, self.shorts, 2)?, usize::from(count).min(FIELDS_MAXIMUM)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

    use super::*;
    use crate::providers::introspection::planted::Planted;

    /// The structures of a JDK of 21 or later. A planted class has name, superclass, constant pool and fields.
    fn described() -> Planted {
        let mut planted = Planted::new();
        planted.fields(&[
            ("oopDesc", "_metadata._klass", 8),
            ("Klass", "_name", 0),
            ("Klass", "_super", 8),
            ("InstanceKlass", "_constants", 16),
            ("InstanceKlass", "_fieldinfo_stream", 24),
            ("ConstantPool", "_length", 0),
            ("ConstantPool", "sizeof", 8),
            ("Symbol", "_length", 4),
            ("Symbol", "_body", 6),
            ("Array<int>", "_length", 0),
            ("Array<u1>", "_data", 4),
            ("Array<u2>", "_data", 4),
        ]);
        planted
    }

    /// An object of a class with the fields `one` at 16 and `two` at 24, below a class of that name; the addresses of
    /// object, class, superclass, constant pool and stream.
    fn object_of(planted: &mut Planted, superclass: &str) -> [u64; 5] {
        let names = ["one", "two", "Own", superclass].map(|name| planted.symbol(name));
        let pool = planted.object(&[3, 0, names[0], names[1]]);
        // 12 bytes: 2 declared fields, 0 injected; name, signature, offset, access, flags.
        let bytes = [12, 0, 0, 0, 3, 1, 2, 1, 17, 1, 1, 3, 1, 25, 1, 1];
        let (words, _) = bytes.as_chunks();
        let words: Vec<u64> = words.iter().map(|word| u64::from_ne_bytes(*word)).collect();
        let stream = planted.object(&words);
        let above = planted.object(&[names[3], 0, pool, stream]);
        let class = planted.object(&[names[2], above, pool, stream]);
        [planted.object(&[1, class, 0, 0]), class, above, pool, stream]
    }

    fn find(planted: &Planted, object: u64) -> Result<u64, Implausible> {
        let memory = planted.memory();
        let classes = ClassReader::of(&memory).unwrap();
        classes.class_of(&memory, &ClassEncoding::all(&memory), object, "Wanted").map(|class| class.address)
    }

    fn offsets(planted: &Planted, class: u64) -> Result<[u64; 2], Implausible> {
        let memory = planted.memory();
        ClassReader::of(&memory).unwrap().offsets(&memory, class, ["two", "one"])
    }

    #[test]
    fn a_class_is_found_by_the_name_of_its_superclass_and_its_fields_by_theirs() {
        let mut planted = described();
        let [object, _, above, ..] = object_of(&mut planted, "Wanted");
        assert_eq!(find(&planted, object), Ok(above));
        assert_eq!(offsets(&planted, above), Ok([24, 16]));
        let [other, ..] = object_of(&mut planted, "Unwanted");
        assert!(find(&planted, other).is_err());
        let memory = planted.memory();
        let missing = ClassReader::of(&memory).unwrap().offsets(&memory, above, ["three"]);
        assert_eq!(missing, Err(Implausible::Unknown("a Java class", "three")));
    }

    #[test]
    fn a_class_above_itself_ends_the_search() {
        let mut planted = described();
        let [object, class, above, ..] = object_of(&mut planted, "Unwanted");
        planted.set(above + 8, class);
        assert!(find(&planted, object).is_err());
    }

    #[test]
    fn wild_words_are_refused() {
        for wild in [1, 8, 1 << 46, u64::MAX - 7, u64::MAX] {
            for at in [0, 8] {
                let mut planted = described();
                let [object, class, ..] = object_of(&mut planted, "Wanted");
                planted.set(class + at, wild);
                assert!(find(&planted, object).is_err(), "class {at} {wild:#x}");
            }
            for at in [16, 24] {
                let mut planted = described();
                let [_, class, ..] = object_of(&mut planted, "Wanted");
                planted.set(class + at, wild);
                assert!(offsets(&planted, class).is_err(), "class {at} {wild:#x}");
            }
            let mut planted = described();
            let [object, class, _, pool, stream] = object_of(&mut planted, "Wanted");
            planted.set(object + 8, wild);
            assert!(find(&planted, object).is_err(), "object {wild:#x}");
            planted.set(pool + 16, wild & !1);
            assert!(offsets(&planted, class).is_err(), "name {wild:#x}");
            planted.set(stream, u64::MAX);
            assert!(matches!(offsets(&planted, class), Err(Implausible::Value(_, 0xffff_ffff))), "length");
        }
    }
}
