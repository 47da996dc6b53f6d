//! The commands that a JVM is asked.

use strum::{IntoStaticStr, VariantArray};

/// Every command that a JVM is ever asked. The list is closed: nothing of the configuration, the region or a reply becomes
/// part of a request.
///
/// None of them needs a safepoint, starts a thread, loads a class, changes anything, or returns properties, arguments or
/// the environment (measured on JDK 8 to 27). So `VM.metaspace` is asked with `basic` only, and `VM.flags` without `-all`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
pub enum AttachCommand {
    /// Native memory by category, in bytes (JDK 11 and later).
    #[strum(serialize = "VM.native_memory summary scale=b")]
    NativeMemoryBytes,
    /// The same in kibibytes.
    #[strum(serialize = "VM.native_memory summary scale=KB")]
    NativeMemoryKibibytes,
    /// The heap; up to JDK 24 metaspace too. Waits for a collection that is running.
    #[strum(serialize = "GC.heap_info")]
    HeapInfo,
    /// Code heaps and the state of the compilers (JDK 11 and later).
    #[strum(serialize = "Compiler.codecache")]
    CodeCache,
    /// Metaspace; in whole kibibytes from JDK 25 on.
    #[strum(serialize = "VM.metaspace basic")]
    MetaspaceBasic,
    /// Flags that are not at their default.
    #[strum(serialize = "VM.flags")]
    Flags,
}

impl AttachCommand {
    /// The line that `jcmd` would send.
    pub fn line(self) -> &'static str {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A new command has to be judged here: does it stop the application, change anything, or tell a secret?
    #[test]
    fn the_list_of_commands_is_closed() {
        let lines: Vec<_> = AttachCommand::VARIANTS.iter().map(|command| command.line()).collect();
        assert_eq!(
            lines,
            [
                "VM.native_memory summary scale=b",
                "VM.native_memory summary scale=KB",
                "GC.heap_info",
                "Compiler.codecache",
                "VM.metaspace basic",
                "VM.flags",
            ]
        );
    }
}
