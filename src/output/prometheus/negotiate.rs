//! Content negotiation: from `Accept` and `Accept-Encoding` to a [`Representation`] and an [`Encoding`].
//!
//! The highest quality wins, and the client's order breaks ties. A client that accepts no supported format gets text
//! 0.0.4, which every Prometheus server reads. See Prometheus' "Content negotiation" specification.
//!
//! # Promise
//! Any header is legal input. At most `HEADER_MAXIMUM` bytes and `RANGES_MAXIMUM` ranges are parsed.

#![deny(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing, clippy::panic)]

use std::fmt;

use super::protobuf;

/// Longest header value that is parsed, in bytes; a longer one counts as absent.
const HEADER_MAXIMUM: usize = 4096;
/// Most ranges of one header value that are parsed.
const RANGES_MAXIMUM: usize = 32;

/// The format of an exposition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExpositionFormat {
    /// Prometheus text; versions 0.0.4 and 1.0.0 are the same bytes, since all names are in the legacy character set.
    #[default]
    Text,
    /// OpenMetrics text; versions 0.0.1 and 1.0.0 are the same bytes.
    OpenMetrics,
    /// Length-delimited protobuf messages, the only format with native histograms.
    Protobuf,
}

/// A format with its version and escaping scheme. Displays as a `Content-Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Representation {
    /// The format of the body.
    pub format: ExpositionFormat,
    version: &'static str,
    escaping: Option<&'static str>,
}

impl Default for Representation {
    fn default() -> Self {
        Self { format: ExpositionFormat::Text, version: "0.0.4", escaping: None }
    }
}

impl fmt::Display for Representation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let media = match self.format {
            ExpositionFormat::Text => "text/plain",
            ExpositionFormat::OpenMetrics => "application/openmetrics-text",
            ExpositionFormat::Protobuf => protobuf::CONTENT_TYPE,
        };
        f.write_str(media)?;
        if self.format != ExpositionFormat::Protobuf {
            write!(f, "; version={}; charset=utf-8", self.version)?;
        }
        match self.escaping {
            Some(escaping) => write!(f, "; escaping={escaping}"),
            None => Ok(()),
        }
    }
}

/// The encoding of the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// None.
    #[default]
    Identity,
    /// RFC 1952.
    Gzip,
}

/// The representation for these values of `Accept`, in order.
pub fn representation<'a>(accept: impl IntoIterator<Item = &'a [u8]>) -> Representation {
    let mut best = (0.0, Representation::default());
    for range in accept.into_iter().filter_map(text).flat_map(ranges) {
        match (range.quality(), matching(&range)) {
            (Some(quality), Some(representation)) if quality > best.0 => best = (quality, representation),
            _ => {}
        }
    }
    best.1
}

/// The encoding for these values of `Accept-Encoding`: gzip if the client accepts it and does not prefer identity.
pub fn encoding<'a>(accept_encoding: impl IntoIterator<Item = &'a [u8]>) -> Encoding {
    let (mut gzip, mut any, mut identity) = (None, None, None);
    for range in accept_encoding.into_iter().filter_map(text).flat_map(ranges) {
        let Some(quality) = range.quality() else { continue };
        match &*range.name.to_ascii_lowercase() {
            "gzip" | "x-gzip" => gzip = gzip.or(Some(quality)),
            "identity" => identity = identity.or(Some(quality)),
            "*" => any = any.or(Some(quality)),
            _ => {}
        }
    }
    let gzip = gzip.or(any).unwrap_or(0.0);
    if gzip > 0.0 && gzip >= identity.unwrap_or(0.0) { Encoding::Gzip } else { Encoding::Identity }
}

