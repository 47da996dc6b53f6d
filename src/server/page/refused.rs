//! What is not served, and why.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::Foreign;
use crate::report::list::{NOTHING_FOUND, RefusedRow};

/// Refusals of one reason that are shown; `/targets` lists all.
const REFUSED_MAXIMUM: usize = 20;

/// The refusals, those of one reason and remedy together.
pub(super) fn not_served(refused: &[RefusedRow]) -> Markup {
    let mut groups = BTreeMap::<(&str, &str), Vec<&RefusedRow>>::new();
    for row in refused {
        groups.entry((&row.reason, &row.remedy)).or_default().push(row);
    }
    html! {
        @if !refused.is_empty() { h2 { "Not served " small { (refused.len()) } } }
        @for ((reason, remedy), rows) in groups {
            section.refused {
                h3 { (Foreign(&reason.replace('_', " "))) " " span.count { (rows.len()) } }
                @if !remedy.is_empty() { p.remedy { (Foreign(remedy)) } }
                ul {
                    @for row in rows.iter().take(REFUSED_MAXIMUM) {
                        li data-row { code { (Foreign(&row.subject())) } " " span { (Foreign(&row.detail)) } }
                    }
                    @if rows.len() > REFUSED_MAXIMUM {
                        @let more = rows.len() - REFUSED_MAXIMUM;
                        li { span { "and " (more) " more, in " a href="/targets" { "/targets" } } }
                    }
                }
            }
        }
    }
}

/// What to do where no JVM is there.
pub(super) fn nothing_found() -> Markup {
    html! {
        h2 { "No JVM found" }
        section.empty {
            p { "JVMs appear here within seconds of their start. If one is missing, check:" }
            dl.facts { @for (topic, advice) in NOTHING_FOUND { dt { (topic) } dd { (advice) } } }
        }
    }
}
