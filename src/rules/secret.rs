//! Counters that may hold secrets: never exported, whatever the rules say.

/// Properties that say which JVM this is and nothing about what it runs or how it was called.
const PROPERTIES: [&str; 8] = [
    "java.property.java.version",
    "java.property.java.vm.name",
    "java.property.java.vm.vendor",
    "java.property.java.vm.version",
    "java.property.java.vm.info",
    "java.property.jdk.debug",
    "sun.property.java.version",
    "sun.property.jdk.debug",
];

/// The prefix of harmless properties that differ between releases.
const SPECIFICATION: &str = "java.property.java.vm.specification.";

/// Whether the counter's value may hold a secret: arguments and flags (which include `JAVA_TOOL_OPTIONS`), the command
/// line, paths and unknown properties, and the JMX agent's address, which is a live connector URL.
pub(crate) fn is_secret(name: &str) -> bool {
    match name {
        "java.rt.vmArgs" | "java.rt.vmFlags" | "sun.rt.javaCommand" => true,
        _ if name.starts_with("sun.management.JMXConnectorServer.") => true,
        _ if name.starts_with("java.property.") || name.starts_with("sun.property.") => !is_known_property(name),
        _ => false,
    }
}

/// Whether the string says which JVM this is: what `derive` makes information of.
pub(crate) fn is_known_property(name: &str) -> bool {
    PROPERTIES.contains(&name) || name.starts_with(SPECIFICATION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_names_the_jvm_is_let_through() {
        for (name, secret) in [
            ("java.rt.vmArgs", true),
            ("java.rt.vmFlags", true),
            ("sun.rt.javaCommand", true),
            ("java.property.java.class.path", true),
            ("java.property.java.home", true),
            ("java.property.com.example.token", true),
            ("sun.property.sun.boot.library.path", true),
            ("sun.management.JMXConnectorServer.0.remoteAddress", true),
            ("java.property.java.version", false),
            ("java.property.java.vm.specification.vendor", false),
            ("java.property.jdk.debug", false),
            ("sun.gc.cause", false),
            ("com.example.queue.depth", false),
        ] {
            assert_eq!(is_secret(name), secret, "{name}");
        }
    }
}
