//! The passwd file of a process's own root: HotSpot makes no region file for a user without an entry
//! (get_user_name, perfMemory_posix.cpp).

/// Bytes that are read; hosts with more users keep them in a directory service and not in the file.
pub(crate) const MAXIMUM: u64 = 4 << 20;

/// The name of the user with that id.
pub(crate) fn name_of(passwd: &[u8], uid: u32) -> Option<String> {
    String::from_utf8_lossy(passwd).lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// `uid` as the process's own user namespace numbers it, from the text of its `/proc/PID/uid_map`.
pub(crate) fn mapped_uid(uid_map: &str, uid: u32) -> Option<u32> {
    uid_map.lines().find_map(|line| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
        let (inside, outside, count) = (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
        let offset = uid.checked_sub(outside).filter(|offset| *offset < count)?;
        inside.checked_add(offset)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_by_number() {
        let passwd = b"root:x:0:0::/root:/bin/sh\n\nbroken\napp:x:1001:1001::/:/bin/sh\n\xff:x:7:7::/:/\n";
        for (uid, expected) in [(0, Some("root")), (1001, Some("app")), (7, Some("\u{fffd}")), (54321, None)] {
            assert_eq!(name_of(passwd, uid).as_deref(), expected, "{uid}");
        }
    }

    #[test]
    fn user_namespaces_shift_numbers() {
        let shifted = "         0     100000      65536\n";
        for (map, uid, expected) in [
            ("0 0 4294967295", 1001, Some(1001)),
            (shifted, 101_001, Some(1001)),
            (shifted, 1001, None),
            (shifted, 165_536, None),
            ("", 0, None),
            ("a b c", 0, None),
        ] {
            assert_eq!(mapped_uid(map, uid), expected, "{map} {uid}");
        }
    }
}
