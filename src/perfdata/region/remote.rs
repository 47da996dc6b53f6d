//! The memory of another process, copied by the kernel: process_vm_readv(2).
//!
//! It neither stops nor slows that process, needs no trace of it, and cannot fault us: an address that is not there is
//! an error. It takes ptrace(2)'s access mode `PTRACE_MODE_ATTACH_REALCREDS`: the same user and group and a dumpable
//! process, and under Yama's `ptrace_scope` 1 and 2 `CAP_SYS_PTRACE`, which also opens the processes of other users.

/// The memory of a process, by its number in this process's own pid namespace.
///
/// The number may have passed to another process meanwhile: what is read proves nothing about whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    pid: i32,
}

/// Why another process's memory could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// No process has that number, or it is dead and not yet waited for.
    #[error("the process has ended")]
    Ended,
    /// The process has nothing at some of the addresses: it runs another program now, or they were wrong.
    #[error("the process has no memory at that address")]
    Unmapped,
    /// The kernel refuses.
    #[error("the kernel refuses to read that process; grant CAP_SYS_PTRACE")]
    Denied,
    /// Another error of the operating system, by its number.
    #[error("process_vm_readv: {}", std::io::Error::from_raw_os_error(*.0))]
    Os(i32),
}

impl Memory {
    /// The memory of the process of that number. Nothing is asked of the kernel yet.
    pub fn of(pid: i32) -> Self {
        Self { pid }
    }

    /// Fills `into` with what lies at `address`, in one system call, all of it from one program: a process that
    /// executes another one meanwhile keeps its old memory until the call is over. Words that are being written may be
    /// torn.
    ///
    /// # Errors
    /// See [`MemoryError`]; `into` is then undefined.
    pub fn read(&self, address: u64, into: &mut [u8]) -> Result<(), MemoryError> {
        let Ok(base) = usize::try_from(address) else { return Err(MemoryError::Unmapped) };
        let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
        let remote = libc::iovec { iov_base: base as *mut libc::c_void, iov_len: into.len() };
        // SAFETY: `local` is `into`, exclusively borrowed and writable for its whole length, and any bytes are valid in
        // it. `remote` is never dereferenced here: the kernel resolves it in the other process and only reads there.
        let copied = unsafe { libc::process_vm_readv(self.pid, &raw const local, 1, &raw const remote, 1, 0) };
        match usize::try_from(copied) {
            Ok(copied) if copied == into.len() => Ok(()),
            Ok(_) => Err(MemoryError::Unmapped),
            Err(_) => Err(match std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO) {
                libc::ESRCH => MemoryError::Ended,
                libc::EFAULT => MemoryError::Unmapped,
                libc::EPERM => MemoryError::Denied,
                other => MemoryError::Os(other),
            }),
        }
    }

    /// `N` bytes at `address`.
    ///
    /// # Errors
    /// As for [`Self::read`].
    pub fn bytes<const N: usize>(&self, address: u64) -> Result<[u8; N], MemoryError> {
        let mut bytes = [0; N];
        self.read(address, &mut bytes)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    /// The memory of this very process, which everybody may read.
    fn own() -> Memory {
        Memory::of(i32::try_from(std::process::id()).unwrap())
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        let number = 0x1122_3344_5566_7788_u64;
        assert_eq!(own().bytes(&raw const number as u64), Ok(number.to_ne_bytes()));
        for address in [0, 8, u64::MAX, u64::MAX - 7, 0xffff_8000_0000_0000] {
            assert_eq!(own().bytes::<8>(address), Err(MemoryError::Unmapped), "{address:#x}");
        }
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        let pid = i32::try_from(ended.id()).unwrap();
        ended.wait().unwrap();
        assert_eq!(Memory::of(pid).bytes::<8>(4096), Err(MemoryError::Ended));
    }
}
