//! What applications are called: by the exact words of their process, where the region's are cut or ambiguous.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::exporter::command;
use crate::support::jdk::{self, Jdk};
use crate::support::jvm::Jvm;
use crate::support::{ensure, program, skip_this, wait_for};
use serde_json::Value;

/// The row of `list` about a process, once it is served.
fn row(pid: u32, flags: &[&str]) -> Value {
    wait_for(&format!("JVM {pid} in the list"), || {
        let output = command(["list", "--local", "--format=json"]).args(flags).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let list: Value = serde_json::from_str(&text).unwrap();
        let rows = list["jvms"].as_array().unwrap();
        rows.iter().find(|row| row["pid"] == pid && row["app"].is_string()).cloned().ok_or(text)
    })
}

fn app(pid: u32) -> String {
    row(pid, &[])["app"].as_str().unwrap().to_owned()
}

/// A JVM whose options are in front of the program's.
fn with(jdk: &Jdk, words: &[&str], variables: &[(&str, &str)]) -> Jvm {
    let mut command = Command::new(jdk.java());
    command.args(words).args(Jvm::arguments()).arg("Workload").envs(variables.iter().copied());
    Jvm::spawn(&mut command)
}

#[test]
fn properties_with_blanks_and_behind_many_others() {
    for jdk in jdk::of_each_release(|_| true) {
        let pad = format!("-Dpad={}", "x".repeat(1100));
        for (words, app) in [
            (&["-Dspring.application.name=Order Service"][..], "Order Service"),
            (&["-Dspring.application.name=Order Worker", "-Dx=1"][..], "Order Worker"),
            (&["-Dspring.application.name=Order -x"][..], "Order -x"),
            (&[&pad, "-Dspring.application.name=Late Order"][..], "Late Order"),
            (&["-Dx=1 -Dspring.application.name=no"][..], "Workload"),
            (&["-Dotel.resource.attributes=a=b,service.name=By%20Attribute"][..], "By Attribute"),
        ] {
            let jvm = with(&jdk, words, &[]);
            assert_eq!(self::app(jvm.pid()), app, "{jdk}");
            if app.starts_with("Order ") && !app.contains('-') {
                assert_eq!(row(jvm.pid(), &["--path.procfs=off"])["app"], app, "{jdk} by its region");
            }
        }
    }
}

#[test]
fn opentelemetry_variables_of_the_jvm() {
    let jdk = jdk::any();
    let name = ("OTEL_SERVICE_NAME", "By Variable");
    let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "secret=1,service.name=By%20Attributes");
    for (words, variables, app) in [
        (&[][..], &[name, attributes][..], "By Variable"),
        (&["-Dspring.application.name=spring"][..], &[attributes][..], "By Attributes"),
        (&["-Dotel.service.name=property"][..], &[name][..], "property"),
    ] {
        assert_eq!(self::app(with(&jdk, words, variables).pid()), app, "{words:?} {variables:?}");
    }
}

#[test]
fn jars_with_blanks_are_two_applications() {
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let manifest = directory.path().join("manifest");
    let classes = jdk::class_path().display();
    fs::write(&manifest, format!("Main-Class: Workload\nClass-Path: file:{classes}/\n")).unwrap();
    let Some(tool) = program("jar") else { return skip_this("there is no jar(1)") };
    for jdk in jdk::of_each_release(|_| true) {
        for app in ["my app A", "my app B"] {
            let jar = directory.path().join(format!("{app}-1.2.jar"));
            assert!(Command::new(&tool).arg("cfm").args([&jar, &manifest]).status().unwrap().success());
            let mut command = Command::new(jdk.java());
            let jvm = Jvm::spawn(command.current_dir("/").args(["-Xmx96m", "-jar"]).arg(&jar));
            let found = row(jvm.pid(), &[]);
            assert_eq!((&found["app"], &found["main_class"]), (&app.into(), &format!("{app}-1.2.jar").into()), "{jdk}");
            assert_eq!(row(jvm.pid(), &["--path.procfs=off"])["app"], app, "{jdk} by its class path");
        }
    }
}

