//! Snapshots written as Prometheus formats.
//!
//! A [`Page`] lays out all series of a profile once, when the set of JVMs or their counters changes: the text in front
//! of each value is rendered then, in output order. Writing walks it front to back, copies that text and formats the
//! numbers; this is what keeps a scrape near the cost of copying its bytes.

pub mod negotiate;
mod page;
pub mod protobuf;
mod text;

pub use negotiate::Format;
pub use page::{Page, Series};

use crate::formula::Source;
use crate::metric::{Family, Labels, Value};

/// Appends every present series of `page`; `source` gives the values of the JVM of that index. Returns the number of
/// samples.
pub fn write_page<'s, S: Source + 's>(
    page: &Page,
    format: Format,
    source: impl Fn(u32) -> &'s S,
    out: &mut Vec<u8>,
) -> usize {
    match format {
        Format::Text => text::write(page, false, source, out),
        Format::OpenMetrics => text::write(page, true, source, out),
        Format::Protobuf => protobuf::write_page(page, source, out),
    }
}

/// Appends families that are not part of a page: the exporter's own. Returns the number of samples.
pub fn write_families(families: &[(Family, Vec<(Labels, Value)>)], format: Format, out: &mut Vec<u8>) -> usize {
    let write = |(family, values): &(Family, Vec<(Labels, Value)>)| match format {
        Format::Text => text::write_family(family, values, false, out),
        Format::OpenMetrics => text::write_family(family, values, true, out),
        Format::Protobuf => {
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
pub fn finish(format: Format, out: &mut Vec<u8>) {
    if format == Format::OpenMetrics {
        out.extend_from_slice(b"# EOF\n");
    }
}
