//! `hotspot-exporter top`: in a real terminal, which tmux is, and without one.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::exporter::{Exporter, command};
use crate::support::regions::Root;
use crate::support::{PATIENCE, ensure, is_root, program, skip_this, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A shell in a terminal of its own.
struct Tmux {
    directory: TempDir,
}

impl Tmux {
    /// `None`, and a word of it, where there is no tmux.
    fn start(width: u16, height: u16) -> Option<Self> {
        if program("tmux").is_none() {
            skip_this("no tmux");
            return None;
        }
        let tmux = Self { directory: tempfile::tempdir().unwrap() };
        let (width, height) = (width.to_string(), height.to_string());
        let shell = "env PS1='shell> ' ENV= sh -i";
        tmux.call(&["-f", "/dev/null", "new-session", "-d", "-x", &width, "-y", &height, shell]);
        tmux.wait("the shell", &["shell>"]);
        Some(tmux)
    }

    fn call(&self, arguments: &[&str]) -> String {
        let mut tmux = Command::new("tmux");
        tmux.arg("-u").arg("-S").arg(self.directory.path().join("socket")).args(arguments);
        tmux.env("LC_ALL", "C.UTF-8").env_remove("TMUX").env_remove("NO_COLOR");
        let output = tmux.output().unwrap();
        assert!(output.status.success(), "{tmux:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn screen(&self) -> String {
        self.call(&["capture-pane", "-p"])
    }

    fn keys(&self, keys: &[&str]) {
        self.call(&[&["send-keys"], keys].concat());
    }

    /// Waits until the screen has all of these words, and gives it.
    fn wait(&self, what: &str, words: &[&str]) -> String {
        wait_for(what, || {
            let screen = self.screen();
            ensure(words.iter().all(|word| screen.contains(word)), format!("{words:?} in\n{screen}")).map(|()| screen)
        })
    }

    /// Types a command line that runs `top`; its process id appears in a file.
    fn start_top(&self, root: &Root, more: &str) -> u32 {
        let file = self.directory.path().join("pid");
        let _ = fs::remove_file(&file);
        let [roots, procfs] = root.flags();
        let binary = env!("CARGO_BIN_EXE_hotspot-exporter");
        let run = format!("'{binary}' top --interval=500ms '{roots}' {procfs} {more}");
        let line = format!("sh -c 'echo $$ >$0; exec \"$@\"' '{}' {run}", file.display());
        self.keys(&["-l", "clear; echo before-top"]);
        self.keys(&["Enter"]);
        self.keys(&["-l", &line]);
        self.keys(&["Enter"]);
        wait_for("the process id", || {
            fs::read_to_string(&file)
                .map_err(|error| error.to_string())?
                .trim()
                .parse::<u32>()
                .map_err(|error| error.to_string())
        })
    }

    /// Waits until the shell has its screen and the mode of its terminal back.
    fn is_restored(&self, how: &str) {
        let screen = self.wait(how, &["before-top", "shell>"]);
        assert!(!screen.contains("hotspot-exporter top "), "{how} leaves\n{screen}");
        self.keys(&["-l", "clear; stty -a | grep -o -e '-\\?icanon' -e '-\\?echo ' | tr '\\n' ';'; echo mode-end"]);
        self.keys(&["Enter"]);
        wait_for("the terminal's mode", || {
            let screen = self.screen();
            ensure(screen.lines().any(|line| line == "icanon;echo ;mode-end"), format!("{how}:\n{screen}"))
        });
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let mut tmux = Command::new("tmux");
        let _ = tmux.arg("-S").arg(self.directory.path().join("socket")).arg("kill-server").output();
    }
}

fn is_gone(pid: u32) {
    wait_for("the end of top", || ensure(!Path::new(&format!("/proc/{pid}")).exists(), pid));
}

#[test]
fn top_in_a_terminal() {
    let Some(tmux) = Tmux::start(80, 24) else { return };
    let root = Root::new();
    let _jvms =
        [("jdk21-G1", 4711), ("jdk17-Z", 4712), ("jdk17-Parallel", 4713)].map(|(name, pid)| root.put(name, pid));
    let pid = tmux.start_top(&root, "");
    let narrow = tmux.wait("the list", &["3 JVMs", "this host, every 0.5 s", "APP", "HEAP", "STOP%", "q quit"]);
    assert!(!narrow.contains("NATIVE"), "what does not fit is dropped:\n{narrow}");
    tmux.call(&["resize-window", "-x", "200", "-y", "40"]);
    tmux.wait("the wide list", &["USED/LIMIT", "NATIVE", "UPTIME", "REMARK", "G1", "Parallel", "4711", "4712", "4713"]);
    tmux.keys(&["-l", "/4711"]);
    let filtered = tmux.wait("the filter", &["filter: 4711", "1 shown"]);
    assert!(!filtered.contains("4712"), "{filtered}");
    tmux.keys(&["Enter"]);
    tmux.wait("the list again", &["filter: 4711", "q quit"]);
    tmux.keys(&["Enter"]);
    tmux.wait("one JVM", &["pid 4711", "heap used", "the last", "Esc back"]);
    tmux.call(&["resize-window", "-x", "80", "-y", "14"]);
    tmux.wait("one JVM, narrow", &["pid 4711", "heap used", "rows 1 to"]);
    tmux.keys(&["Escape"]);
    tmux.wait("the list, narrow", &["filter: 4711", "1 shown"]);
    tmux.call(&["resize-window", "-x", "80", "-y", "24"]);
    tmux.keys(&["?"]);
    tmux.wait("the help", &["select a JVM", "Ctrl-C"]);
    tmux.keys(&["q"]);
    is_gone(pid);
    tmux.is_restored("q");
}

#[test]
fn the_terminal_is_restored_however_top_ends() {
    let Some(tmux) = Tmux::start(100, 24) else { return };
    let root = Root::new();
    let _jvm = root.put("jdk21-G1", 4711);
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let pid = tmux.start_top(&root, "");
        tmux.wait("the list", &["1 JVM ", "q quit"]);
        kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), signal).unwrap();
        is_gone(pid);
        tmux.is_restored(&format!("{signal:?}"));
    }
    let pid = tmux.start_top(&root, "");
    tmux.wait("the list", &["1 JVM ", "q quit"]);
    tmux.keys(&["C-z"]);
    tmux.is_restored("Ctrl-Z");
    tmux.keys(&["-l", "fg"]);
    tmux.keys(&["Enter"]);
    tmux.wait("the list after fg", &["1 JVM ", "q quit"]);
    tmux.keys(&["C-l", "?"]);
    tmux.wait("the help after Ctrl-L", &["1 JVM ", "select a JVM"]);
    tmux.keys(&["C-c"]);
    is_gone(pid);
}