fn matching(range: &Range<'_>) -> Option<Representation> {
    let version = range.parameter("version");
    let (format, version) = match (&*range.name.to_ascii_lowercase(), version.as_deref()) {
        ("application/openmetrics-text", None | Some("1.0.0")) => (ExpositionFormat::OpenMetrics, "1.0.0"),
        ("application/openmetrics-text", Some("0.0.1")) => (ExpositionFormat::OpenMetrics, "0.0.1"),
        ("application/vnd.google.protobuf", _) if range.is_delimited_family() => (ExpositionFormat::Protobuf, ""),
        ("application/*", None) => (ExpositionFormat::OpenMetrics, "1.0.0"),
        ("text/plain" | "text/*" | "*/*", None | Some("0.0.4")) => (ExpositionFormat::Text, "0.0.4"),
        ("text/plain", Some("1.0.0")) => (ExpositionFormat::Text, "1.0.0"),
        _ => return None,
    };
    let escaping = match range.parameter("escaping").as_deref() {
        None => None,
        Some("allow-utf-8") => Some("allow-utf-8"),
        Some("values") => Some("values"),
        // `dots` would double the underscores of legacy names, which is not done; the response states what is.
        Some("underscores" | "dots") => Some("underscores"),
        Some(_) => return None,
    };
    Some(Representation { format, version, escaping })
}

fn text(value: &[u8]) -> Option<&str> {
    (value.len() <= HEADER_MAXIMUM).then(|| std::str::from_utf8(value).ok())?
}

/// One member of a header list: `name; key=value; q=0.5`.
struct Range<'a> {
    name: &'a str,
    parameters: &'a str,
}

fn ranges(value: &str) -> impl Iterator<Item = Range<'_>> {
    split(value, ',').take(RANGES_MAXIMUM).map(|member| {
        let (name, parameters) = member.split_once(';').unwrap_or((member, ""));
        Range { name: name.trim(), parameters }
    })
}

impl Range<'_> {
    /// The first parameter of that name, unquoted and in lower case.
    fn parameter(&self, name: &str) -> Option<String> {
        split(self.parameters, ';').find_map(|parameter| {
            let (key, value) = parameter.split_once('=')?;
            let value = value.trim();
            let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
            key.trim().eq_ignore_ascii_case(name).then(|| value.to_ascii_lowercase())
        })
    }

    /// Whether the range is the protobuf message of Prometheus.
    fn is_delimited_family(&self) -> bool {
        self.parameter("proto").as_deref() == Some("io.prometheus.client.metricfamily")
            && self.parameter("encoding").as_deref() == Some("delimited")
    }

    /// `q`, which defaults to 1; `None` if it is not a number from 0 to 1.
    fn quality(&self) -> Option<f32> {
        match self.parameter("q") {
            None => Some(1.0),
            Some(text) => text.parse().ok().filter(|quality| (0.0..=1.0).contains(quality)),
        }
    }
}

