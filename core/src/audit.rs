//! Seals of audit rows: a chain of MACs under a root-derived key (`docs/formats.md`).
//!
//! A seal covers the seal before it, its own sequence number and the row, so a row changed, removed, inserted or moved breaks
//! the chain there. Whose row it was is covered by a keyed tag, which stays when the account is deleted and its id goes.

use ring::hmac;

use crate::keyring::RootKey;

/// What the key is derived for; part of the frozen format.
pub const PURPOSE: &str = "audit";
/// Key id, tag, HMAC-SHA256.
pub const SEAL_BYTES: usize = 4 + TAG_BYTES + 32;
const TAG_BYTES: usize = 8;

/// Makes and checks seals under one root key.
pub struct Sealer {
    key_id: u32,
    key: hmac::Key,
}

/// One row as it is sealed.
pub struct Row<'a> {
    /// Counted from 1, without gaps.
    pub sequence: u64,
    /// None where there is no account, or no longer.
    pub user_id: Option<[u8; 16]>,
    /// Everything else that the row says, in one canonical text.
    pub content: &'a str,
}

impl Sealer {
    /// A sealer under this root key.
    pub fn new(root: &RootKey) -> Sealer {
        Sealer { key_id: root.id(), key: hmac::Key::new(hmac::HMAC_SHA256, root.derive(PURPOSE).as_slice()) }
    }

    /// The seal of a row after the one with the seal `previous`, which is empty for the first.
    pub fn seal(&self, previous: &[u8], row: &Row<'_>) -> [u8; SEAL_BYTES] {
        let tag = row.user_id.map_or([0; TAG_BYTES], |user_id| self.tag(&user_id));
        self.seal_with_tag(previous, row, tag)
    }

    /// Whether this is the row's seal. A row whose account is gone keeps the tag of the account.
    pub fn verify(&self, previous: &[u8], row: &Row<'_>, seal: &[u8]) -> bool {
        let Some(tag) = seal.get(4..4 + TAG_BYTES).and_then(|tag| <[u8; TAG_BYTES]>::try_from(tag).ok()) else {
            return false;
        };
        row.user_id.is_none_or(|user_id| constant_time_eq(&self.tag(&user_id), &tag))
            && constant_time_eq(&self.seal_with_tag(previous, row, tag), seal)
    }

    /// What vouches for a gap that was made on purpose: rows up to `sequence` were removed, and this was the last one's seal.
    pub fn anchor(&self, first: u64, last: u64, last_seal: &[u8]) -> Vec<u8> {
        let mut message = b"anchor".to_vec();
        message.extend_from_slice(&first.to_be_bytes());
        message.extend_from_slice(&last.to_be_bytes());
        message.extend_from_slice(last_seal);
        [&self.key_id.to_be_bytes(), hmac::sign(&self.key, &message).as_ref()].concat()
    }

    /// Whether `anchor` made it.
    pub fn verify_anchor(&self, first: u64, last: u64, last_seal: &[u8], anchor: &[u8]) -> bool {
        constant_time_eq(&self.anchor(first, last, last_seal), anchor)
    }

    fn tag(&self, user_id: &[u8; 16]) -> [u8; TAG_BYTES] {
        let mac = hmac::sign(&self.key, &[b"user".as_slice(), user_id].concat());
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&mac.as_ref()[..TAG_BYTES]);
        tag
    }

    fn seal_with_tag(&self, previous: &[u8], row: &Row<'_>, tag: [u8; TAG_BYTES]) -> [u8; SEAL_BYTES] {
        let mut message = b"row".to_vec();
        message.push(previous.len() as u8);
        message.extend_from_slice(previous);
        message.extend_from_slice(&row.sequence.to_be_bytes());
        message.extend_from_slice(&tag);
        message.extend_from_slice(row.content.as_bytes());
        let mut seal = [0; SEAL_BYTES];
        seal[..4].copy_from_slice(&self.key_id.to_be_bytes());
        seal[4..4 + TAG_BYTES].copy_from_slice(&tag);
        seal[4 + TAG_BYTES..].copy_from_slice(hmac::sign(&self.key, &message).as_ref());
        seal
    }
}

/// The id of the root key that a seal or an anchor was made under.
pub fn key_id(seal: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(seal.get(..4)?.try_into().ok()?))
}

fn constant_time_eq(expected: &[u8], given: &[u8]) -> bool {
    bool::from(subtle::ConstantTimeEq::ct_eq(expected, given))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::Keyring;

    fn sealer() -> Sealer {
        let keyring = Keyring::parse("7 AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=").expect("a keyring");
        Sealer::new(keyring.current())
    }

    fn row(sequence: u64, user_id: Option<[u8; 16]>, content: &str) -> Row<'_> {
        Row { sequence, user_id, content }
    }

    #[test]
    fn a_seal_covers_everything() {
        let sealer = sealer();
        let first = sealer.seal(b"", &row(1, Some([3; 16]), "[1]"));
        let second = sealer.seal(&first, &row(2, None, "[2]"));
        assert!(sealer.verify(b"", &row(1, Some([3; 16]), "[1]"), &first));
        assert!(sealer.verify(&first, &row(2, None, "[2]"), &second));
        for (previous, changed) in [
            (&first[..], row(2, None, "[3]")),
            (&first[..], row(3, None, "[2]")),
            (&first[..], row(2, Some([3; 16]), "[2]")),
            (&second[..], row(2, None, "[2]")),
            (&b""[..], row(2, None, "[2]")),
        ] {
            assert!(!sealer.verify(previous, &changed, &second));
        }
        for byte in 0..SEAL_BYTES {
            let mut damaged = second;
            damaged[byte] ^= 1;
            assert!(!sealer.verify(&first, &row(2, None, "[2]"), &damaged), "byte {byte}");
        }
        assert!(!sealer.verify(&first, &row(2, None, "[2]"), &second[..SEAL_BYTES - 1]));
    }

    #[test]
    fn a_deleted_account_leaves_its_seal_good_and_another_one_does_not() {
        let sealer = sealer();
        let seal = sealer.seal(b"", &row(1, Some([3; 16]), "[1]"));
        assert!(sealer.verify(b"", &row(1, None, "[1]"), &seal));
        assert!(!sealer.verify(b"", &row(1, Some([4; 16]), "[1]"), &seal));
    }

    #[test]
    fn an_anchor_vouches_for_its_own_gap_only() {
        let sealer = sealer();
        let anchor = sealer.anchor(1, 9, b"seal");
        assert!(sealer.verify_anchor(1, 9, b"seal", &anchor));
        assert!(!sealer.verify_anchor(1, 10, b"seal", &anchor));
        assert!(!sealer.verify_anchor(2, 9, b"seal", &anchor));
        assert!(!sealer.verify_anchor(1, 9, b"other", &anchor));
        assert_eq!(key_id(&anchor), Some(7));
    }
}
