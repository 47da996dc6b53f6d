//! The landing page as a browser shows it.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::exporter::Exporter;
use crate::support::jdk;
use crate::support::jvm::Jvm;
use crate::support::regions::Root;
use crate::support::{program, skip, wait_for};

/// The document after the browser has loaded and rendered it.
fn render(browser: &Path, url: &str) -> String {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(["--dump-dom", url])
        .stderr(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn browser(test: &str) -> Option<std::path::PathBuf> {
    let found = ["chromium", "chromium-browser", "google-chrome"].iter().find_map(|name| program(name));
    if found.is_none() {
        skip(test, "no chromium; install Debian's chromium");
    }
    found
}

#[test]
fn the_page_shows_two_jvms() {
    let Some(browser) = browser("the_page_shows_two_jvms") else { return };
    let jdk = jdk::any();
    let _jvms = [
        Jvm::start(&jdk, ["-XX:+UseG1GC", "-Dotel.service.name=page-shop"]),
        Jvm::start(&jdk, ["-XX:+UseSerialGC", "-Dotel.service.name=page-<b>bank</b>"]),
    ];
    let exporter = Exporter::start(["--discovery.root=/tmp"]);
    wait_for("both JVMs", || {
        let page = exporter.scrape();
        let found = |app| page.value("jvm_up", &[("app", app)]) == Some(1.0);
        crate::support::ensure(found("page-shop") && found("page-<b>bank</b>"), exporter.get("/targets").text())
    });
    let page = render(&browser, &format!("http://{}/", exporter.address()));
    for expected in [
        "<html",
        "page-shop",
        "page-&lt;b&gt;bank&lt;/b&gt;",
        &jdk.version,
        "G1",
        "Serial",
        "mapped",
        "href=\"/metrics\"",
    ] {
        assert!(page.contains(expected), "{expected} is not on the page:\n{page}");
    }
}

#[test]
fn the_page_of_a_host_without_jvms_says_so() {
    let Some(browser) = browser("the_page_of_a_host_without_jvms_says_so") else { return };
    let root = Root::new();
    let exporter = Exporter::start(root.flags());
    let page = render(&browser, &format!("http://{}/", exporter.address()));
    assert!(page.contains("href=\"/metrics\""), "{page}");
    assert!(page.contains("No JVM"), "{page}");
}
