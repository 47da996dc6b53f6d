//! The landing page: one HTML document without scripts, whose inline style the security policy allows by its hash. Texts
//! that JVMs and paths contain are hostile: the template inserts them as [`Foreign`].

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, Render, html};
use ring::digest::{SHA256, digest};

use crate::report::list::{JvmRow, Listing, NOTHING_FOUND, RefusedRow, bytes, duration};
use crate::text::printable;

pub(super) const STYLE: &str = include_str!("landing.css");
/// Refusals of one reason that are shown; `/targets` lists all.
const REFUSED_MAXIMUM: usize = 20;

/// A hash source of Content Security Policy.
pub(super) fn source_hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(digest(&SHA256, text.as_bytes())))
}

/// The document. Until `ready`, an empty listing means nothing.
pub(super) fn render(telemetry_path: &str, profiles: &[String], ready: bool, listing: &Listing) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "HotSpot exporter" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { "HotSpot exporter " small { (env!("CARGO_PKG_VERSION")) } }
                    nav aria-label="Endpoints" { (endpoints(telemetry_path, profiles)) }
                }
                main {
                    @if !listing.jvms.is_empty() {
                        h2 { "JVMs " small { (listing.jvms.len()) } }
                        ul.jvms { @for jvm in &listing.jvms { (card(jvm)) } }
                    } @else if ready {
                        (nothing_found())
                    } @else {
                        h2 { "Looking for JVMs" }
                        p { "The first scan has not finished; reload this page in a moment." }
                    }
                    (not_served(&listing.refused))
                }
            }
        }
    };
    page.into_string()
}

fn endpoints(telemetry_path: &str, profiles: &[String]) -> Markup {
    let link = |path: &str, text: &str| html! { a href=(Foreign(path)) { (Foreign(text)) } };
    html! {
        (link(telemetry_path, telemetry_path))
        @for profile in profiles.iter().skip(1) {
            @let path = format!("{telemetry_path}/{profile}");
            (link(&path, &path))
        }
        (link("/targets", "/targets"))
        (link("/-/healthy", "health"))
        (link("/-/ready", "ready"))
    }
}

fn card(jvm: &JvmRow) -> Markup {
    let java = match (&jvm.java_version, &jvm.vm_vendor) {
        (Some(version), Some(vendor)) => Some(format!("{version}, {vendor}")),
        (version, vendor) => version.clone().or(vendor.clone()),
    };
    let process = match (jvm.pid, &jvm.user) {
        (Some(pid), Some(user)) => Some(format!("{pid}, user {user}")),
        (Some(pid), None) => Some(pid.to_string()),
        (None, user) => user.as_ref().map(|user| format!("user {user}")),
    };
    let facts = [("JDK", java), ("Uptime", jvm.uptime_seconds.map(duration)), ("Process", process)];
    let labels = jvm.labels.iter().map(|(name, value)| (name.as_str(), Some(value.clone())));
    html! {
        li.jvm {
            div.title {
                h3 {
                    (Foreign(jvm.app.as_deref().unwrap_or("JVM")))
                    @if let Some(slot) = jvm.slot.filter(|slot| *slot > 0) {
                        " " span.count title="slot" { "#" (slot) }
                    }
                }
                span.badges {
                    @if let Some(gc) = &jvm.gc { span.badge.gc title="collector" { (Foreign(gc)) } }
                    span.badge.odd[jvm.state != "mapped"] title="state" { (Foreign(&jvm.state)) }
                }
            }
            @if let Some(main) = &jvm.main_class { p.main { (breakable(main)) } }
            (heap(jvm))
            dl.facts {
                @for (name, value) in facts.into_iter().chain(labels) {
                    @if let Some(value) = value { dt { (Foreign(name)) } dd { (Foreign(&value)) } }
                }
                dt { "Region" }
                dd { code { (Foreign(jvm.path.as_deref().unwrap_or("none yet"))) } }
            }
        }
    }
}

/// A qualified name that may break behind its separators.
fn breakable(name: &str) -> Markup {
    html! { @for part in name.split_inclusive(['.', '/']) { (Foreign(part)) wbr; } }
}

/// Heap use as a bar, which spans the limit, or the committed size where no limit is known; and in words.
fn heap(jvm: &JvmRow) -> Markup {
    let Some(span) = jvm.heap_limit.or(jvm.heap_committed).filter(|span| *span > 0) else { return html! {} };
    let bar = |class: &str, size: u64| {
        let width = (size as f64 / span as f64 * 100.0).min(100.0);
        html! { rect class=(class) width={ (format_args!("{width:.1}")) "%" } height="8" {} }
    };
    let limit = jvm.heap_limit.map(|limit| format!(" of {}", bytes(limit))).unwrap_or_default();
    html! {
        div {
            svg.heap aria-hidden="true" {
                (bar("track", span))
                @if let Some(committed) = jvm.heap_committed { (bar("committed", committed)) }
                @if let Some(used) = jvm.heap_used { (bar("used", used)) }
            }
            p.amounts {
                @match (jvm.heap_used, jvm.heap_committed) {
                    (Some(used), committed) => {
                        span { b { (bytes(used)) } (limit) " heap used" }
                        @if let Some(committed) = committed { span { (bytes(committed)) " committed" } }
                    }
                    (None, Some(committed)) => {
                        span { "heap use unknown between collections" }
                        span { (bytes(committed)) " committed" (limit) }
                    }
                    (None, None) => {
                        span { "heap use unknown between collections" }
                        span { "limit " (bytes(span)) }
                    }
                }
            }
        }
    }
}

