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

    pub(super) fn set(&mut self, address: u64, value: u64) {
        let at = (address - self.words.as_ptr() as u64) / 8;
        self.words[usize::try_from(at).unwrap()] = value;
    }

    pub(super) fn memory(&self) -> HotSpotMemory {
        HotSpotMemory::own(&self.instance, &self.statics, &self.constants)
    }
}
