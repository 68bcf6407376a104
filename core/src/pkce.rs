//! Proof Key for Code Exchange (RFC 7636), method S256 only: `plain` shows the verifier to whoever reads the request.

use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq;

use crate::base64url;

/// Whether it is a challenge: 32 bytes in canonical base64url.
pub fn is_challenge(text: &str) -> bool {
    base64url::decode(text).is_some_and(|bytes| bytes.len() == 32)
}

/// Whether the verifier is that of the challenge, in constant time.
pub fn matches(challenge: &str, verifier: &str) -> bool {
    let expected = base64url::encode(digest(&SHA256, verifier.as_bytes()).as_ref());
    expected.as_bytes().ct_eq(challenge.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7636 appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn the_verifier_of_the_standard_matches_and_no_other() {
        assert!(is_challenge(CHALLENGE));
        assert!(matches(CHALLENGE, VERIFIER));
        for wrong in ["", CHALLENGE, &VERIFIER[1..], "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXK"] {
            assert!(!matches(CHALLENGE, wrong), "{wrong}");
        }
        for wrong in ["", VERIFIER.get(1..).unwrap_or_default(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM="] {
            assert!(!is_challenge(wrong), "{wrong}");
        }
    }
}
