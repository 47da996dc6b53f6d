//! The memory of a HotSpot process, read by the names of its types and fields.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, Weak};

use rustix::fs::{AtFlags, statat};

use super::libjvm::{Libraries, LibraryVersion};
use super::structures::{FieldPlace, Structures};
use super::{Obstacle, ptrace_scope};
use crate::discovery::open::Opener;
use crate::perfdata::{MemoryError, ProcessMemory};
use crate::proc::maps::Mappings;
use crate::proc::stat::directory;
use crate::proc::{FileId, Process};
use crate::sync::lock;

/// Structures that are remembered; a host has as many as it has JDKs, users and containers. A hostile library's take half
/// a megabyte.
const REMEMBERED: usize = 64;
/// User addresses on the architectures that HotSpot supports with 48 bits of address space.
const ADDRESSES: u64 = 1 << 47;

/// Opens the memory of JVMs, and remembers the structures of their libraries. Shared by threads, none of which waits for
/// another one's reads.
#[derive(Debug, Default)]
pub(crate) struct HotSpotFinder {
    opener: Opener,
    libraries: Libraries,
    /// Not locked while memory is read, which may take for ever.
    known: Mutex<HashMap<StructuresKey, KnownStructures>>,
}

/// Structures, and the process whose memory they are from. They count as long as it lives: the number of a namespace may
/// be used again.
#[derive(Debug)]
struct KnownStructures {
    structures: Arc<Structures>,
    source: Weak<Process>,
}

impl KnownStructures {
    fn get(&self) -> Option<Arc<Structures>> {
        self.source.upgrade().filter(|source| source.is_alive()).map(|_| Arc::clone(&self.structures))
    }
}

/// Whose structures may be taken for another process's. The tables lie in memory that their process may change, so those
/// of one user, or in one container, say nothing of another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct StructuresKey {
    library: LibraryVersion,
    uid: u32,
    /// The mount namespace.
    mounts: FileId,
}

/// The memory of a HotSpot process.
#[derive(Clone, Debug)]
pub(crate) struct HotSpotMemory {
    memory: ProcessMemory,
    /// Where its libjvm is loaded.
    base: u64,
    structures: Arc<Structures>,
}

/// Why a value could not be taken from a JVM's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Implausible {
    /// This JDK has no such type, field or constant.
    #[error("this JDK does not describe {0}::{1}")]
    Unknown(&'static str, &'static str),
    /// The memory cannot be read at the address that was found.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// A pointer that is null, not a multiple of 8, or outside of user memory.
    #[error("{0:#x} is no address of an object")]
    Pointer(u64),
    /// A value that contradicts another, or exceeds what it can be.
    #[error("{0} is {1}, which cannot be")]
    Value(&'static str, u64),
}

impl HotSpotFinder {
    /// The memory of a process, if it runs HotSpot and the kernel allows to read it. May block as long as a page or file
    /// of the process does not answer.
    pub(crate) fn open(&self, process: &Arc<Process>) -> Result<HotSpotMemory, Obstacle> {
        let own = process.directory();
        let library = Mappings::read(own).map_err(Obstacle::Map)?.library.ok_or(Obstacle::NoLibrary)?;
        let (version, symbols) = self.libraries.symbols(&self.opener, process, &library)?;
        let memory = ProcessMemory::open(own).map_err(|error| match error {
            MemoryError::Denied => Obstacle::Denied(directory(own.as_fd(), "..").ok().and_then(ptrace_scope)),
            error => Obstacle::Structs(error.into()),
        })?;
        let namespace = statat(own, "ns/mnt", AtFlags::empty()).map_err(Obstacle::Map)?;
        let key = StructuresKey { library: version, uid: process.uid, mounts: FileId::of(&namespace) };
        let known = lock(&self.known).get(&key).and_then(KnownStructures::get);
        let structures = match known {
            Some(structures) => structures,
            None => {
                let read = Structures::read(&memory, library.base, &symbols).map_err(Obstacle::Structures)?;
                let structures = Arc::new(read);
                let mut known = lock(&self.known);
                if known.len() >= REMEMBERED {
                    known.retain(|_, known| known.get().is_some());
                }
                if known.len() < REMEMBERED {
                    let source = Arc::downgrade(process);
                    known.insert(key, KnownStructures { structures: Arc::clone(&structures), source });
                }
                structures
            }
        };
        Ok(HotSpotMemory { memory, base: library.base, structures })
    }
}

impl HotSpotMemory {
    /// The memory of this process, with planted structures: instance fields, static fields and constants by their names.
    #[cfg(test)]
    #[allow(clippy::unwrap_used, reason = "a test")]
    pub(crate) fn own(
        instance: &[(&str, &str, u64)],
        statics: &[(&str, &str, u64)],
        constants: &[(&str, i64)],
    ) -> Self {
        let directory = std::fs::File::open("/proc/self").unwrap();
        let memory = ProcessMemory::open(directory).unwrap();
        let fields = instance.iter().map(|(type_name, field, at)| (*type_name, *field, FieldPlace::Instance(*at)));
        let statics = statics.iter().map(|(type_name, field, at)| (*type_name, *field, FieldPlace::Static(*at)));
        let structures = Structures::planted(fields.chain(statics), constants);
        Self { memory, base: 0, structures: Arc::new(structures) }
    }

