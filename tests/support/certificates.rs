//! An authority and what it issues, made when the test runs, and a web configuration around it.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};

/// A CA that can issue.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

/// A certificate with its key, both in PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// For a server at the loopback address. `name` is the subject, by which a test knows it again.
    pub fn server(&self, name: &str) -> Identity {
        let names = vec![SanType::IpAddress("127.0.0.1".parse().unwrap()), dns("localhost")];
        self.issue(name, names, ExtendedKeyUsagePurpose::ServerAuth)
    }

    pub fn client(&self, names: Vec<SanType>) -> Identity {
        self.issue("client", names, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn issue(&self, name: &str, names: Vec<SanType>, purpose: ExtendedKeyUsagePurpose) -> Identity {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = names;
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

pub fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

/// The TLS section whose certificate [`lay_out`] makes; its lines may be continued.
pub const TLS: &str = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n";

/// The files of a web configuration. The CA of clients is another than that of the server.
pub fn lay_out(directory: &Path, web: &str) -> Authority {
    let authority = Authority::new("server authority");
    write_identity(directory, "server", &authority.server("first"));
    std::fs::write(directory.join("ca.pem"), &authority.pem).unwrap();
    std::fs::write(directory.join("web.yml"), web).unwrap();
    authority
}

pub fn write_identity(directory: &Path, name: &str, identity: &Identity) {
    // Renamed into place, as everybody does it who replaces a certificate.
    for (extension, pem) in [("key", &identity.key), ("pem", &identity.certificate)] {
        let temporary = directory.join("temporary");
        std::fs::write(&temporary, pem).unwrap();
        std::fs::rename(temporary, directory.join(format!("{name}.{extension}"))).unwrap();
    }
}
