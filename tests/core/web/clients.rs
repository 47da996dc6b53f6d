//! Client certificates.

use rcgen::{SanType, string::Ia5String};

use crate::support::certificates::{Authority, TLS, dns, write_identity};
use crate::web::website::Website;

const VERSIONS: [&[&str]; 2] = [&["--tls-max", "1.2"], &["--tlsv1.3"]];

/// The answers to a client without a certificate, with one of a stranger, and with one of the client CA.
async fn answers(lines: &str) -> [bool; 3] {
    let (known, unknown) = (Authority::new("client authority"), Authority::new("stranger"));
    let web = format!("{TLS}{lines}");
    let site = Website::prepare(&web, |directory| {
        std::fs::write(directory.join("clients.pem"), &known.pem).unwrap();
        write_identity(directory, "known", &known.client(vec![dns("scraper")]));
        write_identity(directory, "unknown", &unknown.client(vec![dns("scraper")]));
    });
    let site = site.await;
    let file = |name: &str| site.path(name).display().to_string();
    let mut answers = None;
    for version in VERSIONS {
        let seen = [None, Some("unknown"), Some("known")].map(|identity| {
            let mut arguments: Vec<String> = version.iter().map(|argument| (*argument).to_owned()).collect();
            if let Some(name) = identity {
                let (certificate, key) = (file(&format!("{name}.pem")), file(&format!("{name}.key")));
                arguments.extend(["--cert".to_owned(), certificate, "--key".to_owned(), key]);
            }
            site.curl(arguments).is_fine()
        });
        assert_eq!(*answers.get_or_insert(seen), seen, "{lines}: both versions of TLS agree");
    }
    answers.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_client_auth_type_lets_in_whom_it_says() {
    let ca = "  client_ca_file: clients.pem\n";
    for (auth, ca, expected) in [
        ("NoClientCert", "", [true, true, true]),
        ("RequestClientCert", "", [true, true, true]),
        ("RequestClientCert", ca, [true, true, true]),
        ("RequireAnyClientCert", "", [false, true, true]),
        ("RequireClientCert", ca, [false, true, true]),
        ("VerifyClientCertIfGiven", ca, [true, false, true]),
        ("RequireAndVerifyClientCert", ca, [false, false, true]),
    ] {
        assert_eq!(answers(&format!("  client_auth_type: {auth}\n{ca}")).await, expected, "{auth}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn alternative_names_are_compared_letter_by_letter() {
    let authority = Authority::new("client authority");
    let text = |text: &str| Ia5String::try_from(text).unwrap();
    let names = vec![
        dns("scraper.example"),
        SanType::Rfc822Name(text("ops@example.org")),
        SanType::URI(text("spiffe://cluster/prometheus")),
        SanType::IpAddress("10.1.2.3".parse().unwrap()),
        SanType::IpAddress("2001:db8::7".parse().unwrap()),
    ];
    for (allowed, fine) in [
        ("[scraper.example]", true),
        ("[other, ops@example.org]", true),
        ("['spiffe://cluster/prometheus']", true),
        ("[10.1.2.3]", true),
        ("['2001:db8::7']", true),
        ("[scraper]", false),
        ("[SCRAPER.example, '*.example', 10.1.2.30, client]", false),
    ] {
        for auth in ["RequireAndVerifyClientCert\n  client_ca_file: clients.pem", "RequireAnyClientCert"] {
            let lines = format!("{TLS}  client_allowed_sans: {allowed}\n  client_auth_type: {auth}\n");
            let site = Website::prepare(&lines, |directory| {
                std::fs::write(directory.join("clients.pem"), &authority.pem).unwrap();
                write_identity(directory, "client", &authority.client(names.clone()));
                write_identity(directory, "nameless", &authority.client(Vec::new()));
            });
            let site = site.await;
            let with = |name: &str| {
                let [certificate, key] = ["pem", "key"].map(|kind| site.path(&format!("{name}.{kind}")));
                site.curl(["--cert".as_ref(), certificate.as_os_str(), "--key".as_ref(), key.as_os_str()])
            };
            let (seen, nameless) = (with("client"), with("nameless"));
            assert_eq!(seen.is_fine(), fine, "{allowed} {auth}: {seen:?}");
            assert!(!nameless.is_fine(), "{allowed} {auth}: {nameless:?}");
        }
    }
}
