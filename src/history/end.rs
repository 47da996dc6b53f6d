//! How JVMs end.

use serde::{Deserialize, Serialize};

/// When and how a JVM ended.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub struct End {
    /// When its end was seen, in seconds since the epoch.
    pub at: f64,
    /// How, as far as the kernel and the JVM's file tell.
    pub how: HowEnded,
}

/// How a JVM ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum HowEnded {
    /// It removed its file, as a JVM does that exits.
    Exited,
    /// It left its file behind.
    Killed,
    /// Its cgroup counted a kill for lack of memory at that time.
    OutOfMemory,
    /// Nothing tells.
    Unknown,
}

/// What shows how a JVM ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct EndSigns {
    /// Whether its file has lost its name; `None` where it had no file.
    pub unlinked: Option<bool>,
    /// Somebody else may have removed its file: a JVM that starts removes what others in its directory left behind.
    pub has_successor: bool,
    /// Whether its cgroup counted a kill for lack of memory.
    pub oom_kill: Option<bool>,
}

impl EndSigns {
    /// What they say. `was_unlinked`: the file had lost its name while the JVM ran.
    pub(super) fn how(self, was_unlinked: bool) -> HowEnded {
        match self.unlinked {
            // A JVM that is killed removes nothing; the kill was another's.
            Some(true) if !was_unlinked && !self.has_successor => HowEnded::Exited,
            _ if self.oom_kill == Some(true) => HowEnded::OutOfMemory,
            Some(false) => HowEnded::Killed,
            _ => HowEnded::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sign_is_not_taken_for_the_truth() {
        let signs = |unlinked, has_successor, oom_kill| EndSigns { unlinked, has_successor, oom_kill };
        for (signs, was_unlinked, expected, why) in [
            (signs(Some(true), false, None), false, HowEnded::Exited, "it removed its file"),
            (signs(Some(true), false, Some(true)), false, HowEnded::Exited, "the kill was another's"),
            (signs(Some(true), true, Some(false)), false, HowEnded::Unknown, "its successor may have"),
            (signs(Some(true), true, Some(true)), false, HowEnded::OutOfMemory, "and a kill was counted"),
            (signs(Some(true), false, None), true, HowEnded::Unknown, "it had none while it ran"),
            (signs(Some(false), true, Some(false)), false, HowEnded::Killed, "it left its file"),
            (signs(Some(false), false, Some(true)), false, HowEnded::OutOfMemory, "and a kill was counted"),
            (signs(None, false, None), false, HowEnded::Unknown, "no file, no cgroup"),
        ] {
            assert_eq!(signs.how(was_unlinked), expected, "{why}");
        }
    }
}
