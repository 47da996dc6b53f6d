//! Basic authentication.

use crate::support::certificates::TLS;
use crate::web::website::Website;

/// Of `fakepassword`, made by another program: exporter-toolkit's own test hash, in the form of htpasswd.
const HTPASSWD: &str = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";

#[tokio::test(flavor = "multi_thread")]
async fn every_path_wants_a_password() {
    let web =
        format!("basic_auth_users:\n  ann: {HTPASSWD}\n  \"b o b\": {}\n", bcrypt::hash("pa:ss wörd", 4).unwrap());
    for (tls, scheme) in [(TLS, "https"), ("", "http")] {
        let site = Website::start(&format!("{tls}{web}")).await;
        for path in [
            "/",
            "/metrics",
            "/metrics/raw",
            "/targets",
            "/overview",
            "/overview/a/0",
            "/-/healthy",
            "/-/ready",
            "/-/reload",
            "/none",
        ] {
            let url = format!("{scheme}://{}{path}", site.server.address);
            for arguments in [&[][..], &["--user", "ann:wrong"], &["--user", "eve:fakepassword"], &["--user", "ann:"]] {
                let seen = site.curl_url(&url, arguments);
                assert_eq!(seen.status, 401, "{path} {arguments:?}: {seen:?}");
                assert!(seen.text.contains("www-authenticate: basic"), "{seen:?}");
            }
            for user in ["ann:fakepassword", "b o b:pa:ss wörd"] {
                assert_ne!(site.curl_url(&url, ["--user", user]).status, 401, "{path} {user}");
            }
        }
        assert_eq!(site.server.fake.runs.load(std::sync::atomic::Ordering::SeqCst), 4, "only for those let in");
        assert_eq!(site.server.refused("unauthorized"), 40.0);
    }
}
