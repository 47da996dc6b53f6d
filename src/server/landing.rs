//! The landing page: one HTML document without scripts, its style inline and named by hash in the security policy.
//!
//! Whatever a JVM or a path says about itself is hostile and escaped.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write};

use crate::report::list::{JvmRow, Listing, NOTHING_FOUND, RefusedRow, bytes, duration};

const STYLE: &str = include_str!("page.css");

/// What the policy lets the page use as a style: the hash of `page.css`; a test says the right one when that changes.
pub(super) const STYLE_HASH: &str = "sha256-qDbKkVpEFBOhjM52WuZHaEFKkpnhs133Fr9UgS/k9J0=";

/// Rows of one reason for refusal that are shown; `/targets` has them all.
const REFUSED_SHOWN: usize = 20;

/// What the page shows.
pub(super) struct Contents<'a> {
    pub(super) telemetry_path: &'a str,
    pub(super) profiles: &'a [String],
    pub(super) ready: bool,
    pub(super) listing: &'a Listing,
}

/// The document.
pub(super) fn render(contents: &Contents<'_>) -> String {
    let mut out = String::with_capacity(8192 + 2048 * contents.listing.jvms.len());
    let _ = write_page(&mut out, contents);
    out
}

fn write_page(out: &mut String, contents: &Contents<'_>) -> fmt::Result {
    let Contents { telemetry_path, profiles, ready, listing } = contents;
    let version = env!("CARGO_PKG_VERSION");
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>HotSpot exporter</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <header>\n<h1>HotSpot exporter <small>{version}</small></h1>\n<nav aria-label=\"Endpoints\">\n"
    )?;
    writeln!(out, "<a href=\"{0}\">{0}</a>", Escaped(telemetry_path))?;
    for profile in profiles.iter().skip(1) {
        writeln!(out, "<a href=\"{0}/{1}\">{0}/{1}</a>", Escaped(telemetry_path), Escaped(profile))?;
    }
    out.push_str(
        "<a href=\"/targets\">/targets</a>\n<a href=\"/-/healthy\">health</a>\n<a href=\"/-/ready\">ready</a>\n\
         </nav>\n</header>\n<main>\n",
    );
    match (listing.jvms.is_empty(), ready) {
        (true, false) => {
            out.push_str("<h2>Looking for JVMs</h2>\n<p>The first scan has not ended; reload in a moment.</p>\n")
        }
        (true, true) => write_empty(out)?,
        (false, _) => {
            writeln!(out, "<h2>JVMs <small>{}</small></h2>\n<ul class=\"jvms\">", listing.jvms.len())?;
            for jvm in &listing.jvms {
                write_jvm(out, jvm)?;
            }
            out.push_str("</ul>\n");
        }
    }
    write_refused(out, &listing.refused)?;
    out.push_str("</main>\n</body>\n</html>\n");
    Ok(())
}

fn write_jvm(out: &mut String, jvm: &JvmRow) -> fmt::Result {
    writeln!(out, "<li class=\"jvm\">\n<div class=\"title\"><h3>{}", Escaped(jvm.app.as_deref().unwrap_or("?")))?;
    if let Some(slot) = jvm.slot.filter(|slot| *slot > 0) {
        write!(out, " <span class=\"slot\" title=\"slot\">#{slot}</span>")?;
    }
    out.push_str("</h3><span class=\"badges\">");
    if let Some(gc) = &jvm.gc {
        write!(out, "<span class=\"badge gc\" title=\"collector\">{}</span>", Escaped(gc))?;
    }
    let odd = if jvm.state == "mapped" { "" } else { " odd" };
    writeln!(out, "<span class=\"badge{odd}\" title=\"state\">{}</span></span></div>", Escaped(&jvm.state))?;
    if let Some(main) = &jvm.main_class {
        // Long names may break where a reader would.
        let breakable = Escaped(main).to_string().replace('.', ".<wbr>").replace('/', "/<wbr>");
        writeln!(out, "<p class=\"main\">{breakable}</p>")?;
    }
    write_heap(out, jvm)?;
    out.push_str("<dl class=\"facts\">\n");
    let java = match (&jvm.java_version, &jvm.vm_vendor) {
        (Some(version), Some(vendor)) => Some(format!("{version}, {vendor}")),
        (version, vendor) => version.clone().or(vendor.clone()),
    };
    let process = match (jvm.pid, &jvm.user) {
        (Some(pid), Some(user)) => Some(format!("{pid}, user {user}")),
        (Some(pid), None) => Some(pid.to_string()),
        (None, user) => user.as_ref().map(|user| format!("user {user}")),
    };
    let labels = jvm.labels.iter().map(|(name, value)| (name.as_str(), Some(value.clone())));
    for (name, value) in
        [("JDK", java), ("Uptime", jvm.uptime_seconds.map(duration)), ("Process", process)].into_iter().chain(labels)
    {
        if let Some(value) = value {
            writeln!(out, "<dt>{}</dt><dd>{}</dd>", Escaped(name), Escaped(&value))?;
        }
    }
    writeln!(
        out,
        "<dt>Region</dt><dd><code>{}</code></dd>\n</dl>\n</li>",
        Escaped(jvm.path.as_deref().unwrap_or("not there yet"))
    )
}

