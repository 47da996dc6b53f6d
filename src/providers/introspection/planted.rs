//! HotSpot's structures, planted in the memory of a test.

use crate::discovery::HotSpotMemory;

/// Memory whose words a test sets, with names for places in it.
#[derive(Debug)]
pub(super) struct Planted {
    words: Box<[u64]>,
    used: usize,
    instance: Vec<(&'static str, &'static str, u64)>,
    statics: Vec<(&'static str, &'static str, u64)>,
    constants: Vec<(&'static str, i64)>,
}

impl Planted {
    pub(super) fn new() -> Self {
        Self {
            words: vec![0; 1 << 16].into(),
            used: 0,
            instance: Vec::new(),
            statics: Vec::new(),
            constants: Vec::new(),
        }
    }

    /// Names fields by their offsets.
    pub(super) fn fields(&mut self, fields: &[(&'static str, &'static str, u64)]) {
        self.instance.extend(fields);
    }

    pub(super) fn constants(&mut self, constants: &[(&'static str, i64)]) {
        self.constants.extend(constants);
    }

    /// Names a new static field; its address.
    pub(super) fn field(&mut self, type_name: &'static str, field: &'static str, value: u64) -> u64 {
        let address = self.object(&[value]);
        self.statics.push((type_name, field, address));
        address
    }

    /// A new object of these words; its address.
    pub(super) fn object(&mut self, words: &[u64]) -> u64 {
        let address = &raw const self.words[self.used] as u64;
        self.words[self.used..self.used + words.len()].copy_from_slice(words);
        self.used += words.len();
        address
    }

    /// A new symbol (JDK 11 and later); its address.
    pub(super) fn symbol(&mut self, text: &str) -> u64 {
        let mut bytes = vec![0; 4];
        bytes.extend((text.len() as u16).to_ne_bytes());
        bytes.extend(text.bytes());
        bytes.resize(bytes.len().next_multiple_of(8) + 64, 0);
        let (words, _) = bytes.as_chunks();
        let words: Vec<u64> = words.iter().map(|word| u64::from_ne_bytes(*word)).collect();
        self.object(&words)
    }

    /// Names the fields of classes as JDK 21 and later have them, with addresses in headers and references. A planted class
    /// has name, superclass, constant pool, fields, next class and mirror.
    pub(super) fn describe_classes(&mut self) {
        self.fields(&[
            ("oopDesc", "_metadata._klass", 8),
            ("Klass", "_name", 0),
            ("Klass", "_super", 8),
            ("InstanceKlass", "_constants", 16),
            ("InstanceKlass", "_fieldinfo_stream", 24),
            ("Klass", "_next_link", 32),
            ("Klass", "_java_mirror", 40),
            ("ConstantPool", "_length", 0),
            ("ConstantPool", "sizeof", 8),
            ("Symbol", "_length", 4),
            ("Symbol", "_body", 6),
            ("Array<int>", "_length", 0),
            ("Array<u1>", "_data", 4),
            ("Array<u2>", "_data", 4),
        ]);
    }

    /// A new class with these fields at these offsets, below 190; its address.
    pub(super) fn class(&mut self, name: &str, superclass: u64, fields: &[(&str, u8)]) -> u64 {
        let name = self.symbol(name);
        let names: Vec<u64> = fields.iter().map(|(name, _)| self.symbol(name)).collect();
        let pool = self.object(&[&[names.len() as u64][..], &names].concat());
        // Each number is one more as a byte: counts, then name, signature, offset, access and flags of each field.
        let mut bytes = vec![fields.len() as u8 + 1, 1];
        for (number, (_, offset)) in fields.iter().enumerate() {
            bytes.extend([number as u8 + 1, 1, offset + 1, 1, 1]);
        }
        let mut array = (bytes.len() as u32).to_ne_bytes().to_vec();
        array.extend(bytes);
        array.resize(array.len().next_multiple_of(8), 0);
        let (words, _) = array.as_chunks();
        let words: Vec<u64> = words.iter().map(|word| u64::from_ne_bytes(*word)).collect();
        let stream = self.object(&words);
        self.object(&[name, superclass, pool, stream, 0, 0])
    }

    /// A new list of threads as JDK 17 and later have it.
    pub(super) fn thread_list(&mut self, threads: &[u64]) {
        let array = self.object(threads);
        let list = self.object(&[threads.len() as u64, array]);
        self.field("ThreadsSMRSupport", "_java_thread_list", list);
        self.fields(&[("ThreadsList", "_length", 0), ("ThreadsList", "_threads", 8)]);
    }

    pub(super) fn set(&mut self, address: u64, value: u64) {
        let at = (address - self.words.as_ptr() as u64) / 8;
        self.words[usize::try_from(at).unwrap()] = value;
    }

    pub(super) fn memory(&self) -> HotSpotMemory {
        HotSpotMemory::own(&self.instance, &self.statics, &self.constants)
    }
}
