//! The memory of a HotSpot process, read by the names of its types and fields.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::Arc;

use super::libjvm::{Libraries, LibraryVersion};
use super::structures::{FieldPlace, Structures};
use super::{Obstacle, ptrace_scope};
use crate::discovery::open::Opener;
use crate::perfdata::{MemoryError, ProcessMemory};
use crate::proc::Process;
use crate::proc::maps::Mappings;
use crate::proc::stat::directory;

/// Libraries whose structures are remembered, for each user.
const REMEMBERED: usize = 256;
/// User addresses on the architectures that HotSpot supports with 48 bits of address space.
const ADDRESSES: u64 = 1 << 47;

/// Opens the memory of JVMs, and remembers the structures of their libraries.
#[derive(Debug, Default)]
pub(crate) struct HotSpotFinder {
    opener: Opener,
    libraries: Libraries,
    /// By library and user: the tables lie in memory that the user may change, so one user's say nothing of another's.
    known: HashMap<(LibraryVersion, u32), Arc<Structures>>,
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
    pub(crate) fn open(&mut self, process: &Process) -> Result<HotSpotMemory, Obstacle> {
        let own = process.directory();
        let library = Mappings::read(own).map_err(Obstacle::Map)?.library.ok_or(Obstacle::NoLibrary)?;
        let (version, symbols) = self.libraries.symbols(&self.opener, process, &library)?;
        let memory = ProcessMemory::open(own).map_err(|error| match error {
            MemoryError::Denied => Obstacle::Denied(directory(own.as_fd(), "..").ok().and_then(ptrace_scope)),
            error => Obstacle::Structs(error.into()),
        })?;
        let key = (version, process.uid);
        let structures = match self.known.get(&key) {
            Some(structures) => Arc::clone(structures),
            None => {
                if self.known.len() >= REMEMBERED {
                    self.known.clear();
                }
                let read = Structures::read(&memory, library.base, &symbols).map_err(Obstacle::Structures)?;
                let structures = Arc::new(read);
                self.known.insert(key, Arc::clone(&structures));
                structures
            }
        };
        Ok(HotSpotMemory { memory, base: library.base, structures })
    }
}

impl HotSpotMemory {
    /// The memory of this process, with planted structures: instance fields, static fields and constants by their names.
    #[cfg(test)]
    pub(crate) fn own(
        instance: &[(&str, &str, u64)],
        statics: &[(&str, &str, u64)],
        constants: &[(&str, i64)],
    ) -> Self {
        let directory = std::fs::File::open("/proc/self").expect("/proc is mounted");
        let memory = ProcessMemory::open(directory).expect("a process may read itself");
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
