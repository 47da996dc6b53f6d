//! A sidecar: two JVMs, each pid 1 of its own pid and mount namespace, and an exporter with their uid and gid, no
//! capability, no view of their processes, and their `/tmp` mounted read-only.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use hotspot_exporter::config::{AttachMode, AttachSettings};
use hotspot_exporter::hotspot::Model;
use hotspot_exporter::perfdata::Image;
use hotspot_exporter::providers::attach::diagnostics::{DiagnosticPlan, DiagnosticState};
use hotspot_exporter::providers::attach::native_memory::{NmtReply, NmtState};
use hotspot_exporter::providers::attach::{AttachTopic, Poller};
use serde_json::Value;

use crate::attach::diagnostics::values;
use crate::attach::jvm::{Jvm, NOBODY, Place, javas_of_everybody, plain_attachable, temporary_directory};
use crate::attach::{query_once, wait_for};
use crate::support::copy_program;

/// Names the directories to the client below.
const ROOTS: &str = "NMT_TEST_ROOTS";

const FLAGS: [&str; 2] = ["-XX:NativeMemoryTracking=summary", "-XX:+StartAttachListener"];

#[test]
fn a_sidecar_without_capabilities_gets_both_tables() {
    for java in javas_of_everybody() {
        let place = Place { nobody: true, own_pids: true };
        let jvms = [Jvm::start(&java, place, &FLAGS), Jvm::start(&java, place, &FLAGS)];
        let views = [temporary_directory(), temporary_directory()];

        // The client is this program, from where nobody can run it.
        let program = views[0].path().with_extension("client");
        copy_program(std::env::current_exe().unwrap(), &program);
        let script = "mount --bind -o ro \"$1\" \"$2\" && mount --bind -o ro \"$3\" \"$4\" && shift 4 && exec \"$@\"";
        let mut client = Command::new("unshare");
        client.args(["--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", script, "sh"]);
        for (jvm, view) in jvms.iter().zip(&views) {
            client.args([jvm.tmp.path(), view.path()]);
        }
        client.args(["setpriv", "--pdeathsig=KILL", "--reuid=65534", "--regid=65534", "--clear-groups"]);
        client.args(["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]).arg(&program);
        client.args(["--exact", "attach::namespaces::client", "--ignored", "--nocapture"]);
        client.env(ROOTS, format!("{}\n{}", views[0].path().display(), views[1].path().display()));
        let output = client.output().unwrap();
        fs::remove_file(&program).unwrap();

        let text = String::from_utf8(output.stdout).unwrap();
        let told: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("told: ")).collect();
        assert_eq!(told.len(), 2, "{text}");
        for told in told {
            assert!(told.contains("pool.used Metaspace") && told.contains("flag.value MaxHeapSize"), "{java}: {told}");
            assert_eq!(told.contains("pool.used Code"), java.feature >= 11, "{java}: {told}");
            assert_eq!(told.contains("pool.used Eden Space"), java.feature >= 25, "{java}: {told}");
        }
        let tables: Vec<Value> =
            text.lines().filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(tables.len(), 2, "{text}{}", String::from_utf8_lossy(&output.stderr));
        for table in tables {
            let categories = table["categories"].as_array().unwrap();
            assert!(categories.len() >= 10, "{table}");
            let sum: u64 = categories.iter().map(|category| category["committed"].as_u64().unwrap()).sum();
            let total = table["total"]["committed"].as_u64().unwrap();
            assert!(sum.abs_diff(total) <= java.nmt_rounding() * categories.len() as u64, "{java}: {sum} of {total}");
        }
    }
}

/// Run by the test above in a namespace of its own.
#[test]
#[ignore = "the client of another test"]
fn client() {
    let roots = std::env::var(ROOTS).unwrap();
    assert_eq!(rustix::process::geteuid().as_raw(), NOBODY);
    for root in roots.lines() {
        assert!(fs::write(Path::new(root).join("file"), "").is_err(), "the view is read-only");
        let region = fs::read(Path::new(root).join("hsperfdata_nobody/1")).unwrap();
        let plan = DiagnosticPlan::of(&Model::of(&Image::decode(region).unwrap(), &[]), false);
        let poller = Poller::new(AttachSettings { diagnostics: Duration::from_secs(5), ..AttachSettings::default() });
        let jvm = poller.add(plain_attachable(Path::new(root), 1, NOBODY), plan);
        wait_for("answers", || jvm.diagnostic_state() == DiagnosticState::Answering);
        let told: Vec<_> = values(&jvm, AttachTopic::Diagnostics).into_keys().collect();
        println!(
            "\ntold: {}",
            told.iter().map(|(name, label)| format!("{name} {label}")).collect::<Vec<_>>().join(", ")
        );
        wait_for("the poller to ask no more", || jvm.state() == NmtState::Answering);
        drop((jvm, poller));
        match query_once(&plain_attachable(Path::new(root), 1, NOBODY), AttachMode::Passive) {
            Ok(NmtReply::Summary(summary)) => println!("\n{}", serde_json::to_string(&summary).unwrap()),
            other => panic!("{other:?}"),
        }
    }
}
