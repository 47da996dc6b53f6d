//! The kubelet's names for the logs of containers: `POD_NAMESPACE_CONTAINER-ID.log` in /var/log/containers, links to
//! `NAMESPACE_POD_UID/CONTAINER/0.log` in /var/log/pods.
//!
//! Both texts say the same, and where they do not, nothing is believed. The links are read and not followed.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{CWD, Dir, Mode, OFlags, fstat, openat, readlinkat};
use rustix::io::Errno;

/// Most names that are examined; a node has 110 pods by default, and keeps logs of a few ended containers of each.
const NAMES: usize = 50_000;

/// Most bytes of the name of a pod, a namespace or a container (DNS subdomain).
const NAME_MAXIMUM: usize = 253;

/// When the directory was changed last: seconds and nanoseconds.
pub(super) type Changed = (i64, i64);

/// Which container a log is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ContainerLog {
    pub(super) pod: String,
    pub(super) namespace: String,
    pub(super) container: String,
    /// The pod's uid, by the link.
    pub(super) uid: Option<String>,
}

/// The logs of these containers, by id, and when the directory was changed before it was read. `None` for logs if nothing
/// has changed `since`.
///
/// # Errors
/// The directory cannot be read.
pub(super) fn find(
    directory: &Path,
    ids: &HashSet<String>,
    since: Option<Changed>,
) -> Result<(Option<HashMap<String, ContainerLog>>, Changed), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let directory = openat(CWD, directory, flags, Mode::empty())?;
    let stat = fstat(&directory)?;
    let changed = (stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or_default());
    if since == Some(changed) {
        return Ok((None, changed));
    }
    let mut found: HashMap<String, Option<ContainerLog>> = HashMap::new();
    for entry in Dir::read_from(&directory)?.take(NAMES) {
        let entry = entry?;
        let Some((id, mut log)) = entry.file_name().to_str().ok().and_then(parse_name) else { continue };
        if !ids.contains(id) {
            continue;
        }
        let agrees = match readlinkat(&directory, entry.file_name(), Vec::new()) {
            Ok(target) => log.confirm(target.to_bytes()),
            // A file of its own says nothing more.
            Err(Errno::INVAL) => true,
            Err(_) => false,
        };
        // Two logs of one container are a contradiction too.
        let log = (agrees && !found.contains_key(id)).then_some(log);
        found.insert(id.to_owned(), log);
    }
    let logs = found.into_iter().filter_map(|(id, log)| Some((id, log?)));
    Ok((Some(logs.collect()), changed))
}

impl ContainerLog {
    /// Takes the uid of the link's target; whether the target says the same as the name.
    fn confirm(&mut self, target: &[u8]) -> bool {
        let target = Path::new(OsStr::from_bytes(target));
        let mut components = target.iter().rev().skip(1).map(OsStr::to_str);
        let (Some(Some(container)), Some(Some(directory))) = (components.next(), components.next()) else {
            return false;
        };
        let mut parts = directory.split('_');
        let [Some(namespace), Some(pod), Some(uid), None] = [(); 4].map(|()| parts.next()) else { return false };
        self.uid = Some(uid.to_owned());
        (container, namespace, pod) == (&*self.container, &*self.namespace, &*self.pod)
    }
}

/// The container's id and what else a log's name says.
fn parse_name(name: &str) -> Option<(&str, ContainerLog)> {
    let (names, id) = name.strip_suffix(".log")?.rsplit_once('-')?;
    if id.len() != 64 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    // Names in Kubernetes have no `_`.
    let mut parts = names.split('_');
    let [Some(pod), Some(namespace), Some(container), None] = [(); 4].map(|()| parts.next()) else { return None };
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    let is_name = |name: &str| !name.is_empty() && name.len() <= NAME_MAXIMUM && name.bytes().all(legal);
    let log = ContainerLog {
        pod: pod.to_owned(),
        namespace: namespace.to_owned(),
        container: container.to_owned(),
        uid: None,
    };
    [pod, namespace, container].into_iter().all(is_name).then_some((id, log))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::symlink;

    use super::*;

    const UID: &str = "01234567-89ab-cdef-0123-456789abcdef";

    #[test]
    fn names_of_logs() {
        let id = "0a".repeat(32);
        let log = |name: &str| parse_name(name).map(|(_, log)| [log.pod, log.namespace, log.container].join(" "));
        assert_eq!(log(&format!("shop-7d4b-x2_prod_app-{id}.log")).as_deref(), Some("shop-7d4b-x2 prod app"));
        assert_eq!(log(&format!("a.b_c_d-e-{id}.log")).as_deref(), Some("a.b c d-e"));
        for bad in [
            format!("shop_prod_app-{id}"),
            format!("shop_prod_app-{}.log", &id[1..]),
            format!("shop_prod-{id}.log"),
            format!("a_b_c_d-{id}.log"),
            format!("_prod_app-{id}.log"),
            format!("sh\u{e4}p_prod_app-{id}.log"),
            format!("shop_prod_a\"pp-{id}.log"),
            format!("{}_prod_app-{id}.log", "x".repeat(254)),
            String::new(),
        ] {
            assert_eq!(log(&bad), None, "{bad}");
        }
    }

    #[test]
    fn contradictions_are_not_believed() {
        let directory = tempfile::tempdir().unwrap();
        let ids: Vec<String> = ["1a", "2b", "3c", "4d", "5e", "6f"].map(|digits| digits.repeat(32)).into();
        let name = |pod: &str, id: &str| directory.path().join(format!("{pod}_prod_app-{id}.log"));
        symlink(format!("/var/log/pods/prod_a_{UID}/app/0.log"), name("a", &ids[0])).unwrap();
        symlink(format!("/var/log/pods/prod_other_{UID}/app/0.log"), name("b", &ids[1])).unwrap();
        std::fs::write(name("c", &ids[2]), "").unwrap();
        symlink(format!("/var/log/pods/prod_d_{UID}/app/0.log"), name("d", &ids[3])).unwrap();
        symlink(format!("/var/log/pods/prod_e_{UID}/app/0.log"), name("e", &ids[3])).unwrap();
        symlink("0.log", name("f", &ids[4])).unwrap();
        symlink(format!("/var/log/pods/prod_g_{UID}/app/0.log"), name("g", &ids[5])).unwrap();
        let wanted: HashSet<String> = ids.iter().take(5).cloned().collect();
        let (logs, changed) = find(directory.path(), &wanted, None).unwrap();
        let logs = logs.unwrap();
        let mut found: Vec<_> = logs.values().map(|log| (&*log.pod, log.uid.as_deref())).collect();
        found.sort_unstable();
        assert_eq!(found, [("a", Some(UID)), ("c", None)]);
        assert_eq!(find(directory.path(), &wanted, Some(changed)).unwrap().0, None, "it is not read again");
        assert_eq!(find(&directory.path().join("none"), &wanted, None).unwrap_err(), Errno::NOENT);
    }
}
