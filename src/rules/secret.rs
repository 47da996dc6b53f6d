//! Counters that may contain secrets: they are not exported, whatever the rules say.

/// Properties that identify the JVM, and contain nothing of its program and arguments.
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

/// The prefix of further such properties, which differ between releases.
const SPECIFICATION: &str = "java.property.java.vm.specification.";

/// Whether the counter's value may contain a secret: arguments and flags (which include `JAVA_TOOL_OPTIONS`), the
/// command line, paths, unknown properties, and the JMX agent's address, to which anyone can connect.
pub(crate) fn is_secret(name: &str) -> bool {
    match name {
        "java.rt.vmArgs" | "java.rt.vmFlags" | "sun.rt.javaCommand" => true,
        _ if name.starts_with("sun.management.JMXConnectorServer.") => true,
        _ if name.starts_with("java.property.") || name.starts_with("sun.property.") => !is_known_property(name),
        _ => false,
    }
}

/// Whether the property identifies the JVM: `derive` exports these as information.
pub(crate) fn is_known_property(name: &str) -> bool {
    PROPERTIES.contains(&name) || name.starts_with(SPECIFICATION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_properties_that_identify_the_jvm_are_exported() {
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