/// The bar spans the limit, or what is committed where no limit is known.
fn write_heap(out: &mut String, jvm: &JvmRow) -> fmt::Result {
    let Some(span) = jvm.heap_limit.or(jvm.heap_committed).filter(|span| *span > 0) else { return Ok(()) };
    let percent = |part: u64| (part as f64 / span as f64 * 100.0).min(100.0);
    out.push_str("<div><svg class=\"heap\" aria-hidden=\"true\"><rect class=\"track\" width=\"100%\" height=\"8\"/>");
    if let Some(committed) = jvm.heap_committed {
        write!(out, "<rect class=\"held\" width=\"{:.1}%\" height=\"8\"/>", percent(committed))?;
    }
    if let Some(used) = jvm.heap_used {
        write!(out, "<rect class=\"used\" width=\"{:.1}%\" height=\"8\"/>", percent(used))?;
    }
    out.push_str("</svg>\n<p class=\"amounts\"><span>");
    let limit = jvm.heap_limit.map(|limit| format!(" of {}", bytes(limit))).unwrap_or_default();
    match jvm.heap_used {
        Some(used) => write!(out, "<b>{}</b> heap used{limit}", bytes(used))?,
        None => out.push_str("heap used: unknown between collections"),
    }
    out.push_str("</span><span>");
    match (jvm.heap_committed, jvm.heap_used) {
        (Some(committed), Some(_)) => write!(out, "{} committed", bytes(committed))?,
        (Some(committed), None) => write!(out, "{} committed{limit}", bytes(committed))?,
        (None, None) => write!(out, "limit{}", limit.replace(" of", ""))?,
        (None, Some(_)) => {}
    }
    out.push_str("</span></p></div>\n");
    Ok(())
}

fn write_refused(out: &mut String, refused: &[RefusedRow]) -> fmt::Result {
    if refused.is_empty() {
        return Ok(());
    }
    writeln!(out, "<h2>Not served <small>{}</small></h2>", refused.len())?;
    let mut groups = BTreeMap::<(&str, &str), Vec<&RefusedRow>>::new();
    for row in refused {
        groups.entry((&row.reason, &row.remedy)).or_default().push(row);
    }
    for ((reason, remedy), rows) in groups {
        let title = reason.replace('_', " ");
        writeln!(
            out,
            "<section class=\"refused\">\n<h3>{} <span class=\"slot\">{}</span></h3>",
            Escaped(&title),
            rows.len()
        )?;
        if !remedy.is_empty() {
            writeln!(out, "<p class=\"remedy\">{}</p>", Escaped(remedy))?;
        }
        out.push_str("<ul>\n");
        for row in rows.iter().take(REFUSED_SHOWN) {
            writeln!(out, "<li><code>{}</code> <span>{}</span></li>", Escaped(&row.subject()), Escaped(&row.detail))?;
        }
        if rows.len() > REFUSED_SHOWN {
            let more = rows.len() - REFUSED_SHOWN;
            writeln!(out, "<li><span>and {more} more, in <a href=\"/targets\">/targets</a></span></li>")?;
        }
        out.push_str("</ul>\n</section>\n");
    }
    Ok(())
}

fn write_empty(out: &mut String) -> fmt::Result {
    out.push_str(
        "<h2>No JVM yet</h2>\n<section class=\"empty\">\n\
         <p>JVMs appear here by themselves, seconds after they start. If yours should be here, check:</p>\n\
         <dl class=\"facts\">\n",
    );
    for (topic, advice) in NOTHING_FOUND {
        writeln!(out, "<dt>{}</dt><dd>{}</dd>", Escaped(topic), Escaped(advice))?;
    }
    out.push_str("</dl>\n</section>\n");
    Ok(())
}

/// Text for element content and quoted attributes. Control and direction characters are replaced.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => f.write_char('\u{fffd}')?,
                c if c.is_control() => f.write_char('\u{fffd}')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::process::{Command, Stdio};

    /// The hash as coreutils compute it; skipped, and said so, where they are missing.
    #[test]
    fn the_policy_names_the_style() {
        let pipeline = "sha256sum | cut -c-64 | tr a-f A-F | basenc --base16 -d | base64 -w0";
        let shell = Command::new("sh").args(["-c", pipeline]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let Ok(mut shell) = shell else { return eprintln!("skipped: no sh") };
        std::io::Write::write_all(&mut shell.stdin.take().unwrap(), STYLE.as_bytes()).unwrap();
        let output = shell.wait_with_output().unwrap();
        if !output.status.success() {
            return eprintln!("skipped: no coreutils");
        }
        assert_eq!(STYLE_HASH, format!("sha256-{}", String::from_utf8(output.stdout).unwrap()));
    }

    fn page(listing: &Listing) -> String {
        let profiles = ["otel".to_owned(), "raw".to_owned()];
        render(&Contents { telemetry_path: "/metrics", profiles: &profiles, ready: true, listing })
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
        assert_eq!(page.matches("</style>").count(), 1);
        for forbidden in ["<script", "alert('", "\"onload", "\u{202e}", "\0", " style="] {
            assert!(!page.contains(forbidden), "{forbidden:?}");
        }
    }

    #[test]
    fn the_heap_bar_tells_the_unknown_from_zero() {
        let jvm = JvmRow { heap_committed: Some(64 << 20), heap_limit: Some(256 << 20), ..JvmRow::default() };
        let unknown = page(&Listing { jvms: vec![jvm.clone()], refused: vec![] });
        assert!(unknown.contains("unknown between collections") && !unknown.contains("class=\"used\""));
        assert!(unknown.contains("class=\"held\" width=\"25.0%\""));
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
    fn many_refusals_of_one_reason_are_cut() {
        let row = RefusedRow { pid: Some(1), reason: "other_owner".to_owned(), ..RefusedRow::default() };
        let page = page(&Listing { jvms: vec![], refused: vec![row; 25] });
        assert!(page.contains("and 5 more") && page.contains("other owner"));
    }
}
