//! Writes snapshots in the Prometheus formats.
//!
//! A [`Page`] is the layout of all series of a profile. It is made once, when the set of JVMs or their counters change,
//! and contains the text or the encoded fields before each value in output order. A scrape copies them and formats the
//! numbers, at nearly the cost of copying its bytes.

mod buffer;
mod created;
pub mod negotiate;
mod page;
mod pages;
pub(crate) mod protobuf;
mod text;

pub use buffer::PageBuffer;
pub use negotiate::ExpositionFormat;
pub use page::{Page, PageSeries};
pub use pages::Pages;

use crate::fact::Values;
use crate::metric::FamilySamples;
use crate::snapshot::{Snapshot, TargetValues};

/// Appends every present series of `page`; `values` returns the values of the JVM of an index. Returns the number of
/// samples.
pub fn write_page<'v, V: Values + 'v>(
    page: &Page,
    format: ExpositionFormat,
    values: impl Fn(u32) -> &'v V,
    out: &mut PageBuffer<'_>,
) -> usize {
    match format {
        ExpositionFormat::Text => text::write(page, false, values, out),
        ExpositionFormat::OpenMetrics => text::write(page, true, values, out),
        ExpositionFormat::Protobuf => protobuf::write_page(page, values, out),
    }
}

/// Appends the exporter's own metrics, which are not on a page. Returns the number of samples.
pub fn write_families(families: &[FamilySamples], format: ExpositionFormat, out: &mut Vec<u8>) -> usize {
    let write = |(family, values): &FamilySamples| match format {
        ExpositionFormat::Text => text::write_family(family, values, false, out),
        ExpositionFormat::OpenMetrics => text::write_family(family, values, true, out),
        ExpositionFormat::Protobuf => protobuf::write_family(family, values, out),
    };
    families.iter().map(write).sum()
}

/// Appends the end of an exposition.
pub fn finish(format: ExpositionFormat, out: &mut Vec<u8>) {
    if format == ExpositionFormat::OpenMetrics {
        out.extend_from_slice(b"# EOF\n");
    }
}

/// Appends the exposition of one profile, with the exporter's own metrics if given. `page` is the layout of the
/// snapshot's targets. Returns the number of the JVMs' samples.
pub fn write(
    snapshot: &Snapshot,
    page: Option<&Page>,
    format: ExpositionFormat,
    own: Option<&[FamilySamples]>,
    out: &mut PageBuffer<'_>,
) -> usize {
    let targets = 0..snapshot.target_set.targets.len() as u32;
    let values: Vec<TargetValues<'_>> = targets.map(|index| snapshot.values(index)).collect();
    let samples = page.map_or(0, |page| write_page(page, format, |target| &values[target as usize], out));
    if let Some(own) = own {
        write_families(own, format, &mut out.bytes);
    }
    finish(format, &mut out.bytes);
    samples
}
