//! The image, assembled and run by buildah.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{is_root, package, skip, target};
use crate::{run, text_of, tool};

/// The processor as container images name it.
const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };

#[test]
fn hadolint_finds_nothing() {
    let Some(hadolint) = tool("hadolint", "hadolint_finds_nothing") else { return };
    let mut check = Command::new(hadolint);
    check.args(["--no-color", "--failure-threshold=style", "Dockerfile"]).current_dir(package());
    let output = check.output().unwrap();
    assert!(output.status.success(), "{}", text_of(&output));
}

/// buildah with a store of its own.
pub struct Buildah {
    program: PathBuf,
    directory: TempDir,
}

impl Buildah {
    /// `None`, said as a skip, where it cannot work.
    pub fn new(test: &str) -> Option<Self> {
        let program = tool("buildah", test)?;
        if !is_root() {
            skip(test, "buildah mounts and needs root");
            return None;
        }
        Some(Self { program, directory: tempfile::tempdir().unwrap() })
    }

    /// One of its commands.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["--storage-driver=vfs", "--root"]).arg(self.directory.path().join("root"));
        command.arg("--runroot").arg(self.directory.path().join("run")).arg(name);
        command
    }

    /// Builds the target `prebuilt` without any network, from a context with nothing but the binary, and gives its digest.
    pub fn build(&self, context: &Path, tag: &str) -> String {
        let mut build = Command::new("unshare");
        let buildah = self.command("bud");
        build.arg("--net").arg(buildah.get_program()).args(buildah.get_args());
        build.args(["--isolation=chroot", "--timestamp=0", "--target=prebuilt", "--tag", tag]);
        build.args(["--build-arg", "VERSION=1.2.3", "--build-arg", "REVISION=abc"]);
        run(build.arg("--file").arg(package().join("Dockerfile")).arg(context));
        self.inspect(tag)["FromImageDigest"].as_str().unwrap().to_owned()
    }

    fn inspect(&self, tag: &str) -> Value {
        serde_json::from_str(&run(self.command("inspect").args(["--type=image", tag]))).unwrap()
    }
}

/// The layer of dependencies has no sources; cargo wants every target that the manifest names all the same.
#[test]
fn the_empty_program_of_the_dependencies_has_all_targets() {
    let dockerfile = fs::read_to_string(package().join("Dockerfile")).unwrap();
    let (_, script) = dockerfile.split_once("&& mkdir -p src").unwrap();
    let (script, _) = script.split_once("&& cargo build").unwrap();
    let directory = tempfile::tempdir().unwrap();
    for name in ["Cargo.toml", "Cargo.lock"] {
        fs::copy(package().join(name), directory.path().join(name)).unwrap();
    }
    run(Command::new("sh").arg("-ec").arg(format!("mkdir -p src{script}")).current_dir(&directory));
    let mut cargo = Command::new(env!("CARGO"));
    run(cargo.args(["metadata", "--offline", "--no-deps", "--format-version=1"]).current_dir(&directory));
}

/// A static build of the program under test, quick rather than small.
fn static_binary() -> PathBuf {
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--locked", "--bin=hotspot-exporter", "--target", &triple]).current_dir(package());
    // As in the Dockerfile, but for the profile. The flags differ from those of the tests, so the directory does.
    cargo.env("RUSTFLAGS", "-C target-feature=+crt-static").env("CARGO_TARGET_DIR", target().join("static"));
    run(&mut cargo);
    target().join("static").join(triple).join("debug/hotspot-exporter")
}

/// What [`Buildah::build`] makes the image of.
pub fn prebuilt_context() -> TempDir {
    let context = tempfile::tempdir().unwrap();
    let binary = binary_of(context.path());
    fs::create_dir_all(binary.parent().unwrap()).unwrap();
    fs::copy(static_binary(), binary).unwrap();
    context
}

fn binary_of(context: &Path) -> PathBuf {
    context.join("dist").join(ARCHITECTURE).join("hotspot-exporter")
}

#[test]
fn the_image_is_the_same_twice_and_runs() {
    let Some(buildah) = Buildah::new("the_image_is_the_same_twice_and_runs") else { return };
    let context = prebuilt_context();
    let digests = ["first", "second"].map(|tag| {
        // Built anew, from a file of another time.
        let binary = fs::File::open(binary_of(context.path())).unwrap();
        binary.set_modified(std::time::SystemTime::now()).unwrap();
        buildah.build(context.path(), tag)
    });
    assert_eq!(digests[0], digests[1]);
    assert!(digests[0].starts_with("sha256:"), "{digests:?}");

    let image = buildah.inspect("first");
    let config = &image["OCIv1"]["config"];
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["Entrypoint"], json!(["/hotspot-exporter"]));
    assert_eq!(config["ExposedPorts"], json!({"9850/tcp": {}}));
    let label = |name: &str| config["Labels"][format!("org.opencontainers.image.{name}")].as_str().unwrap_or("");
    assert_eq!([label("title"), label("version"), label("revision")], ["hotspot-exporter", "1.2.3", "abc"]);
    assert_eq!(label("licenses"), env!("CARGO_PKG_LICENSE"));
    assert_eq!(label("description"), env!("CARGO_PKG_DESCRIPTION"));
    for name in ["source", "documentation", "vendor"] {
        assert!(config["Labels"].get(format!("org.opencontainers.image.{name}")).is_some(), "{name}");
    }

    // The whole file system is one file that nobody may write.
    let container = run(buildah.command("from").arg("first")).trim().to_owned();
    let mounted = PathBuf::from(run(buildah.command("mount").arg(&container)).trim());
    let binary = mounted.join("hotspot-exporter");
    let names: Vec<_> = fs::read_dir(&mounted).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["hotspot-exporter"]);
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(binary).unwrap().permissions()) & 0o7777, 0o555);

    // As the user of the image.
    let exporter = |arguments: &[&str]| {
        let mut command = buildah.command("run");
        command.args(["--isolation=chroot", &container, "--", "/hotspot-exporter"]).args(arguments).output().unwrap()
    };
    let version = exporter(&["--version"]);
    assert_eq!(text_of(&version).trim(), format!("hotspot-exporter {}", env!("CARGO_PKG_VERSION")));
    let page = exporter(&["--once", "--path.procfs=off", "--discovery.root=/none"]);
    assert!(page.status.success() && text_of(&page).contains("hotspot_exporter_build_info"), "{}", text_of(&page));
}