/// A child that is killed when dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_source_file_and_a_module() {
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let source = directory.path().join("Single Run.java");
    let text = "public class Run { public static void main(String[] a) throws Exception { System.in.read(); } }";
    fs::write(&source, text).unwrap();
    let start = |jdk: &Jdk, words: &[&str]| {
        let mut command = Command::new(jdk.java());
        Killed(command.arg("-Xmx96m").args(words).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
    };
    let has = |jdk: &Jdk, module: &str| {
        let modules = Command::new(jdk.java()).arg("--list-modules").output().unwrap().stdout;
        String::from_utf8(modules).unwrap().contains(module)
    };
    for jdk in jdk::of_each_release(|jdk| jdk.feature >= 11) {
        if has(&jdk, "jdk.compiler") {
            let jvm = start(&jdk, &[source.to_str().unwrap(), "--token=s3cr3t"]);
            assert_eq!(app(jvm.0.id()), "Single Run", "{jdk}");
        }
        if jdk.feature >= 18 && has(&jdk, "jdk.httpserver") {
            let main = "jdk.httpserver/sun.net.httpserver.simpleserver.Main";
            for word in ["jdk.httpserver", main] {
                let jvm = start(&jdk, &["-m", word, "-p", "0"]);
                assert_eq!(app(jvm.0.id()), "jdk.httpserver", "{jdk} -m {word}");
            }
        }
    }
}

/// Makes a JVM within the interpreter (jni.h, `JavaVMInitArgs`), says so, and waits.
const EMBED: &str = r#"
import ctypes, sys
class Option(ctypes.Structure):
    _fields_ = [("text", ctypes.c_char_p), ("extra", ctypes.c_void_p)]
class Arguments(ctypes.Structure):
    _fields_ = [("version", ctypes.c_int), ("count", ctypes.c_int), ("options", ctypes.POINTER(Option)), ("ignore", ctypes.c_ubyte)]
options = (Option * (len(sys.argv) - 2))(*[Option(text.encode(), None) for text in sys.argv[2:]])
arguments = Arguments(0x00010008, len(options), options, 0)
vm, env = ctypes.c_void_p(), ctypes.c_void_p()
made = ctypes.CDLL(sys.argv[1]).JNI_CreateJavaVM(ctypes.byref(vm), ctypes.byref(env), ctypes.byref(arguments))
print("ready" if made == 0 else made, flush=True)
sys.stdin.read()
"#;

#[test]
fn a_jvm_inside_another_program_has_the_name_of_that() {
    let Some(python) = program("python3") else { return skip_this("there is no python3") };
    for jdk in jdk::of_each_release(|jdk| jdk.feature >= 11) {
        let library = jdk.home.join("lib/server/libjvm.so");
        // A runtime that needs a newer C library than the interpreter's runs by its own launcher only.
        let load =
            Command::new(&python).args(["-c", "import ctypes, sys; ctypes.CDLL(sys.argv[1])"]).arg(&library).output();
        if !load.unwrap().status.success() {
            continue;
        }
        let start = |options: &[&str]| {
            let mut command = Command::new(&python);
            Jvm::spawn(command.args(["-c", EMBED]).arg(&library).arg("-Xmx64m").args(options))
        };
        let file = fs::canonicalize(&python).unwrap();
        let expected = [Path::new("python3"), Path::new(file.file_name().unwrap())];
        let app = app(start(&[]).pid());
        assert!(expected.contains(&Path::new(&app)), "{jdk}: {app}");
        let named = start(&["-Dspring.application.name=In Python"]);
        assert_eq!(self::app(named.pid()), "In Python", "{jdk}");
    }
}

#[test]
fn a_region_that_is_too_small_says_so() {
    for jdk in jdk::of_each_release(|_| true) {
        let jvm = with(&jdk, &["-XX:PerfDataMemorySize=8k"], &[]);
        let pid = jvm.pid().to_string();
        let overflow = row(jvm.pid(), &[])["overflow"].as_u64().unwrap();
        assert!(overflow > 0, "{jdk}");
        let said = |arguments: &[&str]| String::from_utf8(command(arguments).output().unwrap().stdout).unwrap();
        let text = format!("{overflow} bytes of counters did not fit");
        for arguments in [&["list", "--local"][..], &["explain", &pid]] {
            wait_for("the overflow", || ensure(said(arguments).contains(&text), said(arguments)));
        }
        let page = said(&["--once"]);
        let line = page.lines().find(|line| line.starts_with("jvm_hotspot_perfdata_overflow_bytes{"));
        assert!(line.is_some_and(|line| line.ends_with(&format!(" {overflow}"))), "{jdk}: {line:?}");
        let whole = with(&jdk, &[], &[]);
        assert!(row(whole.pid(), &[])["overflow"].is_null(), "{jdk}");
    }
}
