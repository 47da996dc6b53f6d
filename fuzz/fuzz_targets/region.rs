//! A region from its bytes to an exposition: decoder, facts, rules, layout, values. The bytes select one profile and one
//! format, so that an execution costs one of each.
//!
//! Checks: no panic, no series without a legal name, no line that starts with bytes of the region.

#![no_main]

use std::io;
use std::sync::LazyLock;

use hotspot_exporter::config::{self, Config, Overrides};
use hotspot_exporter::fact::{PublishedId, Values};
use hotspot_exporter::hotspot::Model;
use hotspot_exporter::metric::{Labels, Value};
use hotspot_exporter::output::prometheus::{ExpositionFormat, Page, PageBuffer, PageSeries, write_page};
use hotspot_exporter::perfdata::{self, Image};
use hotspot_exporter::rules::{PlannedFamily, WordIndex};
use libfuzzer_sys::{Corpus, fuzz_target};

static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let text = "profiles: [otel, raw]\n";
    let read = |_: &std::path::Path| Err(io::Error::from(io::ErrorKind::NotFound));
    let name = std::path::Path::new("fuzz.yaml");
    config::load(Some(name), &Overrides::default(), &|path| if path == name { Ok(text.to_owned()) } else { read(path) })
        .expect("the configuration of this target is good")
});

/// The region's words, as a scrape loads them.
struct Row<'a> {
    image: &'a Image,
    words: Vec<u32>,
}

impl Values for Row<'_> {
    fn word(&self, index: u32) -> Option<i64> {
        let at = *self.words.get(index as usize)? as usize;
        let bytes = self.image.bytes().get(at..at + 8).expect("a plan names words inside the region");
        Some(i64::from_ne_bytes(bytes.try_into().ok()?))
    }

    fn published(&self, _: PublishedId) -> Option<Value> {
        None
    }

    fn is_up(&self) -> Option<bool> {
        Some(true)
    }
}

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Ok(image) = Image::decode(bytes.to_vec()) else { return Corpus::Reject };
    for entry in &image.entries.list {
        match image.value(entry) {
            perfdata::CounterValue::Text(text) => assert!(!text.contains('\0')),
            perfdata::CounterValue::Long(_) | perfdata::CounterValue::Opaque(_) => {}
        }
    }

    let model = Model::of(&image, &CONFIG.identity.properties);
    let app = model.jvm.app.as_deref().unwrap_or("unknown").to_owned();
    let hash = bytes.iter().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()));
    let profile = &CONFIG.profiles[hash % CONFIG.profiles.len()];
    let format = [ExpositionFormat::Text, ExpositionFormat::OpenMetrics, ExpositionFormat::Protobuf][hash / 2 % 3];
    // As the reconciler does when JVMs have ended; else every execution would sort the names of all inputs.
    if hash / 6 % 16 == 0 {
        profile.forget_unused();
    }
    let mut words = WordIndex::default();
    let plan = profile.plan(&image, &model.facts, &CONFIG.limits.series(), &mut words);
    assert!(plan.series().count() <= CONFIG.limits.max_series_per_jvm);
    let row = Row { image: &image, words: words.offsets().to_vec() };
    let series = plan.families.iter().map(|PlannedFamily { family, series }| PageSeries { family, target: 0, series });
    let page = Page::new(vec![Labels::new([("app", app), ("slot", "0".to_owned())])], series);
    let mut out = PageBuffer::default();
    let samples = write_page(&page, format, |_| &row, &mut out);
    if format != ExpositionFormat::Protobuf {
        check(&out.bytes, samples);
    }
    Corpus::Keep
});

/// Every line is a comment of the exporter or `name{labels} value`, and the number of these equals the count.
fn check(out: &[u8], samples: usize) {
    let text = std::str::from_utf8(out).expect("an exposition is UTF-8");
    let mut found = 0;
    for line in text.lines() {
        if line.starts_with("# HELP ") || line.starts_with("# TYPE ") || line.starts_with("# UNIT ") {
            continue;
        }
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        assert!(
            !name.is_empty() && name.chars().all(legal) && !name.starts_with(|c: char| c.is_ascii_digit()),
            "{line}"
        );
        let value = line.rsplit(' ').next().unwrap_or_default();
        assert!(value.parse::<f64>().is_ok(), "{line}");
        found += 1;
    }
    assert!(found >= samples, "{found} lines of {samples} samples");
}
