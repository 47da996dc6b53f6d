//! Heap use as a bar.

use maud::{Markup, html};

use super::units::Quantity;
use crate::report::list::JvmRow;

/// Heap use as a bar, which spans the limit, or the committed size where no limit is known.
pub(super) fn bar(jvm: &JvmRow) -> Markup {
    let Some(span) = jvm.heap_limit.or(jvm.heap_committed).filter(|span| *span > 0) else { return html! {} };
    let rect = |class: &str, size: u64| {
        let width = (size as f64 / span as f64 * 100.0).min(100.0);
        html! { rect class=(class) width={ (format_args!("{width:.0}")) "%" } height="6" {} }
    };
    html! {
        svg.use aria-hidden="true" {
            @if let Some(committed) = jvm.heap_committed { (rect("committed", committed)) }
            @if let Some(used) = jvm.heap_used { (rect("used", used)) }
        }
    }
}

/// `412 MiB of 2 GiB`; committed bytes are named as such where the use is unknown.
pub(super) fn amount(jvm: &JvmRow) -> Option<String> {
    let text = |bytes: u64| Quantity::Bytes.text(bytes as f64);
    let limit = jvm.heap_limit.map(|limit| format!(" of {}", text(limit))).unwrap_or_default();
    match (jvm.heap_used, jvm.heap_committed) {
        (Some(used), _) => Some(format!("{}{limit}", text(used))),
        (None, Some(committed)) => Some(format!("{} committed{limit}", text(committed))),
        (None, None) => None,
    }
}
