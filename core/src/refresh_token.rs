//! Refresh tokens: 45 bytes, 60 letters of base64url, that say which session they belong to and how often it was refreshed.
//! Nothing is stored for a token; a MAC under a root-derived key proves that we made it.
//!
//! Bytes: version 1 (1) | key id, big endian (4) | session id (16) | counter, big endian (8) | HMAC-SHA256 over the 29 bytes before,
//! its first 16 bytes.

use ring::hmac;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::base64url;

/// What the MAC key is derived for: `RootKey::derive(PURPOSE)`. Frozen.
pub const PURPOSE: &str = "refresh-token";

const VERSION: u8 = 1;
const SIGNED_BYTES: usize = 29;
const MAC_BYTES: usize = 16;
const TOKEN_BYTES: usize = SIGNED_BYTES + MAC_BYTES;
const TOKEN_LETTERS: usize = 60;

/// What a refresh token says. Without a key it proves nothing, so nothing here is secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshToken {
    /// The session's UUID.
    pub session_id: [u8; 16],
    /// How often the session had been refreshed when this token was made.
    pub counter: u64,
}

impl RefreshToken {
    /// Writes the token. `key` is what the root key `key_id` derives for `PURPOSE`.
    pub fn encode(&self, key_id: u32, key: &[u8; 32]) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0; TOKEN_BYTES]);
        bytes[0] = VERSION;
        bytes[1..5].copy_from_slice(&key_id.to_be_bytes());
        bytes[5..21].copy_from_slice(&self.session_id);
        bytes[21..29].copy_from_slice(&self.counter.to_be_bytes());
        let tag = message_authentication_code(key, &bytes[..SIGNED_BYTES]);
        bytes[SIGNED_BYTES..].copy_from_slice(tag.as_slice());
        Zeroizing::new(base64url::encode(bytes.as_slice()))
    }
}

/// A token whose MAC is not checked yet: only the key id may be used, to find the key.
pub struct UnverifiedRefreshToken {
    bytes: Zeroizing<[u8; TOKEN_BYTES]>,
}

/// Reads the form of a token: 60 letters of canonical base64url and a version that we know. `None` for anything else.
pub fn parse(text: &str) -> Option<UnverifiedRefreshToken> {
    if text.len() != TOKEN_LETTERS {
        return None;
    }
    let decoded = Zeroizing::new(base64url::decode(text)?);
    let bytes = Zeroizing::new(<[u8; TOKEN_BYTES]>::try_from(decoded.as_slice()).ok()?);
    (bytes[0] == VERSION).then_some(UnverifiedRefreshToken { bytes })
}

impl UnverifiedRefreshToken {
    /// Which root key the token claims to be made under.
    pub fn key_id(&self) -> u32 {
        u32::from_be_bytes(self.bytes[1..5].try_into().expect("the slice is four bytes"))
    }

    /// Checks the MAC in constant time; `None` when it is not ours.
    pub fn verify(&self, key: &[u8; 32]) -> Option<RefreshToken> {
        let (signed, tag) = self.bytes.split_at(SIGNED_BYTES);
        let expected = message_authentication_code(key, signed);
        if !bool::from(expected.as_slice().ct_eq(tag)) {
            return None;
        }
        Some(RefreshToken {
            session_id: signed[5..21].try_into().expect("the slice is 16 bytes"),
            counter: u64::from_be_bytes(signed[21..29].try_into().expect("the slice is eight bytes")),
        })
    }
}

fn message_authentication_code(key: &[u8; 32], signed: &[u8]) -> Zeroizing<[u8; MAC_BYTES]> {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), signed);
    let mut truncated = Zeroizing::new([0; MAC_BYTES]);
    truncated.copy_from_slice(&tag.as_ref()[..MAC_BYTES]);
    truncated
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];
    const TOKEN: RefreshToken = RefreshToken { session_id: [0xab; 16], counter: u64::MAX };

    #[test]
    fn comes_back() {
        let text = TOKEN.encode(u32::MAX, &KEY);
        assert_eq!(text.len(), TOKEN_LETTERS);
        let unverified = parse(&text).expect("our own token");
        assert_eq!(unverified.key_id(), u32::MAX);
        assert_eq!(unverified.verify(&KEY), Some(TOKEN));
        assert_eq!(unverified.verify(&[8; 32]), None);
    }

    #[test]
    fn every_changed_bit_is_refused() {
        let bytes = base64url::decode(&TOKEN.encode(1, &KEY)).expect("our own token");
        for bit in 0..8 * bytes.len() {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let verified = parse(&base64url::encode(&changed)).and_then(|token| token.verify(&KEY));
            assert_eq!(verified, None, "bit {bit}");
        }
    }

    #[test]
    fn only_one_form_is_read() {
        let text = TOKEN.encode(1, &KEY);
        let longer = format!("{}AAAA", *text);
        let padded = format!("{}==", &text[..58]);
        let spaced = format!(" {}", &text[..59]);
        let standard = text.replace(['-', '_'], "+");
        let with_nul = format!("{}\0", &text[..59]);
        let not_ascii = format!("{}\u{fe0f}", &text[..57]);
        for refused in ["", &text[..59], &longer, &padded, &spaced, &with_nul, &not_ascii] {
            assert!(parse(refused).is_none(), "{refused:?}");
        }
        if standard != *text {
            assert!(parse(&standard).is_none());
        }
    }
}
