//! What is read from a command line: an allow-list.
//!
//! `sun.rt.javaCommand` contains the program's arguments, and `java.rt.vmArgs` every system property, including those
//! of `JAVA_TOOL_OPTIONS`. Passwords are common in both, and neither is quoted, so they cannot be redacted reliably.
//! Nothing leaves this module but what its functions return.

use super::launch::{Launch, ProcessStart};

/// `PerfMaxStringConstLength`: HotSpot truncates strings to this many bytes.
pub(super) const STRING_MAXIMUM: usize = 1024;

/// The package of the class that compiles and runs a source file (`java Single.java`, JDK 11 and later).
const SOURCE_LAUNCHER: &str = "jdk.compiler/com.sun.tools.javac.launcher.";

/// What a command line says about the application.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ProgramIdentity {
    /// Main class as given (`a.b.Main`, `module/a.b.Main`), or the file name of the jar.
    pub(super) main: Option<String>,
    /// A name for the application.
    pub(super) app: Option<String>,
    /// The application's version, from the jar's name.
    pub(super) version: Option<String>,
    /// `app` is the name of a launcher, not of the application.
    pub(super) is_launcher: bool,
}

/// Classes that launch an application of another name; a trailing dot marks a package.
const LAUNCHERS: &[&str] = &[
    "clojure.main",
    "com.sun.tools.javac.launcher.",
    "io.quarkus.bootstrap.runner.",
    "org.apache.catalina.startup.Bootstrap",
    "org.apache.karaf.main.",
    "org.codehaus.plexus.classworlds.launcher.",
    "org.eclipse.equinox.launcher.",
    "org.eclipse.jetty.start.",
    "org.gradle.launcher.",
    "org.jboss.modules.",
    "org.springframework.boot.loader.",
    "org.tanukisoftware.wrapper.",
    "scala.tools.nsc.MainGenericRunner",
    "worker.org.gradle.process.internal.worker.",
];

/// Jars that launch an application of another name, and `app`, which container images use for any jar; without version.
const LAUNCHER_JARS: &[&str] = &["app", "jboss-modules", "quarkus-run", "start"];

/// The texts of a region that say how its JVM was launched.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RegionTexts<'a> {
    /// `sun.rt.javaCommand`
    pub(super) command: &'a str,
    /// `java.rt.vmArgs`
    pub(super) vm_args: &'a str,
    /// `java.property.java.class.path`: with `-jar`, the jar as it was given.
    pub(super) class_path: &'a str,
}

impl<'a> RegionTexts<'a> {
    /// The class that runs a source file, and what follows it.
    fn source_launcher(&self) -> Option<(&'a str, &'a str)> {
        let word = self.command.split_ascii_whitespace().next().filter(|word| word.starts_with(SOURCE_LAUNCHER))?;
        Some((word, self.command.trim_start().strip_prefix(word)?.trim_start()))
    }

    /// With the exact words of the process.
    pub(super) fn launch(&self, start: &'a ProcessStart) -> Launch<'a> {
        Launch::new(self.source_launcher().map_or(self.command, |(_, after)| after), self.vm_args, start)
    }
}

/// Reads the program from a region and its launch, and the first of `properties` that is set.
pub(super) fn identify(region: RegionTexts<'_>, launch: &Launch<'_>, properties: &[String]) -> ProgramIdentity {
    let program = match region.source_launcher() {
        Some((word, after)) => source(word, after, launch),
        None => exact(launch).or_else(|| program(region.command, region.class_path)),
    };
    let (main, from_main, version, is_launcher) = match program {
        None => (None, None, None, false),
        Some(Program::Class(class)) => {
            let (module, plain) = class.rsplit_once('/').unwrap_or(("", class));
            let simple = plain.rsplit('.').next().filter(|name| !name.is_empty());
            let name = if simple == Some("Main") && !module.is_empty() { Some(module) } else { simple };
            (Some(class), name, None, is_launcher(plain))
        }
        Some(Program::Module(module)) => (Some(module), Some(module), None, false),
        Some(Program::Source(file)) => (Some(file), Some(file.strip_suffix(".java").unwrap_or(file)), None, false),
        Some(Program::Jar(file)) => {
            let (stem, version) = split_version(without_extension(file));
            (Some(file), Some(stem).filter(|stem| !stem.is_empty()), version, LAUNCHER_JARS.contains(&stem))
        }
    };
    let named = launch.name(properties);
    ProgramIdentity {
        main: main.map(str::to_owned),
        is_launcher: is_launcher && named.is_none(),
        app: named.or_else(|| from_main.map(str::to_owned)),
        version: version.map(str::to_owned),
    }
}

fn is_launcher(class: &str) -> bool {
    LAUNCHERS.iter().any(|known| if known.ends_with('.') { class.starts_with(known) } else { class == *known })
}

/// What a JVM runs.
enum Program<'a> {
    Class(&'a str),
    /// A module that names its main class itself.
    Module(&'a str),
    /// The file name, without directories.
    Jar(&'a str),
    /// The file name of a source that the launcher compiles.
    Source(&'a str),
}

/// The program in the words of the process.
fn exact<'a>(launch: &Launch<'a>) -> Option<Program<'a>> {
    let (word, before) = (launch.program.first()?, launch.options.last()?);
    let module = word.strip_prefix("--module=").or(matches!(&**before, "-m" | "--module").then_some(word));
    match module {
        Some(module) if !module.contains('/') => Some(Program::Module(module)),
        Some(class) => Some(Program::Class(class)),
        None if launch.options.iter().any(|option| option == "-jar") => file_name(word).map(Program::Jar),
        None => Some(Program::Class(word)),
    }
}

/// The source that the launcher runs: the first word behind it, or a path that ends with `.java`.
fn source<'a>(launcher: &'a str, after: &'a str, launch: &Launch<'a>) -> Option<Program<'a>> {
    let told = || path_end(after, &[".java"]).and_then(|end| after.get(..end));
    let file = launch.program.first().map(String::as_str).or_else(told).and_then(file_name);
    Some(file.map_or(Program::Class(launcher), Program::Source))
}

