//! Writes PerfData regions for tests: the layout that perfData.cpp writes, with counters of one's choice.

// Shared by unit tests and integration tests, none of which uses all of it or exports it.
#![allow(dead_code, unreachable_pub, clippy::cast_possible_truncation, clippy::cast_possible_wrap)]

/// A region under construction.
#[derive(Clone, Debug, Default)]
pub struct RegionBuilder {
    entries: Vec<u8>,
    count: i32,
    overflow: i32,
    big_endian: bool,
}

const HEADER: usize = 20;
const PROLOGUE: usize = 32;

#[allow(dead_code, reason = "each test crate uses what it needs")]
impl RegionBuilder {
    /// No counters, little-endian.
    pub fn new() -> Self {
        Self::default()
    }

    /// The byte order of the other half of the world; call it before adding counters.
    pub fn big_endian(mut self) -> Self {
        self.big_endian = true;
        self
    }

    /// Bytes of counters that "did not fit".
    pub fn overflow(mut self, bytes: i32) -> Self {
        self.overflow = bytes;
        self
    }

    /// A number without unit that goes up and down.
    pub fn long(self, name: &str, value: i64) -> Self {
        self.long_of(name, value, 1, 3)
    }

    /// A number with the codes of its unit and variability.
    pub fn long_of(mut self, name: &str, value: i64, units: u8, variability: u8) -> Self {
        let data = if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
        self.add(name, b'J', 0, units, variability, &data);
        self
    }

    /// A constant string, with room for exactly that.
    pub fn text(self, name: &str, value: &str) -> Self {
        self.text_of(name, value, value.len() + 1)
    }

    /// A constant string with `room` bytes, its NUL included.
    pub fn text_of(mut self, name: &str, value: &str, room: usize) -> Self {
        let mut data = value.as_bytes().to_vec();
        data.resize(room, 0);
        self.add(name, b'B', room as i32, 5, 1, &data);
        self
    }

    /// An entry with these codes, as a writer of another kind might make it.
    pub fn entry(
        mut self,
        name: &str,
        data_type: u8,
        vector_length: i32,
        units: u8,
        variability: u8,
        data: &[u8],
    ) -> Self {
        self.add(name, data_type, vector_length, units, variability, data);
        self
    }

    fn add(&mut self, name: &str, data_type: u8, vector_length: i32, units: u8, variability: u8, data: &[u8]) {
        let data_offset = (HEADER + name.len() + 1).next_multiple_of(8);
        let length = (data_offset + data.len()).next_multiple_of(8);
        let flags = u8::from(name.starts_with("java.") || name.starts_with("com.sun."));
        let mut entry = Vec::with_capacity(length);
        for number in [length as i32, HEADER as i32, vector_length] {
            entry.extend(self.i32(number));
        }
        entry.extend([data_type, flags, units, variability]);
        entry.extend(self.i32(data_offset as i32));
        // Entries start at a multiple of 8, so data that is aligned in its entry is aligned in the region.
        entry.extend(name.as_bytes());
        entry.resize(data_offset, 0);
        entry.extend(data);
        entry.resize(length, 0);
        self.entries.extend(entry);
        self.count += 1;
    }

    /// The bytes of the region, 32 KiB or as much as it takes.
    pub fn build(&self) -> Vec<u8> {
        let used = PROLOGUE + self.entries.len();
        let mut region = vec![0xca, 0xfe, 0xc0, 0xc0, u8::from(!self.big_endian), 2, 0, 1];
        region.extend(self.i32(used as i32));
        region.extend(self.i32(self.overflow));
        region.extend([0; 8]);
        region.extend(self.i32(PROLOGUE as i32));
        region.extend(self.i32(self.count));
        region.extend(&self.entries);
        region.resize(used.next_multiple_of(4096).max(32 * 1024), 0);
        region
    }

    fn i32(&self, number: i32) -> [u8; 4] {
        if self.big_endian { number.to_be_bytes() } else { number.to_le_bytes() }
    }
}
