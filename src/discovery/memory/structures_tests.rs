#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::fs::File;

use proptest::prelude::*;

use super::super::libjvm::{ColumnSymbols, TableSymbols};
use super::*;

/// vmStructs in the memory of this process, which may read its own.
struct Planted {
    /// What the symbols name: each table's address, the size of its entries and the offsets of its columns, 8 bytes each.
    variables: Vec<u64>,
    /// Entries of fields, types, ints and longs.
    tables: [Vec<u64>; 4],
    strings: Vec<Box<[u8]>>,
}

/// Words of an entry of fields, of types, of ints and of longs.
const WORDS: [usize; 4] = [6, 6, 2, 2];
/// The first variable of each table.
const FIRST: [usize; 4] = [0, 7, 11, 15];
const UNREADABLE: StructuresError = StructuresError::Memory(MemoryError::Unmapped);

impl Planted {
    fn new() -> Self {
        let [fields, types, numbers] =
            [vec![0, 48, 0, 8, 24, 32, 40], vec![0, 48, 0, 40], vec![0, 16, 0, 8, 0, 16, 0, 8]];
        let variables = [fields, types, numbers].concat();
        let mut planted = Self { variables, tables: Default::default(), strings: Vec::new() };
        planted.field("Universe", "_collectedHeap", 1, 0, 4096);
        planted.field("Klass", "_name", 0, 24, 0);
        planted.entry(1, "Klass", &[0, 0, 0, 0, 208]);
        planted.entry(2, "RUNNABLE", &[u64::MAX << 32 | 2]);
        planted.entry(2, "BELOW", &[u64::from(u32::MAX)]);
        planted.entry(3, "markWord::klass_shift", &[42]);
        planted
    }

    fn string(&mut self, text: &[u8]) -> u64 {
        self.strings.push([text, &[0]].concat().into());
        self.strings[self.strings.len() - 1].as_ptr() as u64
    }

    fn field(&mut self, type_name: &str, field: &str, is_static: u64, offset: u64, address: u64) {
        let field = self.string(field.as_bytes());
        self.entry(0, type_name, &[field, 0, is_static, offset, address]);
    }

    fn entry(&mut self, table: usize, name: &str, rest: &[u64]) {
        let name = self.string(name.as_bytes());
        self.tables[table].push(name);
        self.tables[table].extend(rest);
    }

    /// Ends the tables, and lets the variables point to them.
    fn finish(&mut self) {
        for (table, first) in self.tables.iter_mut().zip(FIRST) {
            table.extend([0; 6]);
            self.variables[first] = table.as_ptr() as u64;
        }
    }

    fn read(&self) -> Result<Structures, StructuresError> {
        let own = ProcessMemory::open(File::open("/proc/self").unwrap()).unwrap();
        let at = |number: usize| 8 * number as u64;
        let columns = |first: usize| ColumnSymbols {
            array: at(first),
            stride: at(first + 1),
            name: at(first + 2),
            number: at(first + 3),
        };
        let tables = TableSymbols {
            field_offset: at(5),
            types: columns(FIRST[1]),
            ints: columns(FIRST[2]),
            longs: columns(FIRST[3]),
        };
        let symbols = Symbols {
            structs: 0,
            stride: at(1),
            type_name: at(2),
            field_name: at(3),
            is_static: at(4),
            address: at(6),
            tables: Some(tables),
        };
        Structures::read(&own, self.variables.as_ptr() as u64, &symbols)
    }
}

fn planted() -> Planted {
    let mut planted = Planted::new();
    planted.finish();
    planted
}

#[test]
fn all_tables_are_read() {
    let planted = planted();
    let found = planted.read().unwrap();
    let base = planted.variables.as_ptr() as u64;
    assert_eq!(found.field("Universe", "_collectedHeap"), Some(FieldPlace::Static(4096_u64.wrapping_sub(base))));
    assert_eq!(found.field("Klass", "_name"), Some(FieldPlace::Instance(24)));
    assert_eq!(
        [found.field("Klass", "_super"), found.field("_name", "Klass"), found.field("Klas", "s_name")],
        [None; 3]
    );
    assert_eq!((found.size("Klass"), found.size("Universe")), (Some(208), None));
    let constants = ["RUNNABLE", "BELOW", "markWord::klass_shift", "Klass"].map(|name| found.constant(name));
    assert_eq!(constants, [Some(2), Some(-1), Some(42), None]);
}

