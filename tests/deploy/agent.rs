//! The node agent, end to end without Kubernetes: root with the two capabilities of the manifest, and this machine's
//! processes.

use std::path::Path;
use std::process::Command;

use crate::helm::{AGENT, Helm, NEWEST};
use crate::pod::Pod;
use crate::support::exposition::Exposition;
use crate::support::jdk::{Jdk, classes_for_everybody, for_other_users};
use crate::support::jvm::Jvm;
use crate::support::mounts::tmpfs_over_tmp;
use crate::support::{ensure, free_port, wait_for};

/// A JVM in a container of another user, by the name that this test gives it.
fn jvm(jdk: &Jdk, classes: &Path, app: &str, options: &[&str]) -> Jvm {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]);
    command.arg(tmpfs_over_tmp() + " && exec \"$@\"").arg("sh");
    command.args(["setpriv", "--pdeathsig=KILL", "--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.arg(jdk.java()).arg(format!("-Dspring.application.name={app}")).args(options);
    Jvm::spawn(command.args(["-Xmx96m", "-cp"]).arg(classes).arg("Workload"))
}

/// Whether each of these is up on the page.
fn ensure_up(page: &Exposition, apps: &[String]) -> Result<(), String> {
    apps.iter().try_for_each(|app| ensure(page.value("jvm_up", &[("app", app)]) == Some(1.0), format!("no {app}")))
}

#[test]
fn the_rendered_node_agent_sees_every_jvm_of_the_node() {
    let test = "the_rendered_node_agent_sees_every_jvm_of_the_node";
    let Some((helm, [_, java])) = Helm::new(test).zip(for_other_users(test)) else { return };
    let classes = classes_for_everybody();
    for native_memory in [false, true] {
        let settings = [format!("web.port={}", free_port()), format!("nativeMemory={native_memory}")];
        let objects = helm.objects(&AGENT, NEWEST, &settings.each_ref().map(String::as_str));
        let Some(pod) = Pod::new(test, objects, "DaemonSet") else { return };
        let apps = ["file", "memory"].map(|source| format!("agent-{source}-{}-{native_memory}", std::process::id()));
        let listening = ["-XX:NativeMemoryTracking=summary", "-XX:+StartAttachListener"];
        let _file = jvm(&java, classes.path(), &apps[0], &listening);
        let _memory = jvm(&java, classes.path(), &apps[1], &["-XX:+PerfDisableSharedMem"]);
        let agent = pod.exporter();
        wait_for("both JVMs", || {
            ensure_up(&agent.scrape(), &apps).map_err(|error| error + agent.get("/targets").text())
        });
        // It is root because it must be, with no more than it needs.
        assert!(!agent.log().contains("running as root"), "{}", agent.log());
        let categories = |page: &Exposition| page.all("jvm_nmt_committed_bytes", &[("app", &apps[0])]).count();
        wait_for("the slots in the volume", || {
            let slots = std::fs::read_to_string(pod.volume("state").join("slots.json")).unwrap_or_default();
            apps.iter().try_for_each(|app| ensure(slots.contains(app), format!("no {app} in {slots}")))
        });
        if native_memory {
            wait_for("native memory", || {
                let found = categories(&agent.scrape());
                ensure(found >= 10, format!("{found} categories\n{}", agent.get("/targets").text()))
            });
        } else {
            assert_eq!(categories(&agent.scrape()), 0);
            assert!(!agent.scrape().samples.iter().any(|sample| sample.name.starts_with("jvm_nmt_committed")));
        }
    }
}
