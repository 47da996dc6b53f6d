//! The SIGBUS guard: a fault in a registered range becomes a page of zeros and a mark; any other keeps its previous action.
//!
//! The handler does two things only, both safe in a signal handler: it reads and writes atomics of a fixed table, and it
//! calls `mmap` to put an anonymous page of zeros over the one that faulted. A marked range is never read again.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::{mem::MaybeUninit, sync::Once};

/// Ranges that can be guarded at one time; further regions are read with `pread`.
const CAPACITY: usize = 4096;

struct GuardSlot {
    /// 0 in a free slot.
    start: AtomicUsize,
    end: AtomicUsize,
    faulted: AtomicBool,
}

static SLOTS: [GuardSlot; CAPACITY] =
    [const { GuardSlot { start: AtomicUsize::new(0), end: AtomicUsize::new(0), faulted: AtomicBool::new(false) } };
        CAPACITY];

/// A guarded range, until it is dropped.
#[derive(Debug)]
pub(super) struct Registration {
    slot: usize,
}

/// Guards `length` bytes from the address `start`. `None` when the table is full.
pub(super) fn register(start: usize, length: usize) -> Option<Registration> {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(install);
    let end = start.checked_add(length)?;
    let slot = SLOTS
        .iter()
        .position(|slot| slot.start.compare_exchange(0, start, Ordering::AcqRel, Ordering::Relaxed).is_ok())?;
    let entry = SLOTS.get(slot)?;
    entry.faulted.store(false, Ordering::Relaxed);
    entry.end.store(end, Ordering::Release);
    Some(Registration { slot })
}

impl Registration {
    /// Whether a load from the range hit a page that the file no longer has.
    pub(super) fn faulted(&self) -> bool {
        SLOTS.get(self.slot).is_none_or(|slot| slot.faulted.load(Ordering::Acquire))
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(slot) = SLOTS.get(self.slot) {
            slot.end.store(0, Ordering::Release);
            slot.start.store(0, Ordering::Release);
        }
    }
}

static PREVIOUS: PreviousAction = PreviousAction(std::cell::UnsafeCell::new(MaybeUninit::uninit()));

/// The previous action of SIGBUS: the stack overflow report of Rust's runtime, usually.
struct PreviousAction(std::cell::UnsafeCell<MaybeUninit<libc::sigaction>>);

// SAFETY: written once inside `install`, under its `Once`, before the handler can run; only read afterwards.
unsafe impl Sync for PreviousAction {}

fn install() {
    // SAFETY: `action` is a valid zeroed sigaction whose handler has the SA_SIGINFO signature; the previous action is
    // stored before any range is registered, so before the handler can find one.
    unsafe {
        libc::sigaction(libc::SIGBUS, std::ptr::null(), PREVIOUS.0.get().cast());
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_sigbus as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut());
    }
}

extern "C" fn on_sigbus(_signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo to an SA_SIGINFO handler, and for SIGBUS it carries the address.
    let address = unsafe { (*info).si_addr() } as usize;
    if !cover(address) {
        // SAFETY: `PREVIOUS` was filled by `install`. With the previous action restored, the fault repeats and takes that.
        unsafe { libc::sigaction(libc::SIGBUS, PREVIOUS.0.get().cast(), std::ptr::null_mut()) };
    }
}

/// Puts zeros over the page of `address` if a registered range holds it.
fn cover(address: usize) -> bool {
    let Some(slot) = SLOTS.iter().find(|slot| {
        let start = slot.start.load(Ordering::Acquire);
        start != 0 && start <= address && address < slot.end.load(Ordering::Acquire)
    }) else {
        return false;
    };
    // SAFETY: sysconf has no preconditions. (It only reads a constant, on Linux.)
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096).max(1);
    let base = address & !page.wrapping_sub(1);
    slot.faulted.store(true, Ordering::Release);
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
    // SAFETY: `base` is the page that faulted, inside a range that its owner has mapped and keeps mapped while it is
    // registered; only the loads of `Mapping` and `ChangeDetector` use it, and they accept any value.
    let covered = unsafe { libc::mmap(base as *mut libc::c_void, page, libc::PROT_READ, flags, -1, 0) };
    covered != libc::MAP_FAILED
}
