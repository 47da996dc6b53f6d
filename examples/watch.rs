//! Watches one JVM with the sampler alone, and prints what it saw once a second: `watch /tmp/hsperfdata_USER/PID`.
//!
//! With several regions it looks at each every 10 ms, idle or not, and prints what that costs.
//! Ends when the first region's file or its own output is gone.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotspot_exporter::exposition::{Format, finish, write_families};
use hotspot_exporter::metric::{Family, Labels, Value};
use hotspot_exporter::perfdata::{Access, Image, Region, Seal};
use hotspot_exporter::sampler::{Sampler, Settings, Subject, Watch, Watchlist};
use hotspot_exporter::snapshot::Board;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let first = paths.first().ok_or("usage: watch REGION...")?;
    let mut settings = Settings { windows: [1, 15].map(Duration::from_secs), ..Settings::default() };
    if paths.len() > 1 {
        settings.idle_interval = settings.interval;
    }
    let sampler = Sampler::start(settings)?.ok_or("sampling is off")?;
    let watches = paths.iter().map(|path| watch(&sampler, path)).collect::<Result<Vec<_>, _>>()?;
    let (started, busy) = (Instant::now(), cpu_time());
    while first.exists() {
        std::thread::sleep(Duration::from_secs(1));
        if let [only] = &*watches {
            print(only)?;
        } else {
            let (busy, wall) = (cpu_time() - busy, started.elapsed().as_secs_f64());
            let statistics = sampler.statistics();
            let look = busy / statistics.looks as f64 * 1e6;
            println!("{:.2} % of a core, {look:.3} us a look, wake-ups included; {statistics:?}", busy / wall * 100.0);
        }
    }
    Ok(())
}

fn watch(sampler: &Sampler, path: &Path) -> Result<Watch, Box<dyn std::error::Error>> {
    let region = Arc::new(Region::open(File::open(path)?, Access::Mapped)?);
    let image = Image::read(&region)?;
    let list = Watchlist::of(&image).ok_or("the JVM is still starting")?;
    Ok(sampler.watch(Subject { region, seal: Seal::of(&image), list }))
}

/// Seconds of CPU that this process has used.
fn cpu_time() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn print(watch: &Watch) -> std::io::Result<()> {
    let (facts, values) = watch.read();
    let mut families: BTreeMap<&str, (Family, Vec<(Labels, Value)>)> = BTreeMap::new();
    for (fact, value) in facts.iter().zip(values) {
        let Some(value) = value else { continue };
        let family =
            Family { name: fact.source.into(), unit: fact.unit.into(), kind: fact.kind, help: "As in SOURCES.".into() };
        let labels = Labels::new(fact.labels.iter().map(|(name, value)| (*name, value.clone())));
        families.entry(fact.source).or_insert((family, Vec::new())).1.push((labels, value));
    }
    let mut out = Vec::new();
    write_families(&families.into_values().collect::<Vec<_>>(), Format::OpenMetrics, &mut out);
    finish(Format::OpenMetrics, &mut out);
    std::io::stdout().write_all(&out)
}
