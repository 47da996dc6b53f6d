//! Versions of TLS and HTTP, suites, curves, headers.

use crate::support::certificates::{TLS, lay_out};
use crate::support::exporter::{Exporter, command};
use crate::support::regions::Root;
use crate::support::server::{DEADLINE, eventually};
use crate::support::{ensure, wait_for};
use crate::web::website::Website;

const NONE: [&str; 0] = [];

#[tokio::test(flavor = "multi_thread")]
async fn https_is_verified_and_clear_text_is_refused() {
    let site = Website::start(TLS).await;
    let metrics = site.curl_url(&format!("https://localhost:{}/metrics", site.server.address.port()), ["--compressed"]);
    assert!(metrics.is_fine() && metrics.text.contains("jvm_up 1"), "{metrics:?}");
    let verified = site.curl(["--cacert", "/dev/null"]);
    assert!(!verified.is_fine(), "curl does verify: {verified:?}");
    let clear = site.curl_url(&format!("http://{}/-/healthy", site.server.address), NONE);
    assert!(!clear.is_fine(), "clear text has no way in: {clear:?}");
    eventually("both refusals are counted", || site.server.refused("handshake") >= 2.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_is_not_spoken() {
    for (lines, tls) in [(TLS, true), ("", false)] {
        for http2 in ["", "http_server_config: {http2: true}\n", "http_server_config: {http2: false}\n"] {
            let site = Website::start(&format!("{lines}{http2}")).await;
            let scheme = if tls { "https" } else { "http" };
            let url = format!("{scheme}://{}/-/healthy", site.server.address);
            let seen = site.curl_url(&url, ["--http2"]);
            assert!(seen.is_fine() && seen.version == "1.1", "a client that offers both: {seen:?}");
        }
    }
    let site = Website::start(TLS).await;
    let (done, said) = site.openssl(&["-alpn", "h2,http/1.1"]);
    assert!(done && said.contains("ALPN protocol: http/1.1"), "{said}");
    let (done, said) = site.openssl(&["-alpn", "h2"]);
    assert!(!done && said.contains("alert no application protocol"), "{said}");
    // RFC 9113, 3.4: the preface of a client with prior knowledge, followed by an empty SETTINGS frame.
    let site = Website::start("").await;
    let answer = site.server.raw("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0").await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{:?}", String::from_utf8_lossy(&answer));
    let url = format!("http://{}/-/healthy", site.server.address);
    let seen = site.curl_url(&url, ["--http2-prior-knowledge"]);
    assert!(!seen.is_fine() && seen.exit != 28, "refused without a timeout: {seen:?}");
    assert!(site.curl_url(&url, NONE).is_fine());
}

#[test]
fn a_request_for_http_2_is_answered_by_one_line_of_the_log() {
    for (web, lines) in
        [("http_server_config: {http2: true}\n", 1), ("http_server_config: {http2: false}\n", 0), ("", 0)]
    {
        let (root, directory) = (Root::new(), tempfile::tempdir().unwrap());
        lay_out(directory.path(), web);
        let file = directory.path().join("web.yml");
        let mut command = command(root.flags());
        let exporter = Exporter::spawn(command.arg(format!("--web.config.file={}", file.display())));
        std::fs::write(&file, format!("{web}rate_limit: {{interval: 1ms, burst: 1000}}\n")).unwrap();
        wait_for("a reload", || ensure(exporter.log().contains("web configuration reloaded"), exporter.log()));
        let log = exporter.log();
        assert_eq!(log.matches("the server speaks HTTP/1.1 only").count(), lines, "{web}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_bounded() {
    for (lines, old, new) in [
        ("", true, true),
        ("  min_version: TLS12\n  max_version: TLS13\n", true, true),
        ("  min_version: TLS13\n", false, true),
        ("  max_version: TLS12\n", true, false),
    ] {
        let site = Website::start(&format!("{TLS}{lines}")).await;
        let seen = [site.curl(["--tls-max", "1.2"]), site.curl(["--tlsv1.3"])];
        assert_eq!([seen[0].is_fine(), seen[1].is_fine()], [old, new], "{lines}: {seen:?}");
    }
    let site = Website::start(TLS).await;
    for version in ["-tls1", "-tls1_1"] {
        // The lowest level of OpenSSL still offers it; the alert is ours.
        let (done, said) = site.openssl(&[version, "-cipher", "ALL:@SECLEVEL=0"]);
        assert!(!done && said.contains("SSL alert number"), "{version}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn suites_and_curves_are_those_of_the_file() {
    let suites = "  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_AES_128_GCM_SHA256]\n";
    let site = Website::start(&format!("{TLS}{suites}  curve_preferences: [CurveP384]\n")).await;
    for (arguments, fine) in [
        (["--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384"], true),
        (["--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256"], false),
        (["--tlsv1.3", "--tls13-ciphers", "TLS_CHACHA20_POLY1305_SHA256", "--http1.1"], true),
        (["--curves", "P-384:P-256", "--tls-max", "1.2"], true),
        (["--curves", "X25519:P-256", "--tls-max", "1.2"], false),
        (["--curves", "P-256", "--tlsv1.3", "--http1.1"], false),
    ] {
        let seen = site.curl(arguments);
        assert_eq!(seen.is_fine(), fine, "{arguments:?}: {seen:?}");
    }
    let site = Website::start(&format!("{TLS}  cipher_suites: [TLS_AES_128_GCM_SHA256]\n")).await;
    assert!(site.curl(["--tlsv1.3"]).is_fine());
    assert!(!site.curl(["--tls-max", "1.2"]).is_fine(), "no suite of 1.2 was named");
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_are_set_replaced_and_taken_away() {
    let headers = "http_server_config:\n  headers:\n    Strict-Transport-Security: max-age=31536000\n    \
                   X-Frame-Options: sameorigin\n    X-Content-Type-Options: nosniff\n    X-XSS-Protection: '0'\n    \
                   Content-Security-Policy: ''\n";
    for (tls, scheme) in [(TLS, "https"), ("", "http")] {
        let site = Website::start(&format!("{tls}{headers}")).await;
        for path in ["/", "/-/healthy", "/none"] {
            let seen = site.curl_url(&format!("{scheme}://{}{path}", site.server.address), NONE);
            for line in
                ["strict-transport-security: max-age=31536000", "x-frame-options: sameorigin", "x-xss-protection: 0"]
            {
                assert!(seen.text.contains(&format!("\n{line}\r")), "{path} {line}: {seen:?}");
            }
            assert!(!seen.text.contains("content-security-policy") && !seen.text.contains("deny"), "{path}: {seen:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_lets_a_burst_through() {
    let site = Website::start("rate_limit: {interval: 1h, burst: 2}\n").await;
    let url = format!("http://{}/-/healthy", site.server.address);
    let seen: Vec<_> = (0..4).map(|_| site.curl_url(&url, NONE)).collect();
    assert_eq!(seen.iter().map(|seen| seen.status).collect::<Vec<_>>(), [200, 200, 429, 429]);
    assert!(seen[2].text.contains("retry-after: 1") && seen[2].text.contains("x-content-type-options: nosniff"));
    assert_eq!(site.server.refused("rate_limit"), 2.0);
    let site = Website::start("rate_limit: {interval: 0, burst: 0}\n").await;
    let url = format!("http://{}/-/healthy", site.server.address);
    assert!((0..5).all(|_| site.curl_url(&url, NONE).is_fine()));
}

#[tokio::test(flavor = "multi_thread")]
async fn healthchecks_ask_over_tls() {
    let hash = bcrypt::hash("secret", 4).unwrap();
    for (web, words) in [
        (TLS.to_owned(), None),
        (format!("{TLS}basic_auth_users: {{ann: {hash}}}\n"), None),
        (format!("{TLS}  client_auth_type: RequireAnyClientCert\n"), Some("client certificates")),
    ] {
        let site = Website::start(&web).await;
        let output = command(["healthcheck", &format!("https://{}/-/healthy", site.server.address)]).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(words.is_some().into()), "{web}: {error}");
        assert!(words.is_none_or(|words| error.contains(words)), "{web}: {error}");
    }
    let site = Website::start(TLS).await;
    let error = hotspot_exporter::server::healthcheck::healthcheck("https://192.0.2.1:1/", DEADLINE / 100).await;
    assert!(error.is_err());
    site.server.fake.not_ready.store(true, std::sync::atomic::Ordering::SeqCst);
    let output = command(["healthcheck", &format!("https://{}/-/ready", site.server.address)]).output().unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("503"));
}