/// Splits at the separators outside quoted strings.
fn split(value: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    value.split(move |c| {
        let skip = std::mem::take(&mut escaped);
        match c {
            '"' if !skip => quoted = !quoted,
            '\\' if quoted && !skip => escaped = true,
            _ => {}
        }
        c == separator && !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
    const TEXT_1: &str = "text/plain; version=1.0.0; charset=utf-8";
    const OPEN: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    const OPEN_0: &str = "application/openmetrics-text; version=0.0.1; charset=utf-8";

    #[test]
    fn accept_headers_of_real_clients_and_malformed_ones() {
        for (accept, escaping, expected) in [
            // Prometheus 2.42
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                "",
                OPEN,
            ),
            // Prometheus 3
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                 application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                 text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                "; escaping=allow-utf-8",
                OPEN,
            ),
            // Prometheus 3 with PrometheusText1.0.0 first
            (
                "text/plain;version=1.0.0;escaping=underscores;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1",
                "; escaping=underscores",
                TEXT_1,
            ),
            // VictoriaMetrics' agent, curl, a browser, Telegraf
            ("text/plain;version=0.0.4;q=1,*/*;q=0.1", "", TEXT),
            ("*/*", "", TEXT),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", "", TEXT),
            ("application/vnd.google.protobuf;encoding=delimited;q=0.7,text/plain;version=0.0.4;q=0.3", "", TEXT),
            // order, quality, wildcards, parameters
            ("", "", TEXT),
            ("text/*", "", TEXT),
            ("application/*", "", OPEN),
            ("application/openmetrics-text", "", OPEN),
            ("APPLICATION/OpenMetrics-Text ; Version=\"0.0.1\" ; Q=1", "", OPEN_0),
            ("text/plain;q=0.2, application/openmetrics-text;q=0.3", "", OPEN),
            ("text/plain;q=0.3, application/openmetrics-text;q=0.3", "", TEXT),
            ("application/openmetrics-text;q=0.3, text/plain;q=0.3", "", OPEN),
            ("application/openmetrics-text;q=0", "", TEXT),
            ("application/openmetrics-text;q=2", "", TEXT),
            ("application/openmetrics-text;q=nan", "", TEXT),
            ("application/openmetrics-text;version=2.0.0", "", TEXT),
            ("application/openmetrics-text;escaping=rot13", "", TEXT),
            ("application/openmetrics-text;version=1.0.0;escaping=dots", "; escaping=underscores", OPEN),
            ("application/openmetrics-text;version=1.0.0;escaping=values", "; escaping=values", OPEN),
            ("x/y;a=\"b,application/openmetrics-text\", text/plain;version=1.0.0", "", TEXT_1),
            ("application/json", "", TEXT),
            (";;;,,,q=", "", TEXT),
        ] {
            let found = representation([accept.as_bytes()]).to_string();
            assert_eq!(found, format!("{expected}{escaping}"), "{accept}");
        }
        assert_eq!(representation([]), Representation::default());
    }

    #[test]
    fn several_headers_are_one_list() {
        let headers: [&[u8]; 2] = [b"text/plain;q=0.1", b"application/openmetrics-text"];
        assert_eq!(representation(headers).format, ExpositionFormat::OpenMetrics);
    }

    #[test]
    fn encodings() {
        for (accept, expected) in [
            ("gzip", Encoding::Gzip),
            ("gzip, deflate, br, zstd", Encoding::Gzip),
            ("GZip;q=0.1", Encoding::Gzip),
            ("x-gzip", Encoding::Gzip),
            ("*", Encoding::Gzip),
            ("", Encoding::Identity),
            ("br", Encoding::Identity),
            ("gzip;q=0", Encoding::Identity),
            ("gzip;q=0, *", Encoding::Identity),
            ("*;q=0", Encoding::Identity),
            ("identity, gzip;q=0.5", Encoding::Identity),
            ("gzip;q=x", Encoding::Identity),
        ] {
            assert_eq!(encoding([accept.as_bytes()]), expected, "{accept}");
        }
    }

    #[test]
    fn long_headers_count_as_absent() {
        let accept = format!("application/openmetrics-text{}", " ".repeat(HEADER_MAXIMUM));
        assert_eq!(representation([accept.as_bytes()]), Representation::default());
        let accept = format!("{}application/openmetrics-text", "a/b,".repeat(RANGES_MAXIMUM));
        assert_eq!(representation([accept.as_bytes()]), Representation::default());
    }

    proptest! {
        #[test]
        fn any_header_is_legal(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = (representation([&*bytes]), encoding([&*bytes]));
        }

        #[test]
        fn any_list_gives_a_content_type_that_a_header_can_carry(accept in "[a-z/*;=,q\"\\\\0-9. -]{0,200}") {
            let found = representation([accept.as_bytes()]).to_string();
            prop_assert!(found.bytes().all(|b| (b' '..=b'~').contains(&b)));
        }

        #[test]
        fn the_highest_quality_wins(text in 1u32..=1000, open in 1u32..=1000) {
            let of = |q: u32| f64::from(q) / 1000.0;
            let accept = format!("text/plain;q={}, application/openmetrics-text;q={}", of(text), of(open));
            let expected = if open > text { ExpositionFormat::OpenMetrics } else { ExpositionFormat::Text };
            prop_assert_eq!(representation([accept.as_bytes()]).format, expected);
        }
    }
}
