//! Secrets that are spent once: the link and the code of a mail. The database holds keyed digests of them, so whoever reads its
//! tables cannot search through the million codes there are.
//!
//! A link is 50 letters of base64url: version 1 (1) | key id, big endian (4) | random (32); its digest is HMAC-SHA256 over these
//! bytes. A code is decimal digits; its digest is key id, big endian (4) | HMAC-SHA256 over the row that it belongs to (16) |
//! purpose and address, each with its length before it, big endian (8) | the digits.

use ring::hmac;
use zeroize::Zeroizing;

use crate::base64url;
use crate::keyring::{Keyring, RootKey};

/// What the keys of the digests are derived for: `RootKey::derive`. Frozen.
pub const LINK_PURPOSE: &str = "one-time-link";
/// See `LINK_PURPOSE`.
pub const CODE_PURPOSE: &str = "one-time-code";

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 5;
const LINK_BYTES: usize = HEADER_BYTES + 32;
const LINK_LETTERS: usize = 50;
const KEY_ID_BYTES: usize = 4;

/// A new link's secret.
pub fn link(root: &RootKey, random: &[u8; 32]) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new([0; LINK_BYTES]);
    bytes[0] = VERSION;
    bytes[1..HEADER_BYTES].copy_from_slice(&root.id().to_be_bytes());
    bytes[HEADER_BYTES..].copy_from_slice(random);
    Zeroizing::new(base64url::encode(bytes.as_slice()))
}

/// Why there is no digest of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkError {
    /// Not 50 letters of canonical base64url of a version that we know.
    Malformed,
    /// The keyring has no key with this id.
    UnknownKey(u32),
}

/// What the database holds of a link.
///
/// # Errors
/// See `LinkError`.
pub fn link_digest(keyring: &Keyring, link: &str) -> Result<[u8; 32], LinkError> {
    if link.len() != LINK_LETTERS {
        return Err(LinkError::Malformed);
    }
    let bytes = Zeroizing::new(base64url::decode(link).ok_or(LinkError::Malformed)?);
    if bytes.len() != LINK_BYTES || bytes[0] != VERSION {
        return Err(LinkError::Malformed);
    }
    let key_id = u32::from_be_bytes(bytes[1..HEADER_BYTES].try_into().expect("the slice is four bytes"));
    let root = keyring.find(key_id).ok_or(LinkError::UnknownKey(key_id))?;
    Ok(mac(root, LINK_PURPOSE, &[&bytes]).as_ref().try_into().expect("HMAC-SHA256 is 32 bytes"))
}

/// So many decimal digits, each as likely as any other; `None` when the random bytes did not suffice, which is rarer than
/// once in 10^12 for ten digits of 64 bytes.
pub fn digits(count: u32, random: &[u8; 64]) -> Option<Zeroizing<String>> {
    // 250 and above would make the digits 0 to 5 likelier.
    let digits: String = random
        .iter()
        .filter(|byte| **byte < 250)
        .take(count as usize)
        .map(|byte| char::from(b'0' + byte % 10))
        .collect();
    (digits.len() == count as usize).then(|| Zeroizing::new(digits))
}

/// What a code belongs to: it is good for nothing else.
#[derive(Clone, Copy, Debug)]
pub struct Bound<'a> {
    /// Id of the row that holds the digest.
    pub row: [u8; 16],
    /// What it may be spent on.
    pub purpose: &'a str,
    /// Key of the address that it was sent to.
    pub address: &'a str,
}

/// What the database holds of a code.
pub fn code_digest(root: &RootKey, bound: &Bound, code: &str) -> Vec<u8> {
    [&root.id().to_be_bytes()[..], code_mac(root, bound, code).as_ref()].concat()
}

