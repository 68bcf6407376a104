//! The root keys: one text file outside the data directory, from which every other key of the server is derived.
//!
//! One key a line, `<key id> <standard base64 of 32 bytes>`; the first is current, the others open what was sealed before a
//! rotation. Blank lines and lines that begin with `#` are ignored. No error shows a byte of a key.

use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ring::{hkdf, hmac};
use zeroize::Zeroizing;

const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);
const SALT: &[u8] = b"auth/v1";
const KEY_BYTES: usize = 32;

/// All root keys, the current one first.
#[derive(Debug)]
pub struct Keyring {
    keys: Vec<RootKey>,
}

/// One root key. `Debug` shows its id only; the bytes are wiped when it is dropped.
#[derive(Clone)]
pub struct RootKey {
    id: u32,
    bytes: Zeroizing<[u8; KEY_BYTES]>,
}

impl fmt::Debug for RootKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RootKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Why a file is no keyring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyringError {
    /// No line holds a key.
    Empty,
    /// A line is wrong; the first one found.
    Line {
        /// Counted from one.
        number: usize,
        /// Lower case, never with bytes of the line.
        reason: &'static str,
    },
}

impl fmt::Display for KeyringError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyringError::Empty => formatter.write_str("the file holds no key"),
            KeyringError::Line { number, reason } => write!(formatter, "line {number}: {reason}"),
        }
    }
}

impl std::error::Error for KeyringError {}

impl Keyring {
    /// Reads the text of a keyring file.
    ///
    /// # Errors
    /// `Empty` without a key, else the first line that is no key: an id that is not a decimal of 1 to 4294967295 without leading
    /// zeros, base64 that is not canonical or not exactly 32 bytes, an id that came before, a key of zeros.
    pub fn parse(text: &str) -> Result<Keyring, KeyringError> {
        let mut keys: Vec<RootKey> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = RootKey::parse(line)
                .and_then(|key| {
                    if keys.iter().any(|other| other.id == key.id) { Err("the key id came before") } else { Ok(key) }
                })
                .map_err(|reason| KeyringError::Line { number: index + 1, reason })?;
            keys.push(key);
        }
        if keys.is_empty() {
            return Err(KeyringError::Empty);
        }
        Ok(Keyring { keys })
    }

    /// The key under which new values are made: the first of the file.
    pub fn current(&self) -> &RootKey {
        self.keys.first().expect("parse refuses a file without a key")
    }

    /// The key with this id.
    pub fn find(&self, id: u32) -> Option<&RootKey> {
        self.keys.iter().find(|key| key.id == id)
    }

    /// Every key in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &RootKey> {
        self.keys.iter()
    }
}

