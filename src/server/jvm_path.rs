//! The path that names one JVM: `/jvm/{app}/{slot}`, with other labels in the query.

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::report::list::JvmRow;
use crate::report::overview::JvmKey;

/// What stays as it is in a segment of a path and in a query.
const KEPT: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The JVM that `{app}/{slot}` and a query name; `None` where they name none.
pub(super) fn parse(below: &str, query: Option<&str>) -> Option<JvmKey> {
    let decode = |text: &str| Some(percent_decode_str(text).decode_utf8().ok()?.into_owned());
    let (app, slot) = below.split_once('/')?;
    let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let labels = pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((decode(name)?, decode(value)?))
    });
    Some(JvmKey { app: decode(app)?, slot: slot.parse().ok()?, labels: labels.collect::<Option<_>>()? })
}

/// `{app}/{slot}` of a JVM with its other labels as the query; `None` while it has none.
pub(super) fn of(row: &JvmRow) -> Option<String> {
    let encode = |text: &str| utf8_percent_encode(text, &KEPT).to_string();
    let app = match encode(row.description.app.as_deref()?) {
        // Browsers take these for directories, whatever encodes the dots.
        dots if matches!(&*dots, "." | "..") => return None,
        app => app,
    };
    let mut path = format!("{app}/{}", row.description.slot?);
    for (at, (name, value)) in row.description.labels.iter().enumerate() {
        let separator = if at == 0 { '?' } else { '&' };
        let _ = write!(path, "{separator}{}={}", encode(name), encode(value));
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use super::*;
    use crate::report::list::JvmDescription;

    #[test]
    fn a_path_names_the_jvm_that_it_was_made_of() {
        for (app, labels) in [
            ("orders", vec![]),
            ("a/b?c=d&e#f %2F", vec![("container", "x&y=z"), ("pod", "ü +")]),
            ("<script>", vec![("", "")]),
        ] {
            let labels: BTreeMap<_, _> =
                labels.into_iter().map(|(name, value): (&str, &str)| (name.to_owned(), value.to_owned())).collect();
            let jvm = JvmDescription {
                app: Some(app.to_owned()),
                slot: Some(3),
                labels: labels.clone(),
                ..JvmDescription::default()
            };
            let path = of(&jvm.into()).unwrap();
            let (below, query) = path.split_once('?').map_or((&*path, None), |(path, query)| (path, Some(query)));
            assert_eq!(parse(below, query), Some(JvmKey { app: app.to_owned(), slot: 3, labels }), "{path}");
        }
    }

    #[test]
    fn other_paths_name_none() {
        for below in ["", "orders", "orders/", "orders/x", "orders/-1", "orders/0/1", "%ff/0"] {
            assert_eq!(parse(below, None), None, "{below}");
        }
        let dots = JvmDescription { app: Some("..".to_owned()), slot: Some(0), ..JvmDescription::default() };
        assert_eq!(of(&dots.into()), None);
    }
}