#[test]
fn arrays_without_end_are_left() {
    for (table, words) in WORDS.into_iter().enumerate() {
        let mut planted = Planted::new();
        let entry = planted.tables[table][..words].to_vec();
        planted.tables[table] = entry.repeat(usize::try_from(ENTRIES).unwrap() + 300);
        planted.finish();
        assert_eq!(planted.read().err(), Some(StructuresError::Endless), "{table}");
        // As many as are read, and the end.
        planted.tables[table] = entry.repeat(usize::try_from(ENTRIES).unwrap() - 1);
        planted.finish();
        assert!(planted.read().is_ok(), "{table}");
    }
}

#[test]
fn wild_addresses_sizes_and_offsets_are_refused() {
    for first in FIRST {
        for wild in [0, 8, 1 << 46, 1 << 47, 0xffff_8000_0000_0000, u64::MAX - 7, u64::MAX] {
            let mut planted = planted();
            planted.variables[first] = wild;
            assert_eq!(planted.read().err(), Some(UNREADABLE), "{first} {wild:#x}");
        }
        for stride in [0, 8, 15, 257, 1 << 32, u64::MAX] {
            let mut planted = planted();
            planted.variables[first + 1] = stride;
            assert!(matches!(planted.read(), Err(StructuresError::Entry(found, _)) if found == stride), "{stride}");
        }
        for column in [2, 3] {
            for offset in [41, 48, 1 << 20, u64::MAX - 7, u64::MAX] {
                let mut planted = planted();
                planted.variables[first + column] = offset;
                assert!(matches!(planted.read(), Err(StructuresError::Entry(_, found)) if found == offset), "{offset}");
            }
        }
    }
}

#[test]
fn names_that_are_none_are_passed_over() {
    let mut planted = Planted::new();
    let long = "x".repeat(TEXT_MAXIMUM + 1);
    let longest = "y".repeat(TEXT_MAXIMUM);
    for name in [&*long, &*longest, "", "Größe"] {
        planted.entry(3, name, &[7]);
    }
    planted.tables[3].extend([8, 7, u64::MAX, 7, 0xdead_beef_0000, 7]);
    planted.entry(3, "last", &[9]);
    planted.finish();
    let found = planted.read().unwrap();
    assert_eq!([found.constant(&long), found.constant(""), found.constant("Größe")], [None; 3]);
    assert_eq!([found.constant(&longest), found.constant("last")], [Some(7), Some(9)]);
}

#[test]
fn names_on_too_many_pages_are_left() {
    let mut planted = Planted::new();
    let pages = vec![b'x'; (PAGES + 2) * 4096];
    let start = pages.as_ptr() as u64;
    for page in 0..=PAGES as u64 {
        planted.tables[3].extend([start + page * 4096, 1]);
    }
    planted.finish();
    assert_eq!(planted.read().err(), Some(StructuresError::Endless));
}

#[test]
fn a_library_without_the_tables_has_no_structures() {
    let own = ProcessMemory::open(File::open("/proc/self").unwrap()).unwrap();
    let symbols =
        Symbols { structs: 0, stride: 0, type_name: 0, field_name: 0, is_static: 0, address: 0, tables: None };
    assert_eq!(Structures::read(&own, 0, &symbols).err(), Some(StructuresError::Symbols));
}

proptest! {
    /// Any tables at any places end in bounded steps, and never in a panic.
    #[test]
    fn any_bytes_are_read(
        words in proptest::collection::vec(any::<u64>(), 0..600),
        variables in proptest::collection::vec(any::<u64>(), 19),
        kept in proptest::collection::vec(any::<bool>(), 19),
    ) {
        let mut planted = planted();
        // Half of the words lead into the tables themselves.
        let inside = planted.tables[0].as_ptr() as u64;
        let words: Vec<u64> = words.iter().map(|word| if word & 1 == 0 { inside + word % 64 } else { *word }).collect();
        for (number, first) in FIRST.into_iter().enumerate() {
            planted.tables[number] = words.clone();
            planted.variables[first] = planted.tables[number].as_ptr() as u64;
        }
        for ((variable, any), kept) in planted.variables.iter_mut().zip(variables).zip(kept) {
            if !kept {
                *variable = any % 300;
            }
        }
        if let Ok(found) = planted.read() {
            let most = usize::try_from(ENTRIES).unwrap();
            prop_assert!(found.fields.len() <= most && found.sizes.len() <= most && found.constants.len() <= 2 * most);
        }
    }
}
