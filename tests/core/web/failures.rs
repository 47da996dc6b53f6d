//! What is wrong with a file, all of it, with its place, and without a secret.

use std::path::Path;

use hotspot_exporter::server::Web;

use crate::support::certificates::{TLS, lay_out};
use crate::support::exporter::command;

/// What `Web::load` says of the text, with the directory left out.
fn problems(text: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    lay_out(directory.path(), text);
    match Web::load(&directory.path().join("web.yml")) {
        Ok(_) => "no problem".to_owned(),
        Err(problems) => problems.to_string().replace(&format!("{}/", directory.path().display()), ""),
    }
}

#[test]
fn every_problem_has_its_place_and_remedy() {
    let text = "\
tls_server_config:
  cert_file: none.pem
  key_file: server.key
  keyfile: x
  client_auth_type: Verify
  client_allowed_sans: [a]
  min_version: TLS11
  cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA, TLS_AES_128_GCM_SHA257]
  curve_preferences: [CurveP521, X25518]
  prefer_server_cipher_suites: maybe
http_server_config:
  http3: true
  headers: {X-Frame-Options: allow, Server: me}
basic_auth_users:
  ann: clear-password-1
  bob: {hash: clear-password-2}
rate_limit: {interval: 5s}
basic_auth: {ann: clear-password-3}
";
    let found = problems(text);
    assert!(!found.contains("clear-password"), "{found}");
    insta::assert_snapshot!(found, @r##"
web.yml:2:14: tls_server_config.cert_file: none.pem cannot be read: No such file or directory (os error 2); relative paths start at the directory of the web configuration
web.yml:4:3: tls_server_config.keyfile: this key is not known; did you mean `key_file`?
web.yml:5:21: tls_server_config.client_auth_type: expected one of NoClientCert, RequestClientCert, RequireAnyClientCert, RequireClientCert, VerifyClientCertIfGiven, RequireAndVerifyClientCert, found `Verify`
web.yml:6:24: tls_server_config.client_allowed_sans: has an effect only with a client_auth_type that requires a certificate; write RequireAndVerifyClientCert
web.yml:7:16: tls_server_config.min_version: TLS11 is insecure (RFC 8996) and not supported; write TLS12 or TLS13
web.yml:8:19: tls_server_config.cipher_suites[0]: TLS_RSA_WITH_AES_128_CBC_SHA is weak and not supported; remove it; suites with ECDHE and GCM or CHACHA20_POLY1305 are supported
web.yml:8:49: tls_server_config.cipher_suites[1]: unknown cipher suite; did you mean `TLS_AES_128_GCM_SHA256`?
web.yml:9:23: tls_server_config.curve_preferences[0]: CurveP521 is not supported; remove it; X25519, CurveP256 and CurveP384 are supported
web.yml:9:34: tls_server_config.curve_preferences[1]: unknown curve; did you mean `X25519`?
web.yml:10:32: tls_server_config.prefer_server_cipher_suites: expected true or false, found `maybe`
web.yml:12:3: http_server_config.http3: this key is not known; did you mean `http2`?
web.yml:13:30: http_server_config.headers.X-Frame-Options: expected one of deny, sameorigin, found `allow`
web.yml:13:37: http_server_config.headers.Server: this key is not known; known are Content-Security-Policy, X-Frame-Options, X-Content-Type-Options, X-XSS-Protection, Strict-Transport-Security
web.yml:15:8: basic_auth_users.ann: expected the bcrypt hash of a password; make one with `htpasswd -nBC 10 USER`
web.yml:16:8: basic_auth_users.bob: expected the bcrypt hash of a password; make one with `htpasswd -nBC 10 USER`
web.yml:17:13: rate_limit.burst: a limit without a burst of at least 1 refuses every request; add `burst: 10`
web.yml:18:1: basic_auth: this key is not known; known are tls_server_config, http_server_config, basic_auth_users, rate_limit
"##);
}

