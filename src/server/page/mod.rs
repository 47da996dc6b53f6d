//! The pages: HTML with charts as SVG, made here and whole without scripts. A script of ours, in the document and allowed by
//! its hash as the style is, fetches the page again every few seconds and puts the new content in place of the old.
//!
//! Texts that JVMs and paths contain are hostile: templates insert them as [`Foreign`].

mod chart;
mod ended;
mod heap;
mod jvm;
mod memory;
mod overview;
mod refused;
mod units;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, Render, html};
use ring::digest::{SHA256, digest};

use crate::report::overview::{Finding, Severity};
use crate::text::printable;
pub(super) use jvm::jvm_page;
pub(super) use overview::overview_page;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// A line that rises. It is in the page, so that browsers ask for none.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Crect width='16' height='16' rx='4' fill='%232f6f5e'/%3E%3Cpath d='M3 10l3-4 3 3 4-5' fill='none' stroke='%23fff' stroke-width='1.8' stroke-linecap='round'/%3E%3C/svg%3E";

/// The page may run the one script and load nothing but itself; no other page may embed it.
pub(super) fn policy(others: &str) -> String {
    let (style, script) = (source_hash(STYLE), source_hash(SCRIPT));
    format!("{others}; style-src '{style}'; script-src '{script}'; connect-src 'self'; img-src data:")
}

/// A hash source of Content Security Policy.
fn source_hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(digest(&SHA256, text.as_bytes())))
}

/// Where the page stands among the others.
pub(super) struct Site<'a> {
    /// `--web.telemetry-path`
    pub(super) telemetry_path: &'a str,
    /// The profiles, the default one first.
    pub(super) profiles: &'a [String],
}

impl Site<'_> {
    /// A document. `controls` stay while the script replaces `content`.
    fn document(&self, title: &str, controls: &Markup, content: &Markup) -> String {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    link rel="icon" href=(ICON);
                    title { (Foreign(title)) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    header {
                        p.brand { a href="/" { "HotSpot exporter" } " " small { (env!("CARGO_PKG_VERSION")) } }
                        nav aria-label="Endpoints" { (self.endpoints()) }
                    }
                    main {
                        (controls)
                        div #live { (content) }
                    }
                    p #status role="status" {}
                    script { (PreEscaped(SCRIPT)) }
                }
            }
        };
        page.into_string()
    }

    fn endpoints(&self) -> Markup {
        let link = |path: &str, text: &str| html! { a href=(Foreign(path)) { (Foreign(text)) } };
        html! {
            (link(self.telemetry_path, self.telemetry_path))
            @for profile in self.profiles.iter().skip(1) {
                @let path = format!("{}/{profile}", self.telemetry_path);
                (link(&path, &path))
            }
            (link("/overview", "/overview"))
            (link("/targets", "/targets"))
            (link("/-/healthy", "health"))
            (link("/-/ready", "ready"))
        }
    }
}

/// The class and the word of a severity.
fn severity(severity: Severity) -> (&'static str, &'static str) {
    match severity {
        Severity::Critical => ("critical", "Critical"),
        Severity::Warning => ("warning", "Warning"),
        Severity::Info => ("info", "Note"),
    }
}

/// Findings with their numbers, sources and next steps.
fn findings(findings: &[Finding]) -> Markup {
    html! {
        ul.findings {
            @for finding in findings {
                @let (class, word) = severity(finding.severity);
                li class=(class) {
                    p { strong { (word) } " " (Foreign(&finding.text)) }
                    p.step { (prose(&finding.next_step)) }
                    p.source {
                        (Foreign(&finding.source))
                        @if let Some(runbook) = &finding.runbook { " · " code { (Foreign(runbook)) } }
                    }
                }
            }
        }
    }
}

/// A text in which what stands between backticks is code.
fn prose(text: &str) -> Markup {
    html! {
        @for (number, part) in text.split('`').enumerate() {
            @if number % 2 == 1 { code { (Foreign(part)) } } @else { (Foreign(part)) }
        }
    }
}

/// A qualified name that may break behind its separators.
fn breakable(name: &str) -> Markup {
    html! { @for part in name.split_inclusive(['.', '/']) { (Foreign(part)) wbr; } }
}

/// A text from outside, for element content and attributes. maud quotes every attribute and escapes `&`, `<`, `>`, `"`.
struct Foreign<'a>(&'a str);

impl Render for Foreign<'_> {
    fn render_to(&self, out: &mut String) {
        printable(self.0).render_to(out);
    }
}

#[cfg(test)]
mod tests;
