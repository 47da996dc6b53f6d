//! Snapshots written as Prometheus formats.
//!
//! A [`Page`] lays out all series of a profile once, when the set of JVMs or their counters changes: the text in front
//! of each value is rendered then, in output order. Writing walks it front to back, copies that text and formats the
//! numbers; this is what keeps a scrape near the cost of copying its bytes.

pub mod negotiate;
mod page;
mod pages;
pub mod protobuf;
mod text;

pub use negotiate::ExpositionFormat;
pub use page::{Page, PageSeries};
pub use pages::Pages;

use crate::fact::Values;
use crate::metric::FamilySamples;
use crate::snapshot::{Snapshot, View};

/// Appends every present series of `page`; `source` gives the values of the JVM of that index. Returns the number of
/// samples.
pub fn write_page<'s, S: Values + 's>(
    page: &Page,
    format: ExpositionFormat,
    source: impl Fn(u32) -> &'s S,
    out: &mut Vec<u8>,
) -> usize {
    match format {
        ExpositionFormat::Text => text::write(page, false, source, out),
        ExpositionFormat::OpenMetrics => text::write(page, true, source, out),
        ExpositionFormat::Protobuf => protobuf::write_page(page, source, out),
    }
}

/// Appends families that are not part of a page: the exporter's own. Returns the number of samples.
pub fn write_families(families: &[FamilySamples], format: ExpositionFormat, out: &mut Vec<u8>) -> usize {
    let write = |(family, values): &FamilySamples| match format {
        ExpositionFormat::Text => text::write_family(family, values, false, out),
        ExpositionFormat::OpenMetrics => text::write_family(family, values, true, out),
        ExpositionFormat::Protobuf => {
            let samples = values.iter().map(|(labels, value)| {
                let (labels, value) = (labels.iter(), value.clone());
                protobuf::Sample { labels, value, created: None }
            });
            protobuf::write_family(family, samples, out)
        }
    };
    families.iter().map(write).sum()
}

/// Ends an exposition.
pub fn finish(format: ExpositionFormat, out: &mut Vec<u8>) {
    if format == ExpositionFormat::OpenMetrics {
        out.extend_from_slice(b"# EOF\n");
    }
}

/// Appends the exposition of one profile, with the exporter's own metrics where they are given. `page` is laid out
/// for the snapshot's targets. Returns the number of the JVMs' samples.
pub fn write(
    snapshot: &Snapshot,
    page: Option<&Page>,
    format: ExpositionFormat,
    own: Option<&[FamilySamples]>,
    out: &mut Vec<u8>,
) -> usize {
    let views: Vec<View<'_>> = (0..snapshot.target_set.targets.len() as u32).map(|index| snapshot.of(index)).collect();
    let samples = page.map_or(0, |page| write_page(page, format, |target| &views[target as usize], out));
    if let Some(own) = own {
        write_families(own, format, out);
    }
    finish(format, out);
    samples
}