/// The refusals, those of one reason and remedy together.
fn not_served(refused: &[RefusedRow]) -> Markup {
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
                        li { code { (Foreign(&row.subject())) } " " span { (Foreign(&row.detail)) } }
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

fn nothing_found() -> Markup {
    html! {
        h2 { "No JVM found" }
        section.empty {
            p { "JVMs appear here within seconds of their start. If one is missing, check:" }
            dl.facts { @for (topic, advice) in NOTHING_FOUND { dt { (topic) } dd { (advice) } } }
        }
    }
}

/// A text from outside, for element content and attributes. maud quotes every attribute and escapes `&`, `<`, `>`, `"`.
struct Foreign<'a>(&'a str);

impl Render for Foreign<'_> {
    fn render_to(&self, out: &mut String) {
        printable(self.0).render_to(out);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_policy_allows_the_style_as_it_is_in_the_page() {
        let page = page(&Listing::default());
        let style = page.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
        assert_eq!(style, STYLE);
        // The digest of the empty text, from FIPS 180-4's example vectors.
        assert_eq!(source_hash(""), "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    }

    fn page(listing: &Listing) -> String {
        let profiles = ["otel".to_owned(), "raw".to_owned()];
        render("/metrics", &profiles, true, listing)
    }

    #[test]
    fn hostile_names_stay_text() {
        let evil = "</style><script>alert('x')</script>\"onload=\u{202e}\0".to_owned();
        let jvm = JvmRow {
            app: Some(evil.clone()),
            state: evil.clone(),
            main_class: Some(evil.clone()),
            java_version: Some(evil.clone()),
            gc: Some(evil.clone()),
            path: Some(evil.clone()),
            labels: BTreeMap::from([(evil.clone(), evil.clone())]),
            vm_vendor: Some(evil.clone()),
            user: Some(evil.clone()),
            ..JvmRow::default()
        };
        let refused = RefusedRow {
            path: Some(evil.clone()),
            pid: None,
            reason: evil.clone(),
            detail: evil.clone(),
            remedy: evil.clone(),
        };
        let page = page(&Listing { jvms: vec![jvm], refused: vec![refused] });
        assert!(page.matches("&lt;script&gt;").count() >= 12, "every field is shown");
        assert_eq!(page.matches("</style>").count(), 1);
        for forbidden in ["<script", "\"onload", "\u{202e}", "\0", " style="] {
            assert!(!page.contains(forbidden), "{forbidden:?}");
        }
    }

    #[test]
    fn an_unknown_heap_use_is_not_shown_as_zero() {
        let jvm = JvmRow { heap_committed: Some(64 << 20), heap_limit: Some(256 << 20), ..JvmRow::default() };
        let unknown = page(&Listing { jvms: vec![jvm.clone()], refused: vec![] });
        assert!(unknown.contains("heap use unknown between collections") && !unknown.contains("class=\"used\""));
        assert!(unknown.contains("class=\"committed\" width=\"25.0%\""));
        let known = page(&Listing { jvms: vec![JvmRow { heap_used: Some(512 << 20), ..jvm }], refused: vec![] });
        assert!(known.contains("class=\"used\" width=\"100.0%\"") && known.contains("512.0 MiB"));
        let silent = page(&Listing { jvms: vec![JvmRow::default()], refused: vec![] });
        assert!(!silent.contains("<svg"));
    }

    #[test]
    fn an_empty_page_says_what_to_check() {
        let page = page(&Listing::default());
        for word in ["group id", "PerfDisableSharedMem", "subPath", "/metrics/raw"] {
            assert!(page.contains(word), "{word}");
        }
    }

    #[test]
    fn a_refusal_is_shown_with_its_remedy() {
        let row = |reason: &str, remedy: &str| RefusedRow {
            path: Some("/tmp/hsperfdata_app/7".to_owned()),
            reason: reason.to_owned(),
            detail: "mode 0600, uid 1000".to_owned(),
            remedy: remedy.to_owned(),
            ..RefusedRow::default()
        };
        let refused = vec![row("permission", "Run it as uid 1000."), row("truncated", "")];
        let page = page(&Listing { jvms: vec![], refused });
        assert_eq!(page.matches("class=\"remedy\"").count(), 1);
        assert!(page.contains("<p class=\"remedy\">Run it as uid 1000.</p>"), "{page}");
    }

    #[test]
    fn many_refusals_of_one_reason_are_cut() {
        let row = RefusedRow { pid: Some(1), reason: "other_owner".to_owned(), ..RefusedRow::default() };
        let page = page(&Listing { jvms: vec![], refused: vec![row; 25] });
        assert!(page.contains("and 5 more") && page.contains("other owner"));
    }
}
