//! The flags on a JVM's command line that decide whether there is a region file. Nothing else of the command line is
//! kept: it may hold secrets.

/// Options of the `java` launcher whose value is the next argument (java.c, IsWhiteSpaceOption, JDK 8 to 27).
const WITH_VALUE: [&[u8]; 13] = [
    b"-cp",
    b"-classpath",
    b"--class-path",
    b"-p",
    b"--module-path",
    b"--upgrade-module-path",
    b"--add-modules",
    b"--limit-modules",
    b"--add-reads",
    b"--add-exports",
    b"--add-opens",
    b"--patch-module",
    b"--enable-native-access",
];

/// The flags; of several of one name the last counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PerfDataFlags {
    /// `-XX:-UsePerfData`
    pub(super) disabled: bool,
    /// `-XX:+PerfDisableSharedMem`
    pub(super) private_memory: bool,
    /// `-XX:AltTempDir=` (JDK-8384557)
    pub(super) other_tmp: bool,
}

impl PerfDataFlags {
    /// Parses a `/proc/PID/cmdline` up to the main class, jar or module: what follows are the program's own arguments.
    pub(super) fn parse(cmdline: &[u8]) -> Self {
        let mut flags = Self::default();
        let mut arguments = cmdline.split(|byte| *byte == 0).skip(1);
        while let Some(argument) = arguments.next() {
            match argument {
                b"-XX:-UsePerfData" => flags.disabled = true,
                b"-XX:+UsePerfData" => flags.disabled = false,
                b"-XX:+PerfDisableSharedMem" => flags.private_memory = true,
                b"-XX:-PerfDisableSharedMem" => flags.private_memory = false,
                b"-jar" | b"-m" | b"--module" => break,
                value if value.starts_with(b"-XX:AltTempDir=") => flags.other_tmp = true,
                option if WITH_VALUE.contains(&option) => {
                    arguments.next();
                }
                main if !main.starts_with(b"-") && !main.starts_with(b"@") => break,
                _ => {}
            }
        }
        flags
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_jvms_own_arguments_count_and_the_last_one_wins() {
        let none = PerfDataFlags::default();
        for (line, expected) in [
            ("java -XX:-UsePerfData Main", PerfDataFlags { disabled: true, ..none }),
            ("java -XX:-UsePerfData -XX:+UsePerfData Main", none),
            ("java -cp a.jar -XX:+PerfDisableSharedMem Main", PerfDataFlags { private_memory: true, ..none }),
            ("java @args -XX:AltTempDir=/x -jar a.jar", PerfDataFlags { other_tmp: true, ..none }),
            ("java Main -XX:-UsePerfData", none),
            ("java -jar a.jar -XX:-UsePerfData", none),
            ("-XX:-UsePerfData", none),
            ("", none),
        ] {
            assert_eq!(PerfDataFlags::parse(line.replace(' ', "\0").as_bytes()), expected, "{line}");
        }
    }
}
