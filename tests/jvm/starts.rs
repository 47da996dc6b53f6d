//! JVMs that start while the exporter runs: its scans follow them, and not the interval.

use crate::native::Config;
use crate::support::exporter::Exporter;
use crate::support::jvm::Jvm;
use crate::support::{jdk, wait_for};

#[test]
fn jvms_are_served_long_before_the_interval_is_over() {
    let config = Config::new("discovery: {interval: 1h}\n");
    let exporter = Exporter::start([config.flag(), "--discovery.root=/tmp".to_owned()]);
    for options in [&[][..], &["-XX:+PerfDisableSharedMem"]] {
        let jvms: Vec<Jvm> = (0..5).map(|_| Jvm::start(&jdk::any(), options)).collect();
        for jvm in &jvms {
            wait_for("the JVM", || exporter.scrape().of_pid(jvm.pid()).ok_or("not there"));
        }
    }
}