/// The first token of a command. A path may contain blanks, and then is the class path, or ends with the first `.jar`
/// or `.war`.
fn program<'a>(command: &'a str, class_path: &'a str) -> Option<Program<'a>> {
    let word = command.split_ascii_whitespace().next()?;
    let rest = command.strip_prefix(class_path).filter(|_| is_archive(class_path));
    if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' ')) {
        return file_name(class_path).map(Program::Jar);
    }
    let is_path = word.starts_with(['/', '.']) || is_archive(word);
    if !is_path {
        return Some(Program::Class(word));
    }
    let command = command.trim_start();
    let path = path_end(command, &[".jar", ".war"]).and_then(|end| command.get(..end)).unwrap_or(word);
    file_name(path).map(Program::Jar)
}

fn file_name(path: &str) -> Option<&str> {
    path.rsplit('/').next().filter(|file| !file.is_empty())
}

fn is_archive(word: &str) -> bool {
    word.ends_with(".jar") || word.ends_with(".war")
}

/// The end of the path at the beginning of a command: that of the first suffix with a blank or nothing behind it.
/// Arguments may have that ending too, so none is found behind parts that are not of a path.
fn path_end(command: &str, suffixes: &[&str]) -> Option<usize> {
    let ends = suffixes.iter().flat_map(|suffix| command.match_indices(suffix));
    let ends = ends.map(|(at, suffix)| at.saturating_add(suffix.len()));
    let is_end = |end: &usize| command.get(*end..).is_none_or(|rest| rest.is_empty() || rest.starts_with(' '));
    let end = ends.filter(is_end).min()?;
    let path = command.get(..end).unwrap_or_default();
    let is_other = |part: &str| part.starts_with(['-', '/']) || part.contains(['=', '@', ':']);
    (!path.split(' ').skip(1).any(is_other)).then_some(end)
}

fn without_extension(file: &str) -> &str {
    file.strip_suffix(".jar").or_else(|| file.strip_suffix(".war")).unwrap_or(file)
}