impl RootKey {
    fn parse(line: &str) -> Result<RootKey, &'static str> {
        let mut fields = line.split_ascii_whitespace();
        let (Some(id), Some(encoded), None) = (fields.next(), fields.next(), fields.next()) else {
            return Err("a line is a key id, a space and base64");
        };
        if !id.bytes().all(|byte| byte.is_ascii_digit()) || id.starts_with('0') {
            return Err("the key id is a decimal number from 1, without leading zeros");
        }
        let id = id.parse::<u32>().map_err(|_| "the key id is above 4294967295")?;
        let decoded =
            Zeroizing::new(ENGINE.decode(encoded).map_err(|_| "the key is not standard base64 with padding")?);
        let bytes: [u8; KEY_BYTES] = decoded.as_slice().try_into().map_err(|_| "the key is not exactly 32 bytes")?;
        let bytes = Zeroizing::new(bytes);
        if bytes.iter().all(|byte| *byte == 0) {
            return Err("the key is all zeros");
        }
        Ok(RootKey { id, bytes })
    }

    /// The id that sealed values and refresh tokens carry.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// A key of 32 bytes for one purpose: HKDF-SHA256 (RFC 5869) with salt `auth/v1` and the purpose as info. Frozen.
    pub fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        let mut derived = Zeroizing::new([0; 32]);
        hkdf::Salt::new(hkdf::HKDF_SHA256, SALT)
            .extract(self.bytes.as_slice())
            .expand(&[purpose.as_bytes()], hkdf::HKDF_SHA256)
            .and_then(|key| key.fill(derived.as_mut_slice()))
            .expect("32 bytes is the length of one block of HKDF-SHA256");
        derived
    }

    /// What tells whether a server has the same key, without saying anything about it: the first 16 bytes of
    /// HMAC-SHA256 of the text `auth/v1 check value` under `derive("check")`. Frozen.
    pub fn check_value(&self) -> [u8; 16] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.derive("check").as_slice());
        let tag = hmac::sign(&key, b"auth/v1 check value");
        let mut value = [0; 16];
        value.copy_from_slice(&tag.as_ref()[..16]);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const SECOND: &str = "/wECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const ZERO: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    #[test]
    fn the_first_key_is_current_and_all_are_found() {
        let text = format!("# root keys\r\n\n  8 {SECOND}  \r\n\t7\t{FIRST}\n#9 {ZERO}\n");
        let keyring = Keyring::parse(&text).expect("a keyring");
        assert_eq!(keyring.current().id(), 8);
        assert_eq!(keyring.iter().map(RootKey::id).collect::<Vec<_>>(), [8, 7]);
        assert_eq!(keyring.find(7).map(RootKey::id), Some(7));
        assert!(keyring.find(9).is_none());
        assert_eq!(Keyring::parse(&format!("4294967295 {FIRST}")).expect("a keyring").current().id(), u32::MAX);
    }

    #[test]
    fn a_wrong_line_is_named_and_not_shown() {
        let cut = &FIRST[..40];
        for (number, text) in [
            (1, FIRST.to_owned()),
            (1, format!("7{FIRST}")),
            (1, format!("0 {FIRST}")),
            (1, format!("07 {FIRST}")),
            (1, format!("+7 {FIRST}")),
            (1, format!("-7 {FIRST}")),
            (1, format!("4294967296 {FIRST}")),
            (1, format!("7 {FIRST} x")),
            (1, format!("7 {cut}")),
            (1, format!("7 {}", FIRST.trim_end_matches('='))),
            (1, format!("7 {}", FIRST.replace("h8=", "h9="))), // trailing bits
            (1, format!("7 {}", SECOND.replace('/', "_"))),    // base64url
            (1, format!("7 {FIRST}AAAA")),
            (1, format!("7 {ZERO}")),
            (1, format!("\u{feff}7 {FIRST}")),
            (3, format!("7 {FIRST}\n\n7 {SECOND}")),
            (2, format!("7 {FIRST}\n8")),
        ] {
            let error = Keyring::parse(&text).expect_err(&text);
            assert!(matches!(error, KeyringError::Line { number: line, .. } if line == number), "{text:?}: {error}");
            for secret in [cut, &cut[..8], &SECOND[..8]] {
                assert!(!format!("{error} {error:?}").contains(secret));
            }
        }
        for text in ["", "\n\n", "# 7 key", " \t\r\n"] {
            assert_eq!(Keyring::parse(text).expect_err(text), KeyringError::Empty);
        }
    }

    #[test]
    fn purposes_and_keys_are_apart_and_debug_shows_nothing() {
        let keyring = Keyring::parse(&format!("7 {FIRST}\n8 {SECOND}")).expect("a keyring");
        let (first, second) = (keyring.find(7).expect("7"), keyring.find(8).expect("8"));
        assert_eq!(first.derive("a"), first.derive("a"));
        assert_ne!(first.derive("a"), first.derive("b"));
        assert_ne!(first.derive("a"), second.derive("a"));
        assert_ne!(first.check_value(), second.check_value());
        assert_ne!(first.check_value(), first.derive("check")[..16]);
        assert_eq!(format!("{keyring:?}"), "Keyring { keys: [RootKey { id: 7, .. }, RootKey { id: 8, .. }] }");
    }
}
