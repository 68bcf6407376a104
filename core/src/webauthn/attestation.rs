//! Attestation: what model an authenticator is, by its maker's word (WebAuthn section 8.2, format packed with certificates).
//!
//! A statement counts where its certificates lead to a root that the site trusts. webpki follows them and ring verifies the
//! signatures, of what is asked here at this time; what is particular to authenticators is looked at beside it.

use std::time::Duration;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert, ring as signatures};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::asn1::ObjectIdentifier;

use super::Refused;

/// Certificates that makers of authenticators begin theirs with.
#[derive(Debug)]
pub struct Roots(Vec<CertificateDer<'static>>);

impl Roots {
    /// Reads PEM; none where no certificate is in it, or one that is no root.
    pub fn read(pem: &str) -> Option<Roots> {
        let roots = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>().ok()?;
        let are_roots = roots.iter().all(|root| anchor_from_trusted_cert(root).is_ok());
        (are_roots && !roots.is_empty()).then_some(Roots(roots))
    }

    fn anchors(&self) -> Vec<TrustAnchor<'_>> {
        self.0.iter().filter_map(|root| anchor_from_trusted_cert(root).ok()).collect()
    }
}

/// Whom an attestation has to come from.
#[derive(Clone, Copy, Debug)]
pub struct Trusted<'a> {
    pub roots: &'a Roots,
    /// Seconds since 1970.
    pub now: u64,
}

/// A signature of the maker's.
pub(super) struct Certified<'a> {
    pub(super) algorithm: i64,
    pub(super) signature: &'a [u8],
    /// The authenticator's certificate, and those that it leads to.
    pub(super) certificates: Vec<&'a [u8]>,
}

/// A certificate that says what else it is good for is not an authenticator's (RFC 5280 section 4.2.1.12, anyExtendedKeyUsage).
const ANY_USAGE: &[u8] = &[0x55, 0x1d, 0x25, 0x00];

const SIGNATURES: &[&dyn SignatureVerificationAlgorithm] = &[
    signatures::ECDSA_P256_SHA256,
    signatures::ECDSA_P256_SHA384,
    signatures::ECDSA_P384_SHA256,
    signatures::ECDSA_P384_SHA384,
    signatures::ED25519,
    signatures::RSA_PKCS1_2048_8192_SHA256,
    signatures::RSA_PKCS1_2048_8192_SHA384,
    signatures::RSA_PKCS1_2048_8192_SHA512,
];

impl Certified<'_> {
    pub(super) fn verify(&self, signed: &[u8], aaguid: &[u8; 16], trusted: Trusted<'_>) -> Result<(), Refused> {
        const UNTRUSTED: Refused = Refused("the attestation leads to no root that is trusted");
        let mut certificates = self.certificates.iter().map(|der| CertificateDer::from(*der));
        let own = certificates.next().ok_or(UNTRUSTED)?;
        let (between, anchors): (Vec<_>, _) = (certificates.collect(), trusted.roots.anchors());
        let certificate = EndEntityCert::try_from(&own).map_err(|_| UNTRUSTED)?;
        let now = UnixTime::since_unix_epoch(Duration::from_secs(trusted.now));
        let usage = KeyUsage::required_if_present(ANY_USAGE);
        certificate.verify_for_usage(SIGNATURES, &anchors, &between, now, usage, None, None).map_err(|_| UNTRUSTED)?;
        certificate
            .verify_signature(self.signature_algorithm()?, signed, self.signature)
            .map_err(|_| Refused("the attestation is not signed with its certificate"))?;
        check_certificate(&own, aaguid)
    }

    /// By its COSE number.
    fn signature_algorithm(&self) -> Result<&'static dyn SignatureVerificationAlgorithm, Refused> {
        match self.algorithm {
            -7 => Ok(signatures::ECDSA_P256_SHA256),
            -8 => Ok(signatures::ED25519),
            -35 => Ok(signatures::ECDSA_P384_SHA384),
            -257 => Ok(signatures::RSA_PKCS1_2048_8192_SHA256),
            _ => Err(Refused("the attestation is of an algorithm that is not known")),
        }
    }
}

/// What section 8.2.1 asks of an authenticator's certificate beyond what webpki has looked at: that it is of version 3 and no
/// authority.
fn check_certificate(der: &[u8], aaguid: &[u8; 16]) -> Result<(), Refused> {
    const COUNTRY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.6");
    const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");
    const UNIT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.11");
    const NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
    const MODEL: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.45724.1.1.4");
    let certificate = Certificate::from_der(der).map_err(|_| Refused("the certificate is not well formed"))?;
    let inside = &certificate.tbs_certificate;
    let subject = || inside.subject.0.iter().flat_map(|set| set.0.iter());
    let says = |oid, is_right: fn(&[u8]) -> bool| subject().any(|one| one.oid == oid && is_right(one.value.value()));
    let is_named = [COUNTRY, ORGANIZATION, NAME].into_iter().all(|oid| says(oid, |text| !text.is_empty()));
    if !is_named || !says(UNIT, |text| text == b"Authenticator Attestation") {
        return Err(Refused("the certificate is not that of an authenticator"));
    }
    let models = inside.extensions.iter().flatten().filter(|extension| extension.extn_id == MODEL);
    // An octet string in an octet string. A critical one webpki has refused, as it does whatever it does not know.
    let expected = [&[4, 16], &aaguid[..]].concat();
    for model in models {
        if model.extn_value.as_bytes() != expected {
            return Err(Refused("the certificate is that of another model"));
        }
    }
    Ok(())
}
