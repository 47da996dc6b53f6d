//! Watches one JVM with the sampler alone, and prints what it saw once a second: `watch /tmp/hsperfdata_USER/PID`.
//!
//! With a number behind the path it watches that many times the same JVM, for measuring what a look costs.
//! Ends when its output or the JVM is gone.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use hotspot_exporter::exposition::{Format, finish, write_families};
use hotspot_exporter::metric::{Family, Labels, Value};
use hotspot_exporter::perfdata::{Access, Image, Region, Seal};
use hotspot_exporter::sampler::{Sampler, Settings, Subject, Watch, Watchlist};
use hotspot_exporter::snapshot::Board;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: watch REGION [COUNT]")?;
    let count: usize = arguments.next().map_or(Ok(1), |count| count.parse())?;
    let windows = [Duration::from_secs(1), Duration::from_secs(15)];
    let sampler = Sampler::start(Settings { windows, ..Settings::default() })?.ok_or("sampling is off")?;
    let mut watches = Vec::new();
    for _ in 0..count {
        let region = Arc::new(Region::open(std::fs::File::open(&path)?, Access::Mapped)?);
        let image = Image::read(&region)?;
        let list = Watchlist::of(&image).ok_or("the JVM is still starting")?;
        watches.push(sampler.watch(Subject { region, seal: Seal::of(&image), list }));
    }
    let started = std::time::Instant::now();
    while std::path::Path::new(&path).exists() {
        std::thread::sleep(Duration::from_secs(1));
        if count == 1 {
            print(&watches[0])?;
        } else {
            let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
            let cpu = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
            let wall = started.elapsed().as_secs_f64();
            println!("{:.3} % of a core, {:?}", cpu / wall * 100.0, sampler.statistics());
        }
    }
    Ok(())
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