/// Whether a code is the one of a digest, in constant time. False too where the keyring has no key for the digest.
pub fn is_code(keyring: &Keyring, digest: &[u8], bound: &Bound, code: &str) -> bool {
    let Some((key_id, tag)) = digest.split_at_checked(KEY_ID_BYTES) else { return false };
    let key_id = u32::from_be_bytes(key_id.try_into().expect("the slice is four bytes"));
    let Some(root) = keyring.find(key_id) else { return false };
    let key = hmac::Key::new(hmac::HMAC_SHA256, root.derive(CODE_PURPOSE).as_slice());
    hmac::verify(&key, &code_text(bound, code), tag).is_ok()
}

fn code_mac(root: &RootKey, bound: &Bound, code: &str) -> hmac::Tag {
    mac(root, CODE_PURPOSE, &[&code_text(bound, code)])
}

fn code_text(bound: &Bound, code: &str) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(64 + bound.address.len()));
    text.extend_from_slice(&bound.row);
    for part in [bound.purpose, bound.address] {
        text.extend_from_slice(&(part.len() as u64).to_be_bytes());
        text.extend_from_slice(part.as_bytes());
    }
    text.extend_from_slice(code.as_bytes());
    text
}

fn mac(root: &RootKey, purpose: &str, parts: &[&[u8]]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, root.derive(purpose).as_slice()));
    parts.iter().for_each(|part| context.update(part));
    context.sign()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Bound = Bound { row: *b"0123456789abcdef", purpose: "recovery", address: "ada@example.org" };

    fn keyring() -> Keyring {
        Keyring::parse(
            "2 /wECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        )
        .expect("a keyring")
    }

    #[test]
    fn a_link_has_one_digest_under_its_own_key() {
        let keyring = keyring();
        let links: Vec<_> = keyring.iter().map(|root| link(root, &[7; 32])).collect();
        let digests: Vec<_> = links.iter().map(|link| link_digest(&keyring, link).expect("a link")).collect();
        assert_eq!(links[0].len(), LINK_LETTERS);
        assert_ne!(digests[0], digests[1]);
        let older = Keyring::parse("1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n").expect("a keyring");
        assert_eq!(link_digest(&older, &links[0]), Err(LinkError::UnknownKey(2)));
        assert_eq!(link_digest(&older, &links[1]), Ok(digests[1]));
        for wrong in ["", "x", &links[0][1..], &format!("{}A", &links[0][..49]).replacen('A', "E", 1)] {
            assert_eq!(link_digest(&keyring, wrong), Err(LinkError::Malformed), "{wrong}");
        }
    }

    #[test]
    fn every_digit_is_as_likely_as_any_other() {
        let mut counts = [0; 10];
        for first in 0..=255 {
            let mut random = [255; 64];
            random[0] = first;
            if let Some(digits) = digits(1, &random) {
                counts[usize::from(digits.as_bytes()[0] - b'0')] += 1;
            }
        }
        assert_eq!(counts, [25; 10]);
        assert_eq!(digits(6, &[255; 64]).as_deref(), None);
        assert_eq!(digits(6, &[13; 64]).as_deref().map(String::as_str), Some("333333"));
    }

    #[test]
    fn a_code_is_good_for_its_row_purpose_and_address_only() {
        let keyring = keyring();
        for root in keyring.iter() {
            let digest = code_digest(root, &BOUND, "123456");
            assert!(is_code(&keyring, &digest, &BOUND, "123456"));
            for (bound, code) in [
                (BOUND, "123457"),
                (BOUND, "12345"),
                (Bound { row: [0; 16], ..BOUND }, "123456"),
                (Bound { purpose: "magiclink", ..BOUND }, "123456"),
                (Bound { address: "ada@example.com", ..BOUND }, "123456"),
                (Bound { address: "ada@example.org1", ..BOUND }, "23456"),
            ] {
                assert!(!is_code(&keyring, &digest, &bound, code), "{bound:?} {code}");
            }
            for length in 0..digest.len() {
                assert!(!is_code(&keyring, &digest[..length], &BOUND, "123456"));
            }
        }
        let unknown = [&9_u32.to_be_bytes()[..], &[0; 32]].concat();
        assert!(!is_code(&keyring, &unknown, &BOUND, "123456"));
    }
}
