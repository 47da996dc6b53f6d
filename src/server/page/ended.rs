//! JVMs that have ended.

use maud::{Markup, html};

use super::{Foreign, heap};
use crate::report::list::duration;
use crate::report::overview::{HowEnded, JvmOverview};
use crate::server::jvm_path;

/// How a JVM ended, in words.
pub(super) fn how(how: HowEnded) -> (&'static str, &'static str) {
    match how {
        HowEnded::Exited => ("exited", "It removed its file, as a JVM does that exits or crashes."),
        HowEnded::Killed => ("killed", "It left its file behind, as a JVM does that is killed."),
        HowEnded::OutOfMemory => ("out of memory", "Its cgroup counted a kill for lack of memory."),
        HowEnded::Unknown => ("ended", "Nothing tells how it ended."),
    }
}

/// The list of JVMs that have ended.
pub(super) fn list(jvms: &[&JvmOverview], now: f64) -> Markup {
    html! {
        @if !jvms.is_empty() {
            section.ended aria-labelledby="ended" {
                h2 #ended { "Ended " small { (jvms.len()) } }
                ul.plain {
                    @for jvm in jvms {
                        @let end = jvm.end.map(|end| (how(end.how), (now - end.at).max(0.0)));
                        li data-row {
                            (name(jvm))
                            @if let Some(((word, why), ago)) = end {
                                " " span.badge.odd[word != "exited"] title=(why) { (word) }
                                " " span.quiet { (duration(ago)) " ago" }
                            }
                            @if let Some(uptime) = jvm.row.uptime_seconds { span.quiet { " · after " (duration(uptime)) } }
                            @if let Some(amount) = heap::amount(&jvm.row) { span.quiet { " · heap " (amount) } }
                        }
                    }
                }
            }
        }
    }
}

/// The name of a JVM, as a link to its page.
pub(super) fn name(jvm: &JvmOverview) -> Markup {
    let row = &jvm.row;
    let text = html! {
        (Foreign(row.description.app.as_deref().unwrap_or("JVM")))
        @if let Some(slot) = row.description.slot.filter(|slot| *slot > 0) { span.count { "#" (slot) } }
    };
    match jvm_path::of(row) {
        Some(path) => html! { a href={ "/jvm/" (path) } { (text) } },
        None => text,
    }
}
