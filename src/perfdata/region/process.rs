//! The memory of another process, copied by the kernel: `/proc/PID/mem`, kept open.
//!
//! Reading neither stops nor slows that process, needs no ptrace(2) of it, and cannot raise a signal: an address without
//! memory is an error. Opening it takes ptrace(2)'s access mode `PTRACE_MODE_ATTACH_FSCREDS`: the same user and group and a
//! dumpable process, and under Yama's `ptrace_scope` 1 and 2 `CAP_SYS_PTRACE`, which also opens the processes of other
//! users. Reading it takes nothing more, which makes it cheaper than process_vm_readv(2), where the kernel finds the
//! process and checks access at each call (measured: 0.8 us instead of 1.1 us for a few bytes).

use std::{fs::File, os::fd::AsFd, os::unix::fs::FileExt, sync::Arc};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

/// The memory of the program that a process ran when it was opened.
///
/// It stays the memory of that program: once the process has ended, or executes another program, reads fail. The kernel
/// keeps some kilobytes for the descriptor, not the memory.
#[derive(Clone, Debug)]
pub struct ProcessMemory {
    file: Arc<File>,
}

/// Why another process's memory could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// The process is dead, or runs another program.
    #[error("the process has ended")]
    Ended,
    /// The process has no memory at some of the addresses.
    #[error("the process has no memory at that address")]
    Unmapped,
    /// The kernel denies access.
    #[error("the kernel denies access to the process's memory; grant CAP_SYS_PTRACE")]
    Denied,
    /// Another error of the operating system.
    #[error("/proc/PID/mem: {0}")]
    Os(Errno),
}

impl ProcessMemory {
    /// Opens the memory of the process whose directory below `/proc` this is.
    pub fn open(directory: impl AsFd) -> Result<Self, MemoryError> {
        match openat(directory, "mem", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(file) => Ok(Self { file: Arc::new(file.into()) }),
            Err(Errno::ACCESS | Errno::PERM) => Err(MemoryError::Denied),
            Err(Errno::NOENT | Errno::SRCH) => Err(MemoryError::Ended),
            Err(other) => Err(MemoryError::Os(other)),
        }
    }

    /// Fills `into` with the bytes at `address`, in one system call. Words that are being written may be torn; after an
    /// error `into` is undefined.
    pub fn read(&self, address: u64, into: &mut [u8]) -> Result<(), MemoryError> {
        // Addresses in the upper half are the kernel's, and negative as file offsets.
        if i64::try_from(address).is_err() {
            return Err(MemoryError::Unmapped);
        }
        match self.file.read_at(into, address) {
            Ok(0) if !into.is_empty() => Err(MemoryError::Ended),
            Ok(copied) if copied == into.len() => Ok(()),
            Ok(_) => Err(MemoryError::Unmapped),
            Err(error) => Err(match Errno::from_io_error(&error).unwrap_or(Errno::IO) {
                Errno::IO | Errno::FAULT => MemoryError::Unmapped,
                other => MemoryError::Os(other),
            }),
        }
    }

    /// As [`Self::read`], `N` bytes.
    pub fn bytes<const N: usize>(&self, address: u64) -> Result<[u8; N], MemoryError> {
        let mut bytes = [0; N];
        self.read(address, &mut bytes)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    #[test]
    fn an_address_without_memory_is_an_error() {
        let own = ProcessMemory::open(File::open("/proc/self").unwrap()).unwrap();
        let number = 0x1122_3344_5566_7788_u64;
        assert_eq!(own.bytes(&raw const number as u64), Ok(number.to_ne_bytes()));
        for address in [0, 8, u64::MAX, u64::MAX - 7, 0xffff_8000_0000_0000] {
            assert_eq!(own.bytes::<8>(address), Err(MemoryError::Unmapped), "{address:#x}");
        }
    }

    #[test]
    fn a_process_that_executes_another_program_has_ended() {
        let mut child = Command::new("sh")
            .args(["-c", "read line; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let directory = File::open(format!("/proc/{}", child.id())).unwrap();
        let before = ProcessMemory::open(&directory).unwrap();
        assert_eq!(before.bytes::<8>(8), Err(MemoryError::Unmapped));
        // The program that it executes prints the byte.
        let mut input = child.stdin.take().unwrap();
        input.write_all(b"go\nx").unwrap();
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        assert_eq!(before.bytes::<8>(8), Err(MemoryError::Ended), "it executed another program");
        let after = ProcessMemory::open(&directory).unwrap();
        assert_eq!(after.bytes::<8>(8), Err(MemoryError::Unmapped));
        drop(input);
        child.wait().unwrap();
        assert_eq!(after.bytes::<8>(8), Err(MemoryError::Ended));
        assert_eq!(ProcessMemory::open(&directory).err(), Some(MemoryError::Ended));
    }
}