#[test]
fn top_without_a_terminal_is_one_table() {
    let root = Root::new();
    let _jvm = root.put("jdk21-G1", 4711);
    let mut top = command(["top", "--interval=500ms"]);
    top.args(root.flags());
    let output = assert_cmd::Command::from_std(top).timeout(PATIENCE).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(!text.contains('\u{1b}'), "no command for a terminal: {text:?}");
    let lines: Vec<&str> = text.lines().collect();
    let [header, row] = lines[..] else { panic!("{text}") };
    for word in ["APP", "SLOT", "PID", "GC", "HEAP%", "ALLOC/s", "GC%", "STOP%", "PAUSE", "THR", "CPU", "RSS", "NATIVE"]
    {
        assert!(header.contains(word), "{word}: {header}");
    }
    assert!(row.contains("4711") && row.contains("G1"), "{row}");
}

#[test]
fn top_asks_a_running_exporter() {
    let root = Root::new();
    let _jvm = root.put("jdk21-G1", 4711);
    let exporter = Exporter::start(root.flags());
    let address = exporter.address();
    for arguments in [
        vec![format!("--url=http://{address}")],
        vec![format!("--web.listen-address={address}")],
        vec![format!("--url=http://a:b@{address}/")],
    ] {
        let mut top = command(["top"]);
        top.args(&arguments);
        let output = assert_cmd::Command::from_std(top).timeout(PATIENCE).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains("4711"), "{arguments:?} {text}");
    }
}