#[test]
fn what_does_not_go_together_is_refused() {
    for (text, words) in [
        ("tls_server_config: {min_version: TLS12}", "expected cert or cert_file"),
        ("tls_server_config: {cert_file: server.pem}", "expected key or key_file"),
        (&format!("{TLS}  cert: x"), "found both cert and cert_file"),
        (&format!("{TLS}  client_ca_file: ca.pem"), "no effect without client_auth_type"),
        (&format!("{TLS}  client_ca_file: ca.pem\n  client_auth_type: NoClientCert"), "no effect with NoClientCert"),
        (&format!("{TLS}  client_auth_type: RequireAndVerifyClientCert"), "needs a CA"),
        (
            &format!("{TLS}  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: server.key"),
            "expected certificates",
        ),
        (&format!("{TLS}  client_allowed_sans: [a]\n  client_auth_type: RequestClientCert"), "requires a certificate"),
        (&format!("{TLS}  min_version: TLS13\n  max_version: TLS12"), "below min_version"),
        (&TLS.replace("server.key", "server.pem"), "expected a private key"),
        (&TLS.replace("server.key", "ca.pem"), "expected a private key"),
        (&TLS.replace("server.pem", "web.yml"), "expected certificates in PEM"),
        (&TLS.replace("server.pem", "ca.pem"), "does not match"),
        (&TLS.replace("server.pem", "/dev/zero"), "not a regular file"),
        ("tls_server_config:\n  cert: |\n    nonsense\n  key: |\n    secret-key\n", "expected certificates in PEM"),
        ("basic_auth_users: ann:secret-word", "expected a mapping of users to bcrypt hashes"),
        ("basic_auth_users: {\"a:b\": x}", "has no colon"),
        ("basic_auth_users: {ann: $2y$31$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi}", "too slow"),
        ("http_server_config: {headers: {X-XSS-Protection: \"a\\nb\"}}", "one line of visible characters"),
        ("rate_limit: {interval: 1s, burst: 0}", "refuses every request"),
        ("rate_limit: {interval: soon}", "expected a duration"),
        ("[", "not YAML"),
        (
            &format!("{TLS}  cipher_suites: [\"TLS_RSA_WITH\\n_AES_128_CBC_SHA\"]"),
            "TLS_RSA_WITH _AES_128_CBC_SHA is weak",
        ),
    ] {
        let found = problems(text);
        assert!(found.contains(words) && !found.contains("secret"), "{text}: {found}");
        assert!(found.starts_with("web.yml:"), "{text}: {found}");
    }
}

#[test]
fn files_of_other_exporters_work() {
    let directory = tempfile::tempdir().unwrap();
    lay_out(directory.path(), "");
    let inline = |name: &str| {
        let pem = std::fs::read_to_string(directory.path().join(name)).unwrap();
        pem.lines().map(|line| format!("    {line}\n")).collect::<String>()
    };
    let inline = format!("tls_server_config:\n  cert: |\n{}  key: |\n{}", inline("server.pem"), inline("server.key"));
    for text in [
        "",
        "# nothing\n",
        "tls_server_config: {}\nbasic_auth_users:\n",
        &inline,
        &format!(
            "{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n  \
             prefer_server_cipher_suites: true\n  max_version: TLS13\n  curve_preferences: [CurveP256]\n\
             http_server_config:\n  http2: true\n  headers:\n    X-Frame-Options: deny\nrate_limit:\n  \
             interval: 100ms\n  burst: 5\n"
        ),
    ] {
        std::fs::write(directory.path().join("web.yml"), text).unwrap();
        let loaded = Web::load(&directory.path().join("web.yml"));
        assert!(loaded.is_ok(), "{text}: {}", loaded.unwrap_err());
    }
}

#[test]
fn the_check_covers_both_files_and_a_bad_one_does_not_start() {
    let directory = tempfile::tempdir().unwrap();
    let (config, web) = (directory.path().join("config.yaml"), directory.path().join("web.yml"));
    let run = |arguments: &[&str]| {
        let flag = |name: &str, file: &Path| format!("--{name}={}", file.display());
        let mut command = command([flag("config.file", &config), flag("web.config.file", &web)]);
        let output = command.args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    std::fs::write(&config, "limits: {max_jvm: 1}").unwrap();
    std::fs::write(&web, "tls_config: {}").unwrap();
    for arguments in [&["--config.check"][..], &[]] {
        let (code, error) = run(arguments);
        assert_eq!(code, Some(64), "{error}");
        assert!(error.contains("config.yaml:1:10: limits.max_jvm: this key is not known"), "{error}");
        assert!(error.contains("web.yml:1:1: tls_config: this key is not known"), "{error}");
    }
    std::fs::write(&config, "").unwrap();
    assert_eq!(run(&["--config.check"]).0, Some(64));
    std::fs::write(&web, "rate_limit: {interval: 1s, burst: 1}").unwrap();
    assert_eq!(run(&["--config.check"]).0, Some(0));
    std::fs::remove_file(&web).unwrap();
    assert!(run(&["--config.check"]).1.contains("web.yml: cannot be read: No such file"));
}
