//! Questions with the credentials of the JVM's own user.
//!
//! JDK 8 refuses root, and a JVM in a user namespace sees every uid outside it as nobody, root too. The kernel takes a
//! socket's peer credentials from the thread that calls `connect`, so a thread with the JVM's ids is enough. On Linux
//! ids belong to threads; the wrappers of libc change all of them, the raw calls one.

use std::thread;

use rustix::process::{Gid, Uid, getegid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::AttachError;

/// Does `work` with these effective ids where that is allowed, else with the exporter's own: JDK 11 and later accept
/// root, and the kernel or the JVM refuses anything else with its own error. With other ids the work has its own thread.
pub(super) fn as_user<T: Send>(
    uid: u32,
    gid: u32,
    work: impl FnOnce() -> Result<T, AttachError> + Send,
) -> Result<T, AttachError> {
    if geteuid().as_raw() == uid && getegid().as_raw() == gid {
        return work();
    }
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("attach-as-user".to_owned()).spawn_scoped(scope, || {
            assume(Uid::from_raw(uid), Gid::from_raw(gid));
            work()
        })?;
        thread.join().unwrap_or(Err(AttachError::Internal))
    })
}

/// Takes the ids, groups first: without the uid's privilege they cannot be changed any more. A refusal (EPERM)
/// leaves the thread with fewer rights or the same, never more.
fn assume(uid: Uid, gid: Gid) {
    if set_thread_groups(&[]).is_ok() && set_thread_res_gid(gid, gid, gid).is_ok() {
        let _ = set_thread_res_uid(uid, uid, uid);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn ids_are_taken_by_one_thread_only() {
        let before = (geteuid(), getegid());
        let inside = as_user(65534, 65534, || Ok((geteuid(), getegid()))).unwrap();
        if before.0.is_root() {
            assert_eq!((inside.0.as_raw(), inside.1.as_raw()), (65534, 65534));
        }
        assert_eq!((geteuid(), getegid()), before);
    }
}