/// Splits `app-1.2.3-SNAPSHOT`, `app-2` and `app-v1.0` into `app` and the version; `log4j-2-service` has no version.
fn split_version(stem: &str) -> (&str, Option<&str>) {
    for (at, _) in stem.match_indices('-') {
        let rest = stem.get(at..).unwrap_or_default().trim_start_matches('-');
        let rest = rest.strip_prefix('v').unwrap_or(rest);
        let tail = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let number = rest.strip_suffix(tail).unwrap_or_default();
        let is_version = number.starts_with(|c: char| c.is_ascii_digit())
            && (number.contains('.') || tail.is_empty() || tail.starts_with("-SNAPSHOT"));
        if is_version {
            return (stem.get(..at).unwrap_or_default(), Some(rest));
        }
    }
    (stem, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(command: &str, vm_args: &str) -> (String, String, bool) {
        launched(RegionTexts { command, vm_args, class_path: "" }, &[], &[])
    }

    /// Main, app, whether that is a launcher, by a region, the process's words, and variables.
    fn launched(
        region: RegionTexts<'_>,
        arguments: &[&str],
        variables: &[(&'static str, &str)],
    ) -> (String, String, bool) {
        let properties = ["otel.service.name".to_owned(), "spring.application.name".to_owned()];
        let start = ProcessStart {
            arguments: arguments.iter().map(|&word| word.to_owned()).collect(),
            variables: variables.iter().map(|&(name, value)| (name, value.to_owned())).collect(),
        };
        let ProgramIdentity { main, app, is_launcher, .. } = identify(region, &region.launch(&start), &properties);
        (main.unwrap_or_default(), app.unwrap_or_default(), is_launcher)
    }

    #[test]
    fn versions_of_jars() {
        for (command, version) in [
            ("/opt/shop/shop-1.2.3-SNAPSHOT.jar --db=u:p@h", Some("1.2.3-SNAPSHOT")),
            ("./build/libs/api-v2.1.war x", Some("2.1")),
            ("orders.jar", None),
            ("com.example.Orders-1.2", None),
        ] {
            let region = RegionTexts { command, ..RegionTexts::default() };
            let found = identify(region, &region.launch(&ProcessStart::default()), &[]);
            assert_eq!(found.version.as_deref(), version, "{command}");
        }
    }

    #[test]
    fn names_of_commands() {
        let table = [
            ("", "", "", false),
            ("   ", "", "", false),
            ("com.example.Orders --token=abc", "com.example.Orders", "Orders", false),
            ("com.example.Outer$Main", "com.example.Outer$Main", "Outer$Main", false),
            ("Alloc 20 60000", "Alloc", "Alloc", false),
            ("shop.core/com.example.Shop x", "shop.core/com.example.Shop", "Shop", false),
            ("/opt/shop/shop-1.2.3-SNAPSHOT.jar --db=u:p@h", "shop-1.2.3-SNAPSHOT.jar", "shop", false),
            ("orders.jar", "orders.jar", "orders", false),
            ("app.jar", "app.jar", "app", true),
            ("./build/libs/api-v2.1.war x", "api-v2.1.war", "api", false),
            ("/opt/my shop/big shop-2.jar --x", "big shop-2.jar", "big shop", false),
            ("/opt/log4j-2-service.jar", "log4j-2-service.jar", "log4j-2-service", false),
            ("/opt/run secret=1 /x/other.jar", "run", "run", false),
            ("com.example.Tool /secret/path.jar", "com.example.Tool", "Tool", false),
            ("/opt/.jar", ".jar", "", false),
            ("org.apache.catalina.startup.Bootstrap start", "org.apache.catalina.startup.Bootstrap", "Bootstrap", true),
            (
                "org.springframework.boot.loader.launch.JarLauncher",
                "org.springframework.boot.loader.launch.JarLauncher",
                "JarLauncher",
                true,
            ),
            ("jdk.compiler/com.sun.tools.javac.launcher.Main A.java", "A.java", "A", false),
            (
                "jdk.compiler/com.sun.tools.javac.launcher.SourceLauncher /x/My App.java a.java",
                "My App.java",
                "My App",
                false,
            ),
            (
                "jdk.compiler/com.sun.tools.javac.launcher.SourceLauncher script secret=1 x.java",
                "jdk.compiler/com.sun.tools.javac.launcher.SourceLauncher",
                "SourceLauncher",
                true,
            ),
            ("shop.core/com.example.Main x", "shop.core/com.example.Main", "shop.core", false),
        ];
        for (command, main, app, is_launcher) in table {
            assert_eq!(identity(command, ""), (main.to_owned(), app.to_owned(), is_launcher), "{command}");
        }
    }

    #[test]
    fn the_exact_words_tell_what_the_region_cuts_or_joins() {
        let region = |command, vm_args| RegionTexts { command, vm_args, class_path: "" };
        let source = "jdk.compiler/com.sun.tools.javac.launcher.SourceLauncher my prog x";
        let table: [(_, &[&str], _, _); 11] = [
            (region("my app A.jar x", ""), &["java", "-jar", "my app A.jar", "x"], "my app A.jar", "my app A"),
            (
                region("my app A.jar x", ""),
                &["java", "-jar", "-Xmx1g", "my app A.jar", "x"],
                "my app A.jar",
                "my app A",
            ),
            (
                region("m.core/a.Main x", ""),
                &["java", "-p", "x", "-m", "m.core/a.Main", "x"],
                "m.core/a.Main",
                "m.core",
            ),
            (region("m.core x", ""), &["java", "--module=m.core", "x"], "m.core", "m.core"),
            (region(source, ""), &["java", "--source", "17", "my prog", "x"], "my prog", "my prog"),
            (region("A", "-Dspring.application.name=a b -Xmx1g"), &[], "A", "a b"),
            (
                region("A", "-Dspring.application.name=a -b -Xmx1g"),
                &["java", "-Dspring.application.name=a -b", "-Xmx1g", "A"],
                "A",
                "a -b",
            ),
            // Part of another option, and an option of a variable that comes after those of the command line.
            (
                region("A", "-Dx=1 -Dspring.application.name=no"),
                &["java", "-Dx=1 -Dspring.application.name=no", "A"],
                "A",
                "A",
            ),
            (
                region("A", "-Dspring.application.name=a -Dspring.application.name=b"),
                &["java", "-Dspring.application.name=a", "A"],
                "A",
                "b",
            ),
            // Arguments of the program are no options.
            (region("A -Dspring.application.name=no", ""), &["java", "A", "-Dspring.application.name=no"], "A", "A"),
            // The words of another program that has the JVM inside.
            (region("", "-Dspring.application.name=in"), &["python3", "-Dspring.application.name=no"], "", "in"),
        ];
        for (region, arguments, main, app) in table {
            assert_eq!(launched(region, arguments, &[]), (main.into(), app.into(), false), "{region:?}");
        }
        let cut = format!("-Dpad={} -Dspring.application.name=Order Ser", "x".repeat(1024));
        let cut = RegionTexts { command: "A", vm_args: cut.get(..1024).unwrap_or_default(), class_path: "" };
        let words = ["java", "-Dspring.application.name=Order Service", "A"];
        assert_eq!(launched(cut, &words, &[]).1, "Order Service");
        let blank = format!("-Dpad={} -Dspring.application.name=Order Ser", "x".repeat(982));
        let blank = RegionTexts { command: "A", vm_args: &blank, class_path: "" };
        assert_eq!((blank.vm_args.len(), launched(blank, &[], &[]).1.as_str()), (1024, "A"), "the value may be cut");
        let jar = RegionTexts { command: "/x/my app B.jar my.jar", vm_args: "", class_path: "/x/my app B.jar" };
        assert_eq!(launched(jar, &[], &[]).1, "my app B", "the class path of a jar is the jar");
    }

    #[test]
    fn opentelemetry_names_the_application() {
        let (property, attributes) = ("-Dotel.service.name=1", "-Dotel.resource.attributes=a=b,service.name=3%20x");
        let (name, variable) = (("OTEL_SERVICE_NAME", "2"), ("OTEL_RESOURCE_ATTRIBUTES", "service.name=4,a=s3cr3t"));
        for (vm_args, variables, app) in [
            (format!("{attributes} {property}"), &[name, variable][..], "1"),
            (attributes.to_owned(), &[name, variable][..], "2"),
            (attributes.to_owned(), &[variable][..], "3 x"),
            ("-Dspring.application.name=5".to_owned(), &[variable][..], "4"),
            ("-Dspring.application.name=5".to_owned(), &[("OTEL_SERVICE_NAME", " ")][..], "5"),
            (String::new(), &[("OTEL_RESOURCE_ATTRIBUTES", "a=b,service.name=")][..], "A"),
        ] {
            let region = RegionTexts { command: "A", vm_args: &vm_args, class_path: "" };
            assert_eq!(launched(region, &[], variables).1, app, "{vm_args} {variables:?}");
        }
    }

    #[test]
    fn a_property_names_the_application() {
        let table = [
            ("-Xmx1g -Dspring.application.name=orders -Dpassword=x", "orders"),
            ("-Dspring.application.name=a -Dotel.service.name=b -Dotel.service.name=c", "c"),
            ("-Dotel.service.name= -Dspring.application.name=a", "a"),
            ("-Dotel.service.namespace=no", "Bootstrap"),
            ("-Dpassword=-Dotel.service.name=no", "Bootstrap"),
        ];
        for (vm_args, app) in table {
            let (_, found, is_launcher) = identity("org.apache.catalina.startup.Bootstrap", vm_args);
            assert_eq!((found.as_str(), is_launcher), (app, app == "Bootstrap"), "{vm_args}");
        }
        let cut = format!("-Dpad={} -Dotel.service.name=hal", "x".repeat(1024));
        assert_eq!(identity("Main", cut.get(..1024).unwrap_or_default()).1, "Main", "a truncated value is no name");
    }
}
