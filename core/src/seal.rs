//! Secrets in columns: AES-256-GCM (NIST SP 800-38D) under a key derived for the column, bound to its table, column and row, so
//! that a value copied to another row does not open.
//!
//! Bytes: version 1 (1) | key id, big endian (4) | nonce (12) | ciphertext and tag (plaintext + 16). The nonce is random: one
//! column may be sealed 2^32 times under one root key.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::keyring::{Keyring, RootKey};

const VERSION: u8 = 1;
const NONCE_BYTES: usize = 12;
const HEADER_BYTES: usize = 1 + 4 + NONCE_BYTES;
const TAG_BYTES: usize = 16;

/// Where a sealed value stands. Table and column are names of ours, without NUL.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Name of the table.
    pub table: &'a str,
    /// Name of the column.
    pub column: &'a str,
    /// What identifies the row for ever, such as the 16 bytes of its id.
    pub row: &'a [u8],
}

impl Place<'_> {
    fn key(&self, root: &RootKey) -> LessSafeKey {
        let derived = root.derive(&format!("seal/{}.{}", self.table, self.column));
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, derived.as_slice()).expect("an AES-256 key is 32 bytes"))
    }

    fn associated_data(&self) -> Aad<Vec<u8>> {
        Aad::from([self.table.as_bytes(), b"\0", self.column.as_bytes(), b"\0", self.row].concat())
    }
}

/// Why a sealed value does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealError {
    /// Too short, or not of version 1.
    Malformed,
    /// The keyring has no key with this id.
    UnknownKey(u32),
    /// Changed, moved from another place, or sealed under another key with this id.
    Forged,
}

impl fmt::Display for SealError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SealError::Malformed => formatter.write_str("the sealed value is malformed"),
            SealError::UnknownKey(id) => write!(formatter, "the keyring has no key {id}"),
            SealError::Forged => formatter.write_str("the sealed value was changed, moved or sealed under another key"),
        }
    }
}

impl std::error::Error for SealError {}

/// Seals a secret for one place under a root key, usually `Keyring::current`.
///
/// `nonce` is fresh random bytes: the same nonce twice under one key and column gives both secrets away.
pub fn seal(root: &RootKey, place: &Place, plaintext: &[u8], nonce: [u8; NONCE_BYTES]) -> Vec<u8> {
    // Reserved in full, so that no reallocation leaves a copy of the plaintext behind.
    let mut sealed = Vec::with_capacity(HEADER_BYTES + plaintext.len() + TAG_BYTES);
    sealed.push(VERSION);
    sealed.extend_from_slice(&root.id().to_be_bytes());
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(plaintext);
    let tag = place
        .key(root)
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            place.associated_data(),
            &mut sealed[HEADER_BYTES..],
        )
        .expect("AES-GCM takes any text below 64 GiB");
    sealed.extend_from_slice(tag.as_ref());
    sealed
}

/// Opens what `seal` made for the same place.
///
/// # Errors
/// See `SealError`; nothing of the plaintext is answered unless the tag is right.
pub fn open(keyring: &Keyring, place: &Place, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let (header, body) = sealed.split_at_checked(HEADER_BYTES).ok_or(SealError::Malformed)?;
    let (version, key_id, nonce) = (header[0], &header[1..5], &header[5..]);
    if version != VERSION || body.len() < TAG_BYTES {
        return Err(SealError::Malformed);
    }
    let key_id = u32::from_be_bytes(key_id.try_into().expect("the slice is four bytes"));
    let nonce: [u8; NONCE_BYTES] = nonce.try_into().expect("the slice is twelve bytes");
    let root = keyring.find(key_id).ok_or(SealError::UnknownKey(key_id))?;
    let mut plaintext = Zeroizing::new(body.to_vec());
    let length = place
        .key(root)
        .open_in_place(Nonce::assume_unique_for_key(nonce), place.associated_data(), &mut plaintext)
        .map_err(|_| SealError::Forged)?
        .len();
    plaintext.truncate(length);
    Ok(plaintext)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { table: "totp", column: "secret_sealed", row: b"0123456789abcdef" };

    fn keyring() -> Keyring {
        Keyring::parse(
            "2 /wECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        )
        .expect("a keyring")
    }

    #[test]
    fn opens_where_it_was_sealed_and_nowhere_else() {
        let keyring = keyring();
        for root in keyring.iter() {
            for plaintext in [&b""[..], b"secret", &[0; 5000]] {
                let sealed = seal(root, &PLACE, plaintext, [9; 12]);
                assert_eq!(sealed.len(), HEADER_BYTES + plaintext.len() + TAG_BYTES);
                assert_eq!(open(&keyring, &PLACE, &sealed).as_ref().map(|opened| opened.as_slice()), Ok(plaintext));
            }
        }
        let sealed = seal(keyring.current(), &PLACE, b"secret", [9; 12]);
        for elsewhere in [
            Place { table: "sms", ..PLACE },
            Place { column: "secret", ..PLACE },
            Place { row: b"0123456789abcdee", ..PLACE },
            Place { row: b"", ..PLACE },
            // The same derived key: only the associated data tells them apart.
            Place { table: "totp.secret_sealed", column: "", ..PLACE },
        ] {
            assert_eq!(open(&keyring, &elsewhere, &sealed), Err(SealError::Forged), "{elsewhere:?}");
        }
        let (dotted, split) =
            (Place { table: "a.b", column: "c", row: b"" }, Place { table: "a", column: "b.c", row: b"" });
        let sealed = seal(keyring.current(), &dotted, b"secret", [9; 12]);
        assert_eq!(open(&keyring, &split, &sealed), Err(SealError::Forged));
    }

    #[test]
    fn every_changed_bit_and_every_cut_is_refused() {
        let keyring = keyring();
        let sealed = seal(keyring.current(), &PLACE, b"secret", [9; 12]);
        for bit in 0..8 * sealed.len() {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let expected = match bit / 8 {
                0 => SealError::Malformed,
                // Key 2 turned into 3, 0, 6, …; one flip of two bits would name key 1, which then does not fit.
                1..=4 => SealError::UnknownKey(u32::from_be_bytes(changed[1..5].try_into().expect("four bytes"))),
                _ => SealError::Forged,
            };
            assert_eq!(open(&keyring, &PLACE, &changed), Err(expected), "bit {bit}");
        }
        for length in 0..sealed.len() {
            let expected = if length < HEADER_BYTES + TAG_BYTES { SealError::Malformed } else { SealError::Forged };
            assert_eq!(open(&keyring, &PLACE, &sealed[..length]), Err(expected), "{length} bytes");
        }
        let mut other_key = sealed.clone();
        other_key[4] = 1;
        assert_eq!(open(&keyring, &PLACE, &other_key), Err(SealError::Forged));
        assert_eq!(open(&keyring, &PLACE, &[sealed.as_slice(), b"x"].concat()), Err(SealError::Forged));
    }
}