#[test]
fn top_and_doctor_give_the_password_that_an_exporter_wants() {
    let root = Root::new();
    let _jvm = root.put("jdk21-G1", 4711);
    let web = root.path().join("web.yml");
    let hash = bcrypt::hash("pass word", 4).unwrap();
    fs::write(&web, format!("basic_auth_users: {{ann: {hash}}}\n")).unwrap();
    let exporter = Exporter::start(root.flags().into_iter().chain([format!("--web.config.file={}", web.display())]));
    let run = |subcommand: &str, user: &str, password: Option<&str>| {
        let mut ask = command([subcommand, &format!("--url=http://{user}{}", exporter.address())]);
        ask.env_remove("HOTSPOT_EXPORTER_PASSWORD")
            .envs(password.map(|password| ("HOTSPOT_EXPORTER_PASSWORD", password)));
        let output = assert_cmd::Command::from_std(ask).timeout(PATIENCE).output().unwrap();
        let [said, log] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(!log.contains("pass") || log.contains("a user and a password"), "{log}");
        (said, log)
    };
    for (subcommand, sign) in [("top", "4711"), ("doctor", "1 JVM: ")] {
        for (user, password) in [("ann@", Some("pass word")), ("ann:pass%20word@", None)] {
            wait_for(subcommand, || {
                let (said, log) = run(subcommand, user, password);
                ensure(said.contains(sign), said + &log)
            });
        }
        for (user, password) in [("", None), ("ann@", Some("wrong")), ("bob@", Some("pass word"))] {
            let (said, log) = run(subcommand, user, password);
            assert!(said.is_empty() && log.contains("401: it wants a user and a password"), "{subcommand} {said}{log}");
        }
    }
}

/// As root, a look of its own needs no more rights than serving.
#[test]
fn top_drops_privileges_before_it_looks() {
    if !is_root() {
        return skip_this("privileges to drop need root");
    }
    let Some(tmux) = Tmux::start(100, 24) else { return };
    let root = Root::new();
    let _jvm = root.put("jdk21-G1", 4711);
    let pid = tmux.start_top(&root, "");
    tmux.wait("the list", &["1 JVM ", "q quit"]);
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    for thread in threads {
        let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        let held = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap();
        // CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_KILL.
        let unneeded = 1 << 21 | 1 << 12 | 1 << 5;
        assert_eq!(u64::from_str_radix(held, 16).unwrap() & unneeded, 0, "{status}");
    }
    tmux.keys(&["q"]);
    is_gone(pid);
}

#[test]
fn what_cannot_be_shown_is_said() {
    for (arguments, code, words) in [
        (&["top", "--url=http://127.0.0.1:1"][..], 1, &["cannot connect to 127.0.0.1:1"][..]),
        (&["top", "--url=http://user:secret@127.0.0.1:1"], 1, &["cannot connect to 127.0.0.1:1"]),
        (&["top", "--url=ftp://x"], 1, &["expected http://"]),
        (&["top", "--interval=10ms"], 64, &["a duration from 500ms to 1m"]),
        (&["top", "--interval=2"], 64, &["--interval", "such as"]),
        (&["top", "--url=http://x", "--local"], 64, &["--local"]),
    ] {
        let output = assert_cmd::Command::from_std(command(arguments)).timeout(PATIENCE).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?} {text}");
        for word in words {
            assert!(text.contains(word), "{arguments:?} {word}: {text}");
        }
        assert!(!text.contains("secret"), "{text}");
    }
}
