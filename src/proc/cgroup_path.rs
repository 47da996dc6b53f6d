//! `/proc/PID/cgroup`: the systemd unit or container that a process belongs to.

/// The service of a process: `orders` for `/system.slice/orders.service`, systemd's escapes undone.
pub(crate) fn unit(cgroup: &str) -> Option<String> {
    paths(cgroup).find_map(|path| {
        let name = path.strip_prefix("/system.slice/")?.rsplit('/').next()?.strip_suffix(".service")?;
        Some(unescape(name))
    })
}

/// The 64 hexadecimal digits by which Docker, containerd, CRI-O and Podman know a container.
pub(crate) fn container(cgroup: &str) -> Option<String> {
    paths(cgroup).find_map(|path| {
        path.rsplit('/').find_map(|part| {
            let id = part.strip_suffix(".scope").unwrap_or(part).rsplit(['-', ':']).next()?;
            (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_owned())
        })
    })
}

/// The uid of the Kubernetes pod: of `kubepods/burstable/pod<uid>`, and of systemd's `kubepods-burstable-pod<uid>.slice`,
/// where `_` stands for `-`.
pub(crate) fn pod(cgroup: &str) -> Option<String> {
    paths(cgroup).filter(|path| path.contains("kubepods")).find_map(|path| {
        path.split(['/', ':']).find_map(|part| {
            let part = part.strip_suffix(".slice").unwrap_or(part);
            let uid = part.rsplit_once("pod")?.1.replace('_', "-");
            let is_uid = uid.len() == 36 && uid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
            is_uid.then_some(uid)
        })
    })
}

/// The paths of version 2 (`0::/path`) and of every version 1 hierarchy (`1:name=systemd:/path`).
fn paths(cgroup: &str) -> impl Iterator<Item = &str> {
    cgroup.lines().filter_map(|line| line.splitn(3, ':').nth(2))
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
            assert_eq!(unit(&cgroup).as_deref(), expected_unit, "{cgroup}");
            assert_eq!(container(&cgroup).is_some_and(|found| found == id), in_container, "{cgroup}");
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
            (format!("0::/kubepods/pod1/{id}"), None),
            (format!("0::/machine.slice/pod{uid}"), None),
        ] {
            assert_eq!(pod(&cgroup).as_deref(), expected, "{cgroup}");
        }
        assert_eq!(unescape("a\\x2db\\xzz\\x"), "a-b\\xzz\\x");
    }
}
