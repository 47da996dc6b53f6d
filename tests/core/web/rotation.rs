//! Certificates and the file itself, replaced under a running server.

use crate::support::certificates::{TLS, write_identity};
use crate::support::server::eventually;
use crate::web::website::Website;

const NONE: [&str; 0] = [];

const RELOADS: &str = "hotspot_exporter_web_config_reloads_total";

fn subject(site: &Website) -> String {
    let (_, said) = site.openssl(&[]);
    said.lines().find(|line| line.starts_with("subject=")).unwrap_or_default().replace(' ', "")
}

async fn until(site: &Website, outcome: &str, count: f64) {
    eventually(outcome, || site.server.metric(RELOADS, outcome) == count).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_served_without_a_restart() {
    let site = Website::start(TLS).await;
    assert_eq!(subject(&site), "subject=CN=first");
    write_identity(site.path("").as_path(), "server", &site.authority.server("second"));
    eventually("the new certificate", || subject(&site) == "subject=CN=second").await;
    assert!(site.curl(NONE).is_fine());
    // Renewed in two steps, with a long time between them: the old pair serves until the new one is whole.
    let third = site.authority.server("third");
    let failures = site.server.metric(RELOADS, "failure");
    site.write("server.pem", &third.certificate);
    eventually("a refusal", || site.server.metric(RELOADS, "failure") > failures).await;
    assert_eq!(site.server.metric("hotspot_exporter_web_config_last_reload_successful", ""), 0.0);
    assert_eq!(subject(&site), "subject=CN=second");
    site.write("server.key", &third.key);
    eventually("the third certificate", || subject(&site) == "subject=CN=third").await;
    assert_eq!(site.server.metric("hotspot_exporter_web_config_last_reload_successful", ""), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_comes_late_is_found() {
    let site = Website::start(TLS).await;
    site.write("web.yml", &TLS.replace("server.", "late."));
    until(&site, "failure", 1.0).await;
    write_identity(site.path("").as_path(), "late", &site.authority.server("late"));
    eventually("the late certificate", || subject(&site) == "subject=CN=late").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_changes_and_never_takes_protection_away() {
    let users = |name: &str| format!("{TLS}basic_auth_users: {{{name}: {}}}\n", bcrypt::hash(name, 4).unwrap());
    let site = Website::start(&users("ann")).await;
    assert!(site.curl(["--user", "ann:ann"]).is_fine());
    site.write("web.yml", &users("bob"));
    until(&site, "success", 1.0).await;
    assert_eq!(site.curl(["--user", "ann:ann"]).status, 401, "a removed user is out, cached or not");
    assert!(site.curl(["--user", "bob:bob"]).is_fine());
    let (mut refused, no_users) = (0.0, TLS.to_owned());
    for bad in ["", "basic_auth_users: {}", "{", "tls_server_config: {}", &no_users, &users("bob").replace(TLS, "")] {
        site.write("web.yml", bad);
        refused += 1.0;
        until(&site, "failure", refused).await;
        assert!(site.curl(["--user", "bob:bob"]).is_fine(), "{bad:?} takes effect");
        assert_eq!(site.curl(NONE).status, 401, "{bad:?} opens the door");
    }
    std::fs::remove_file(site.path("web.yml")).unwrap();
    until(&site, "failure", refused + 1.0).await;
    assert_eq!(site.curl(NONE).status, 401);
    site.write("web.yml", &users("cat"));
    until(&site, "success", 2.0).await;
    assert!(site.curl(["--user", "cat:cat"]).is_fine());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demand_for_certificates_stays() {
    let demand = format!("{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n");
    let site = Website::start(&demand).await;
    assert!(!site.curl(NONE).is_fine());
    site.write("web.yml", TLS);
    until(&site, "failure", 1.0).await;
    assert!(!site.curl(NONE).is_fine());
}
