//! `/proc/PID/cgroup`: the control groups of a process, and the systemd unit, container or pod that they belong to.

use std::os::fd::AsFd;

use rustix::io::Errno;

use super::stat::{STATUS_MAXIMUM, read};

/// The control groups of a process: one in each hierarchy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CgroupPaths(String);

/// The control group of a process in one hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CgroupPath<'a> {
    /// The controllers of a version 1 hierarchy, separated by commas; empty for version 2, which has all of them.
    pub(super) controllers: &'a str,
    /// The group, from the root of the hierarchy as the exporter's cgroup namespace shows it.
    pub(crate) path: &'a str,
}

impl<'a> CgroupPath<'a> {
    /// Another group of the same hierarchy.
    pub(crate) fn at(self, path: &'a str) -> Self {
        Self { path, ..self }
    }

    /// Whether this is the unified hierarchy, version 2.
    pub(crate) fn is_unified(&self) -> bool {
        self.controllers.is_empty()
    }
}

impl CgroupPaths {
    /// Reads the `cgroup` of the process of this directory.
    ///
    /// # Errors
    /// See [`read`].
    pub(crate) fn read(directory: impl AsFd) -> Result<Self, Errno> {
        Ok(Self::parse(&read(directory, "cgroup", STATUS_MAXIMUM)?))
    }

    /// Takes the text of a `cgroup`; invalid UTF-8 is replaced.
    pub(crate) fn parse(text: &[u8]) -> Self {
        Self(String::from_utf8_lossy(text).into_owned())
    }

    /// The path in version 2 (`0::/path`) and in every version 1 hierarchy (`1:name=systemd:/path`).
    fn groups(&self) -> impl Iterator<Item = CgroupPath<'_>> {
        self.0.lines().filter_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            Some(CgroupPath { controllers, path })
        })
    }

    /// The group that `controller` governs: in its version 1 hierarchy if there is one, else in the unified one.
    pub(crate) fn governed_by(&self, controller: &str) -> Option<CgroupPath<'_>> {
        let own = self.groups().find(|group| group.controllers.split(',').any(|name| name == controller));
        own.or_else(|| self.groups().find(CgroupPath::is_unified))
    }

    /// The systemd service: `orders` for `/system.slice/orders.service`, with systemd's escapes undone.
    pub(crate) fn unit(&self) -> Option<String> {
        self.groups().find_map(|group| {
            let name = group.path.strip_prefix("/system.slice/")?.rsplit('/').next()?.strip_suffix(".service")?;
            Some(unescape(name))
        })
    }

    /// The container's id: 64 hexadecimal digits with Docker, containerd, CRI-O and Podman.
    pub(crate) fn container_id(&self) -> Option<String> {
        self.groups().find_map(|group| {
            group.path.rsplit('/').find_map(|part| {
                let id = part.strip_suffix(".scope").unwrap_or(part).rsplit(['-', ':']).next()?;
                (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_owned())
            })
        })
    }

    /// The uid of the Kubernetes pod, from `kubepods/burstable/pod<uid>` or from systemd's
    /// `kubepods-burstable-pod<uid>.slice`, where `_` replaces `-`.
    pub(crate) fn pod_uid(&self) -> Option<String> {
        // Seen from another pod's cgroup namespace the path begins below `kubepods`.
        let is_pod = |group: &CgroupPath<'_>| group.path.contains("kubepods") || group.path.starts_with("/../");
        self.groups().filter(is_pod).find_map(|group| {
            group.path.split(['/', ':']).find_map(|part| {
                let part = part.strip_suffix(".slice").unwrap_or(part);
                let uid = part.rsplit_once("pod")?.1.replace('_', "-");
                let is_uid = uid.len() == 36 && uid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
                is_uid.then_some(uid)
            })
        })
    }
}

impl CgroupPaths {
    /// Whether the process is in another container beside the exporter's own: of the same parent as the root of the
    /// exporter's cgroup namespace, which the container runtime makes for each container.
    pub(crate) fn is_beside(&self) -> bool {
        let beside =
            |group: CgroupPath<'_>| group.path.strip_prefix("/../").is_some_and(|rest| !rest.starts_with(".."));
        self.container_id().is_some() && self.groups().any(beside)
    }
}

/// Undoes `\x2d` (systemd.unit(5), string escaping).
fn unescape(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some((before, after)) = rest.split_once("\\x") {
        out.push_str(before);
        match after.get(..2).and_then(|code| u8::from_str_radix(code, 16).ok()).filter(u8::is_ascii) {
            Some(byte) => {
                out.push(byte.into());
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.push_str("\\x");
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_containers() {
        let id = "0123456789abcdef".repeat(4);
        for (cgroup, expected_unit, in_container) in [
            ("0::/system.slice/orders.service".to_owned(), Some("orders"), false),
            ("0::/system.slice/system-app.slice/app@blue.service\n".to_owned(), Some("app@blue"), false),
            ("4:memory:/x\n1:name=systemd:/system.slice/my\\x2dapp.service".to_owned(), Some("my-app"), false),
            ("0::/user.slice/user-0.slice/session-1.scope".to_owned(), None, false),
            (format!("0::/system.slice/docker-{id}.scope"), None, true),
            (format!("0::/docker/{id}"), None, true),
            (format!("0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-{id}.scope"), None, true),
            (format!("0::/kubepods/burstable/pod1/{id}"), None, true),
            (format!("0::/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:{id}"), None, true),
            (format!("0::/machine.slice/libpod-{id}.scope/container"), None, true),
            ("0::/".to_owned(), None, false),
            (String::new(), None, false),
        ] {
            let paths = CgroupPaths::parse(cgroup.as_bytes());
            assert_eq!(paths.unit().as_deref(), expected_unit, "{cgroup}");
            assert_eq!(paths.container_id().is_some_and(|found| found == id), in_container, "{cgroup}");
        }
        let uid = "01234567-89ab-cdef-0123-456789abcdef";
        let slice = uid.replace('-', "_");
        for (cgroup, expected) in [
            (format!("0::/kubepods/burstable/pod{uid}/{id}"), Some(uid)),
            (format!("0::/kubepods.slice/kubepods-pod{slice}.slice/cri-containerd-{id}.scope"), Some(uid)),
            (
                format!("0::/system.slice/containerd.service/kubepods-besteffort-pod{slice}.slice:cri-containerd:{id}"),
                Some(uid),
            ),
            (format!("0::/../../pod{uid}/{id}"), Some(uid)),
            (format!("0::/kubepods/pod1/{id}"), None),
            (format!("0::/machine.slice/pod{uid}"), None),
        ] {
            assert_eq!(CgroupPaths::parse(cgroup.as_bytes()).pod_uid().as_deref(), expected, "{cgroup}");
        }
        for (cgroup, expected) in [
            (format!("0::/../cri-containerd-{id}.scope"), true),
            (format!("0::/../{id}"), true),
            (format!("0::/../../pod{uid}/{id}"), false),
            (format!("0::/kubepods/pod{uid}/{id}"), false),
            ("0::/../init".to_owned(), false),
        ] {
            assert_eq!(CgroupPaths::parse(cgroup.as_bytes()).is_beside(), expected, "{cgroup}");
        }
        assert_eq!(unescape("a\\x2db\\xzz\\x"), "a-b\\xzz\\x");
    }
}
