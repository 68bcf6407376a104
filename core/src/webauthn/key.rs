//! Public keys of credentials (COSE_Key, RFC 9053), and whether they have signed something.

use ring::agreement::{self, EphemeralPrivateKey};
use ring::rand::SecureRandom;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};

use super::Refused;
use super::cbor::{Item, Reader};

/// COSE numbers of the algorithms that are offered, the preferred one first.
pub const ALGORITHMS: [i64; 3] = [EDDSA, ES256, RS256];

const EDDSA: i64 = -8;
const ES256: i64 = -7;
const RS256: i64 = -257;

/// From 2048 bits, below which nobody should, to 4096, above which a verification costs too much.
const RSA_MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=512;

/// A key of an algorithm that is offered, with exactly the members that its kind has.
#[derive(Debug)]
pub(super) enum Key<'a> {
    /// Ed25519.
    Ed25519(&'a [u8]),
    /// A point of P-256, not compressed.
    P256 {
        x: &'a [u8],
        y: &'a [u8],
    },
    Rsa {
        modulus: &'a [u8],
        exponent: &'a [u8],
    },
}

impl<'a> Key<'a> {
    /// Reads one key and leaves the reader behind it.
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Key<'a>, Refused> {
        const MALFORMED: Refused = Refused("the public key is not well formed");
        let pairs = reader.map().ok_or(MALFORMED)?;
        let [mut kind, mut algorithm, mut curve, mut first, mut second, mut third] = [None; 6];
        for _ in 0..pairs {
            let label = match reader.item().ok_or(MALFORMED)? {
                Item::Unsigned(label) => i64::try_from(label).ok(),
                Item::Negative(label) => i64::try_from(label).ok().map(|label| -1 - label),
                _ => None,
            };
            let place = match label {
                Some(1) => &mut kind,
                Some(3) => &mut algorithm,
                // The curve, or a modulus.
                Some(-1) => match reader.clone().item().ok_or(MALFORMED)? {
                    Item::Bytes(_) => &mut first,
                    _ => &mut curve,
                },
                Some(-2) => &mut second,
                Some(-3) => &mut third,
                // No other member may be there (WebAuthn section 6.5.1.1).
                _ => return Err(MALFORMED),
            };
            let value = reader.item().filter(|item| !matches!(item, Item::Array(_) | Item::Map(_))).ok_or(MALFORMED)?;
            if place.replace(value).is_some() {
                return Err(MALFORMED);
            }
        }
        let algorithm = match algorithm {
            Some(Item::Negative(number)) => i64::try_from(number).map_or(0, |number| -1 - number),
            _ => 0,
        };
        if !ALGORITHMS.contains(&algorithm) {
            return Err(Refused("the public key is of an algorithm that was not offered"));
        }
        match (algorithm, kind, curve, first, second, third) {
            (
                ES256,
                Some(Item::Unsigned(2)),
                Some(Item::Unsigned(1)),
                None,
                Some(Item::Bytes(x)),
                Some(Item::Bytes(y)),
            ) if x.len() == 32 && y.len() == 32 => Ok(Key::P256 { x, y }),
            (EDDSA, Some(Item::Unsigned(1)), Some(Item::Unsigned(6)), None, Some(Item::Bytes(x)), None)
                if x.len() == 32 =>
            {
                Ok(Key::Ed25519(x))
            }
            (RS256, Some(Item::Unsigned(3)), None, Some(Item::Bytes(modulus)), Some(Item::Bytes(exponent)), None)
                if RSA_MODULUS_BYTES.contains(&modulus.len())
                    && modulus[0] != 0
                    && exponent.len() <= 4
                    && exponent.first() != Some(&0) =>
            {
                Ok(Key::Rsa { modulus, exponent })
            }
            _ => Err(Refused("the public key is not of its algorithm's kind")),
        }
    }

    pub(super) fn algorithm(&self) -> i64 {
        match self {
            Key::Ed25519(_) => EDDSA,
            Key::P256 { .. } => ES256,
            Key::Rsa { .. } => RS256,
        }
    }

    /// Refuses a point that is not on its curve: such a key would never verify anything. ring looks when it is to agree with it
    /// on a secret, for which it needs a key of its own; the secret is thrown away.
    pub(super) fn check(&self, random: &dyn SecureRandom) -> Result<(), Refused> {
        let Key::P256 { x, y } = self else { return Ok(()) };
        EphemeralPrivateKey::generate(&agreement::ECDH_P256, random)
            .and_then(|own| {
                let point = agreement::UnparsedPublicKey::new(&agreement::ECDH_P256, uncompressed(x, y));
                agreement::agree_ephemeral(own, &point, |_| ())
            })
            .map_err(|_| Refused("the public key is not on its curve"))
    }

    pub(super) fn verify(&self, signed: &[u8], signature: &[u8]) -> Result<(), Refused> {
        let verified = match self {
            Key::Ed25519(key) => UnparsedPublicKey::new(&signature::ED25519, key).verify(signed, signature),
            Key::P256 { x, y } => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_ASN1, uncompressed(x, y)).verify(signed, signature)
            }
            Key::Rsa { modulus, exponent } => RsaPublicKeyComponents { n: modulus, e: exponent }.verify(
                &signature::RSA_PKCS1_2048_8192_SHA256,
                signed,
                signature,
            ),
        };
        verified.map_err(|_| Refused("the signature is wrong"))
    }
}

/// A point as SEC 1 writes it, section 2.3.3.
fn uncompressed(x: &[u8], y: &[u8]) -> Vec<u8> {
    [&[4], x, y].concat()
}
