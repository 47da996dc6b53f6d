//! The checks of a client's certificate: Go's `ClientAuthType`s and `client_allowed_sans`.

use std::net::IpAddr;
use std::sync::Arc;

use der::asn1::{AnyRef, OctetStringRef};
use der::{Decode, Tag, TagNumber, Tagged};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DistinguishedName, Error};

use crate::tls::signature_checks;

/// id-ce-subjectAltName (RFC 5280, 4.2.1.6), as the content of an OBJECT IDENTIFIER.
const SUBJECT_ALT_NAME: [u8; 3] = [0x55, 0x1d, 0x11];

/// `client_auth_type`, by Go's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ClientAuth {
    /// `NoClientCert`
    #[default]
    None,
    /// `RequestClientCert`: requested, and any is accepted.
    Request,
    /// `RequireAnyClientCert`, or `RequireClientCert`: required, and any is accepted.
    RequireAny,
    /// `VerifyClientCertIfGiven`
    VerifyIfGiven,
    /// `RequireAndVerifyClientCert`: the only type that authenticates clients.
    RequireAndVerify,
}

impl ClientAuth {
    /// The values of the key.
    pub(super) const VALUES: [(&str, Self); 6] = [
        ("NoClientCert", Self::None),
        ("RequestClientCert", Self::Request),
        ("RequireAnyClientCert", Self::RequireAny),
        ("RequireClientCert", Self::RequireAny),
        ("VerifyClientCertIfGiven", Self::VerifyIfGiven),
        ("RequireAndVerifyClientCert", Self::RequireAndVerify),
    ];

    /// Whether certificates are verified with `client_ca`.
    pub(super) fn verifies(self) -> bool {
        matches!(self, Self::VerifyIfGiven | Self::RequireAndVerify)
    }

    /// Whether a client without a certificate is refused.
    pub(super) fn requires(self) -> bool {
        matches!(self, Self::RequireAny | Self::RequireAndVerify)
    }
}

/// Checks certificates by a `ClientAuth`. In every type, rustls checks that the client has the certificate's key.
#[derive(Debug)]
pub(super) struct ClientPolicy {
    /// Verifies with `client_ca`; `None` accepts any certificate.
    pub(super) verifier: Option<Arc<dyn ClientCertVerifier>>,
    pub(super) mandatory: bool,
    /// The certificate must have one of these alternative names; an empty list allows all.
    pub(super) allowed_sans: Vec<String>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for ClientPolicy {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.as_ref().map_or(&[], |verifier| verifier.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(verifier) = &self.verifier {
            verifier.verify_client_cert(certificate, intermediates, now)?;
        }
        // A name is allowed if it equals one byte by byte.
        let names = alternative_names(certificate).unwrap_or_default();
        if !self.allowed_sans.is_empty() && !names.iter().any(|name| self.allowed_sans.contains(name)) {
            return Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure));
        }
        Ok(ClientCertVerified::assertion())
    }

    signature_checks!(self => self.algorithms);
}

/// DNS names, e-mail addresses, IP addresses and URIs of a certificate, as exporter-toolkit writes them. Other kinds of
/// names are ignored. `None` if the certificate is malformed or does not have exactly one extension for them.
fn alternative_names(certificate: &[u8]) -> Option<Vec<String>> {
    // Certificate and TBSCertificate (RFC 5280, 4.1); `extensions` is the field with the tag [3] EXPLICIT.
    let [tbs, ..] = &*Vec::<AnyRef<'_>>::from_der(certificate).ok()? else { return None };
    let tbs: Vec<AnyRef<'_>> = tbs.decode_as().ok()?;
    let tag = Tag::ContextSpecific { constructed: true, number: TagNumber(3) };
    let extensions = tbs.iter().find(|field| field.tag() == tag)?;
    // An extension is its id, optionally `critical`, and its value in an OCTET STRING.
    let extensions = Vec::<Vec<AnyRef<'_>>>::from_der(extensions.value()).ok()?;
    let is_names = |id: &AnyRef<'_>| id.tag() == Tag::ObjectIdentifier && id.value() == SUBJECT_ALT_NAME;
    let mut found = extensions.iter().filter(|extension| extension.first().is_some_and(is_names));
    let (Some(extension), None) = (found.next(), found.next()) else { return None };
    let value: &OctetStringRef = extension.last()?.decode_as().ok()?;
    let names = Vec::<AnyRef<'_>>::from_der(value.as_bytes()).ok()?;
    Some(names.iter().filter_map(spelling).collect())
}

/// A GeneralName (RFC 5280, 4.2.1.6) as a text.
fn spelling(name: &AnyRef<'_>) -> Option<String> {
    let Tag::ContextSpecific { constructed: false, number } = name.tag() else { return None };
    match (number.value(), name.value()) {
        // rfc822Name, dNSName, uniformResourceIdentifier: IA5String
        (1 | 2 | 6, text) if text.is_ascii() => String::from_utf8(text.to_owned()).ok(),
        // iPAddress
        (7, bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
            16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
            _ => None,
        }
        .map(|address| address.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, CustomExtension, KeyPair, OtherNameValue, SanType};

    fn certificate(names: Vec<SanType>, extensions: Vec<CustomExtension>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.custom_extensions = extensions;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn every_kind() -> Vec<SanType> {
        vec![
            SanType::DnsName("scraper.example".try_into().unwrap()),
            SanType::OtherName((vec![1, 3, 6, 1, 4, 1, 311, 20, 2, 3], OtherNameValue::Utf8String("ann".to_owned()))),
            SanType::Rfc822Name("ops@example.org".try_into().unwrap()),
            SanType::URI("spiffe://cluster/prometheus".try_into().unwrap()),
            SanType::IpAddress("10.1.2.3".parse().unwrap()),
            SanType::IpAddress("2001:db8::7".parse().unwrap()),
        ]
    }

    #[test]
    fn every_kind_of_name_is_read() {
        let names = alternative_names(&certificate(every_kind(), Vec::new())).unwrap();
        let expected = ["scraper.example", "ops@example.org", "spiffe://cluster/prometheus", "10.1.2.3", "2001:db8::7"];
        assert_eq!(names, expected);
    }

    #[test]
    fn a_certificate_without_names_or_with_ambiguous_names_has_none() {
        assert_eq!(alternative_names(&certificate(Vec::new(), Vec::new())), None);
        // SEQUENCE { [2] "a" }, as a second extension, critical and not.
        let content = vec![0x30, 3, 0x82, 1, b'a'];
        for critical in [false, true] {
            let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 17], content.clone());
            extension.set_criticality(critical);
            let alone = certificate(Vec::new(), vec![extension.clone()]);
            assert_eq!(alternative_names(&alone), Some(vec!["a".to_owned()]));
            assert_eq!(alternative_names(&certificate(every_kind(), vec![extension])), None);
        }
        for content in [&[0x30, 3, 0x82, 1, 0xe9][..], &[0x30, 5, 0x87, 3, 1, 2, 3], &[0x30, 0]] {
            let extension = CustomExtension::from_oid_content(&[2, 5, 29, 17], content.to_owned());
            assert_eq!(alternative_names(&certificate(Vec::new(), vec![extension])), Some(Vec::new()), "{content:?}");
        }
    }

    proptest! {
        #[test]
        fn changed_certificates_are_read_without_a_panic(index in any::<prop::sample::Index>(), byte: u8, cut: bool) {
            let mut bytes = certificate(every_kind(), Vec::new());
            let index = index.index(bytes.len());
            bytes[index] = byte;
            if cut {
                bytes.truncate(index);
            }
            let _ = alternative_names(&bytes);
        }
    }
}
