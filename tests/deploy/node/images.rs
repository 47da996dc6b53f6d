//! The images of the node's pods: nothing is pulled.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::namespaces::Namespaces;
use crate::image::{Buildah, prebuilt_context};
use crate::run;
use crate::support::jdk::{self, Jdk};

/// What a pod's own container runs.
const PAUSE: &str = "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n";

/// The names by which manifests know them.
const EXPORTER: &str = concat!("docker.io/library/hotspot-exporter:", env!("CARGO_PKG_VERSION"));
pub const JVM: &str = "docker.io/library/eclipse-temurin:25-jre";
pub const SANDBOX: &str = "localhost/pause:1";

/// Builds them all, and gives them to the node's containerd.
pub fn provide(test: &str, namespaces: &Namespaces) {
    let buildah = Buildah::new(test).unwrap();
    let work = tempfile::tempdir().unwrap();
    let context = |name: &str| {
        let path = work.path().join(name);
        fs::create_dir(&path).unwrap();
        path
    };
    let exporter = prebuilt_context();
    buildah.build(exporter.path(), EXPORTER);
    let pause = context("pause");
    fs::write(pause.join("pause.c"), PAUSE).unwrap();
    run(Command::new("cc").args(["-static", "-o", "pause", "pause.c"]).current_dir(&pause));
    from_scratch(&buildah, &pause, SANDBOX, "COPY pause /pause\nENTRYPOINT [\"/pause\"]\n");
    let jvm = context("jvm");
    lay_out(&jdk::any(), &jvm.join("root"));
    from_scratch(&buildah, &jvm, JVM, "COPY root /\nENV PATH=/opt/java/bin\nUSER 10002:10002\n");
    for (at, name) in [EXPORTER, SANDBOX, JVM].into_iter().enumerate() {
        let archive = namespaces.directory().join(format!("image-{at}.tar"));
        run(buildah.command("push").arg(name).arg(format!("docker-archive:{}:{name}", archive.display())));
        let mut import = namespaces.command("ctr");
        import.args(["--address=/run/node/containerd.sock", "--namespace=k8s.io", "images", "import"]).arg(&archive);
        run(&mut import);
        fs::remove_file(&archive).unwrap();
    }
}

fn from_scratch(buildah: &Buildah, context: &Path, tag: &str, instructions: &str) {
    let file = context.join("Dockerfile");
    fs::write(&file, format!("FROM scratch\n{instructions}")).unwrap();
    let mut build = buildah.command("bud");
    run(build.args(["--isolation=chroot", "--layers=false", "--tag", tag, "--file"]).arg(file).arg(context));
}

/// A root with a Java runtime, what it links to, and the test programs. User 10002 has the entry without which HotSpot
/// publishes no file; 10001 has none.
fn lay_out(jdk: &Jdk, root: &Path) {
    for directory in ["opt/java", "app", "etc", "tmp", "proc", "sys", "dev"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    fs::set_permissions(root.join("tmp"), Permissions::from_mode(0o1777)).unwrap();
    fs::write(root.join("etc/passwd"), "app:x:10002:10002::/tmp:/bin/false\n").unwrap();
    let mut copy = Command::new("cp");
    copy.args(["-rL", "--preserve=mode"]).args(["bin", "lib", "conf", "release"].map(|name| jdk.home.join(name)));
    run(copy.arg(root.join("opt/java")));
    copy_all(jdk::class_path(), &root.join("app"));
    for library in libraries(jdk) {
        let target = root.join(library.strip_prefix("/").unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&library, target).unwrap();
    }
}

fn copy_all(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// What the runtime's programs link to outside of its home, by the paths that they ask for.
fn libraries(jdk: &Jdk) -> BTreeSet<PathBuf> {
    let mut ldd = Command::new("ldd");
    ldd.arg(jdk.java()).arg(jdk.home.join("lib/server/libjvm.so"));
    for entry in fs::read_dir(jdk.home.join("lib")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "so") {
            ldd.arg(path);
        }
    }
    // Libraries of windows and sound link to what a server may not have; ldd says so and goes on.
    let output = ldd.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let paths = text.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    let outside = paths.filter(|path| !path.ends_with(':')).map(PathBuf::from);
    outside.filter(|path| !path.starts_with(&jdk.home)).collect()
}