    /// The offset of an instance field in its object.
    pub(crate) fn offset(&self, type_name: &'static str, field: &'static str) -> Result<u64, Implausible> {
        match self.structures.field(type_name, field) {
            Some(FieldPlace::Instance(offset)) if offset < 1 << 20 => Ok(offset),
            _ => Err(Implausible::Unknown(type_name, field)),
        }
    }

    /// The address of a static field.
    pub(crate) fn address(&self, type_name: &'static str, field: &'static str) -> Result<u64, Implausible> {
        match self.structures.field(type_name, field) {
            Some(FieldPlace::Static(address)) => Ok(self.base.wrapping_add(address)),
            _ => Err(Implausible::Unknown(type_name, field)),
        }
    }

    /// The size of a type in bytes.
    pub(crate) fn size(&self, type_name: &'static str) -> Result<u64, Implausible> {
        let size = self.structures.size(type_name).filter(|size| *size < 1 << 20);
        size.ok_or(Implausible::Unknown(type_name, "sizeof"))
    }

    /// A constant, such as `ThreadState`'s.
    pub(crate) fn constant(&self, name: &'static str) -> Result<i64, Implausible> {
        self.structures.constant(name).ok_or(Implausible::Unknown("constant", name))
    }

    /// Fills `into` from an address, in one system call.
    pub(crate) fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Implausible> {
        Ok(self.memory.read(address, into)?)
    }

    /// `N` bytes at an address.
    pub(crate) fn bytes<const N: usize>(&self, address: u64) -> Result<[u8; N], Implausible> {
        Ok(self.memory.bytes(address)?)
    }

    /// The 8 bytes at an address.
    pub(crate) fn word(&self, address: u64) -> Result<u64, Implausible> {
        self.bytes(address).map(u64::from_ne_bytes)
    }

    /// The 4 bytes at an address.
    pub(crate) fn half(&self, address: u64) -> Result<u32, Implausible> {
        self.bytes(address).map(u32::from_ne_bytes)
    }

    /// The pointer at an address, which leads to an object.
    pub(crate) fn pointer(&self, address: u64) -> Result<u64, Implausible> {
        object(self.word(address)?)
    }
}

/// An address, if an object of HotSpot may lie there.
pub(crate) fn object(address: u64) -> Result<u64, Implausible> {
    if address != 0 && address.is_multiple_of(8) && address < ADDRESSES {
        Ok(address)
    } else {
        Err(Implausible::Pointer(address))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn only_multiples_of_8_in_user_memory_are_addresses_of_objects() {
        for address in [8, 4096, ADDRESSES - 8] {
            assert_eq!(object(address), Ok(address));
        }
        for address in [0, 1, 7, 12, ADDRESSES - 1, ADDRESSES, 0xffff_8000_0000_0000, u64::MAX - 7, u64::MAX] {
            assert_eq!(object(address), Err(Implausible::Pointer(address)), "{address:#x}");
        }
    }

    #[test]
    fn a_field_is_where_its_kind_and_size_allow() {
        const LARGEST: u64 = (1 << 20) - 1;
        let fields = [("Small", "_at", LARGEST), ("Far", "_at", LARGEST + 1), ("Wild", "_at", u64::MAX)];
        let sizes = [("Small", "sizeof", LARGEST), ("Far", "sizeof", LARGEST + 1), ("Wild", "sizeof", u64::MAX)];
        let memory = HotSpotMemory::own(&[fields, sizes].concat(), &[("Small", "_static", 7)], &[("RUNNABLE", 2)]);
        assert_eq!([memory.offset("Small", "_at"), memory.size("Small")], [Ok(LARGEST); 2]);
        for name in ["Far", "Wild", "Absent"] {
            assert_eq!(memory.offset(name, "_at"), Err(Implausible::Unknown(name, "_at")));
            assert_eq!(memory.size(name), Err(Implausible::Unknown(name, "sizeof")));
        }
        assert_eq!(memory.address("Small", "_static"), Ok(7));
        assert_eq!(memory.address("Small", "_at"), Err(Implausible::Unknown("Small", "_at")));
        assert_eq!(memory.offset("Small", "_static"), Err(Implausible::Unknown("Small", "_static")));
        assert_eq!([memory.constant("RUNNABLE").ok(), memory.constant("_at").ok()], [Some(2), None]);
    }

    #[test]
    fn a_read_fails_where_there_is_no_memory() {
        let memory = HotSpotMemory::own(&[], &[], &[]);
        let words = [&raw const memory as u64, 12];
        let at = words.as_ptr() as u64;
        assert_eq!((memory.word(at), memory.pointer(at)), (Ok(words[0]), Ok(words[0])));
        assert_eq!(memory.pointer(at.wrapping_add(8)), Err(Implausible::Pointer(12)));
        assert_eq!(memory.half(at.wrapping_add(8)), Ok(12));
        for address in [0, 8, 1 << 46, ADDRESSES, u64::MAX - 7, u64::MAX] {
            assert_eq!(memory.word(address), Err(Implausible::Memory(MemoryError::Unmapped)), "{address:#x}");
        }
    }

    #[test]
    fn structures_count_as_long_as_their_process_lives() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let process = Arc::new(Process::open(std::path::Path::new("/proc"), pid).unwrap());
        let known = KnownStructures { structures: Arc::default(), source: Arc::downgrade(&process) };
        assert!(known.get().is_some());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(known.get().is_none());
    }
}
