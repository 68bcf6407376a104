//! Stored passwords: Argon2id (RFC 9106) for ours, and what other systems left behind (Argon2i, Argon2d, bcrypt) verified until
//! the next sign-in hashes it again.
//!
//! A stored string is foreign input, it may come from an import: its cost is bounded before any work, and no form of it
//! panics (RUSTSEC-2026-0199). Memory is asked for fallibly, because an abort restarts the whole cluster. One thread only.

use std::fmt;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use crate::password::HARD_CAP_BYTES;

mod stored;

use stored::Stored;

const CANONICAL: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_encode_padding(false)
    .with_decode_allow_trailing_bits(false)
    .with_decode_padding_mode(DecodePaddingMode::RequireNone);
const PHC_BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, CANONICAL);

const SALT_BYTES: usize = 16;
const DIGEST_BYTES: usize = 32;
/// bcrypt looks at no more of a password than this.
const BCRYPT_PASSWORD_BYTES: usize = 72;

/// What one Argon2 run costs (RFC 9106, section 3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cost {
    /// Memory in KiB (m).
    pub memory_kib: u32,
    /// Passes over the memory (t).
    pub iterations: u32,
    /// Lanes (p); they run one after the other.
    pub parallelism: u32,
}

impl Cost {
    /// m = 19 MiB, t = 2, p = 1: OWASP's first choice for Argon2id.
    pub const DEFAULT: Cost = Cost { memory_kib: 19_456, iterations: 2, parallelism: 1 };
    /// The most that a configuration or a stored hash may ask for: 256 MiB, 16 passes, 4 lanes.
    pub const MAX: Cost = Cost { memory_kib: 262_144, iterations: 16, parallelism: 4 };

    /// Checks the bounds: memory 8 KiB a lane to 256 MiB, 1 to 16 passes, 1 to 4 lanes.
    ///
    /// # Errors
    /// `TooCostly` above, `Malformed` below.
    pub fn check(&self) -> Result<(), HashError> {
        if self.memory_kib > Cost::MAX.memory_kib
            || self.iterations > Cost::MAX.iterations
            || self.parallelism > Cost::MAX.parallelism
        {
            return Err(HashError::TooCostly);
        }
        if self.parallelism < 1 || self.iterations < 1 || self.memory_kib < 8 * self.parallelism {
            return Err(HashError::Malformed);
        }
        Ok(())
    }
}

/// Why nothing was hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashError {
    /// The memory is not to be had now; trying again later may work.
    OutOfMemory,
    /// The stored string is of no scheme that we know, or the cost is below what the algorithm allows.
    Malformed,
    /// More than we are willing to spend on one password.
    TooCostly,
    /// A password that the scheme of the stored hash cannot have taken: over the hard cap, or for bcrypt over 72 bytes or with a
    /// NUL.
    CannotMatch,
}

impl fmt::Display for HashError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            HashError::OutOfMemory => "not enough memory to hash a password",
            HashError::Malformed => "malformed password hash or cost",
            HashError::TooCostly => "the cost of the password hash is above the limit",
            HashError::CannotMatch => "no hash of this kind belongs to such a password",
        })
    }
}

impl std::error::Error for HashError {}

/// Hashes a normalised password with Argon2id to a PHC string: `$argon2id$v=19$m=…,t=…,p=…$salt$digest`, 32 bytes of digest.
///
/// `salt` is fresh random bytes.
///
/// # Errors
/// What `Cost::check` refuses, and `OutOfMemory`.
pub fn hash_password(password: &[u8], cost: Cost, salt: &[u8; 16]) -> Result<String, HashError> {
    let mut digest = Zeroizing::new([0; DIGEST_BYTES]);
    run_argon2(Algorithm::Argon2id, Version::V0x13, cost, password, salt, digest.as_mut_slice())?;
    let Cost { memory_kib, iterations, parallelism } = cost;
    let (salt, digest) = (PHC_BASE64.encode(salt), PHC_BASE64.encode(digest.as_slice()));
    Ok(format!("$argon2id$v=19$m={memory_kib},t={iterations},p={parallelism}${salt}${digest}"))
}

/// Tells whether a password is the one behind a stored string: Argon2id, Argon2i or Argon2d as PHC string, or bcrypt
/// (`$2a$`, `$2b$`, `$2y$`).
///
/// bcrypt would look at the first 72 bytes only and stop at a NUL: such passwords never match.
///
/// # Errors
/// `Malformed`, `TooCostly` and `CannotMatch` before any work, so that a caller can spend the same on each refusal;
/// `OutOfMemory`.
pub fn verify_password(password: &[u8], stored: &str) -> Result<bool, HashError> {
    let stored = Stored::parse(stored)?;
    if password.len() > HARD_CAP_BYTES {
        return Err(HashError::CannotMatch);
    }
    match stored {
        Stored::Argon2 { algorithm, version, cost, salt, digest } => {
            let mut computed = Zeroizing::new(vec![0; digest.len()]);
            run_argon2(algorithm, version, cost, password, &salt, &mut computed)?;
            Ok(computed.ct_eq(&digest).into())
        }
        Stored::Bcrypt { cost, salt, digest } => {
            if password.len() > BCRYPT_PASSWORD_BYTES || password.contains(&0) {
                return Err(HashError::CannotMatch);
            }
            // bcrypt hashes the terminating NUL as well, unless the password fills all 72 bytes.
            let mut terminated = Zeroizing::new([0; BCRYPT_PASSWORD_BYTES]);
            terminated[..password.len()].copy_from_slice(password);
            let used = (password.len() + 1).min(BCRYPT_PASSWORD_BYTES);
            let computed = Zeroizing::new(bcrypt::bcrypt(cost, salt, &terminated[..used]));
            wipe_stack();
            Ok(computed[..digest.len()].ct_eq(&digest).into())
        }
    }
}

/// Tells whether `verify_password` would do its work on this string: what an import has to ask before it stores one.
///
/// # Errors
/// `Malformed` or `TooCostly`.
pub fn check_stored(stored: &str) -> Result<(), HashError> {
    Stored::parse(stored).map(|_| ())
}

/// True unless the string is what `hash_password` makes with exactly this cost.
pub fn needs_rehash(stored: &str, cost: Cost) -> bool {
    !matches!(
        Stored::parse(stored),
        Ok(Stored::Argon2 { algorithm: Algorithm::Argon2id, version: Version::V0x13, cost: stored_cost, salt, digest })
            if stored_cost == cost && salt.len() == SALT_BYTES && digest.len() == DIGEST_BYTES
    )
}

/// True for a well-formed string of a scheme that we can verify, whatever its cost.
pub fn is_known_scheme(stored: &str) -> bool {
    matches!(Stored::parse(stored), Ok(_) | Err(HashError::TooCostly))
}

fn run_argon2(
    algorithm: Algorithm,
    version: Version,
    cost: Cost,
    password: &[u8],
    salt: &[u8],
    digest: &mut [u8],
) -> Result<(), HashError> {
    cost.check()?;
    let parameters = Params::new(cost.memory_kib, cost.iterations, cost.parallelism, Some(digest.len()))
        .map_err(|_| HashError::Malformed)?;
    // Ours and not the crate's, because those are left as they are; tests/out_of_memory.rs.
    let mut blocks = Zeroizing::new(Vec::new());
    blocks.try_reserve_exact(parameters.block_count()).map_err(|_| HashError::OutOfMemory)?;
    blocks.resize(parameters.block_count(), Block::new());
    let hashed = Argon2::new(algorithm, version, parameters)
        .hash_password_into_with_memory(password, salt, digest, blocks.as_mut_slice())
        .map_err(|_| HashError::Malformed);
    wipe_stack();
    hashed
}

/// The hash functions below leave the password in their buffers on the stack, and offer no way to overwrite them.
#[inline(never)]
fn wipe_stack() {
    let mut used = [0xFF_u8; 16 * 1024];
    used.zeroize();
    std::hint::black_box(&used);
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: &[u8] = b"correct horse";
    const SALT: &[u8; 16] = &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
    const CHEAP: Cost = Cost { memory_kib: 64, iterations: 2, parallelism: 1 };

    /// Made by argon2-cffi (the reference implementation in C) and by Python's bcrypt 5.
    const MADE_ELSEWHERE: &[(&[u8], &str)] = &[
        (PASSWORD, "$argon2id$v=19$m=64,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$nIfAaJi8GFFmabVKi5XTbmIpRklNelXCbzkaBAYGjBk"),
        (PASSWORD, "$argon2id$v=16$m=64,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$4P6I4jz7IBuBfRger27K6hO+ZQJl3sShKHcCrxRK34o"),
        (PASSWORD, "$argon2id$m=64,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$4P6I4jz7IBuBfRger27K6hO+ZQJl3sShKHcCrxRK34o"),
        (PASSWORD, "$argon2i$v=19$m=64,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$+XSf6pHH1XdWZMAh0qQA5zuzolqHXZuc2nkT9VmUsQc"),
        (PASSWORD, "$argon2i$v=16$m=64,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$Dq4kBKszDmppkKxZAT1TY+8kyd+30Awd/IOFRJLGr4g"),
        (PASSWORD, "$argon2d$v=19$m=64,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$ilAAynhMWyF6KLB55MODQAYXFTpr8WQmvKJVQ3cl4/M"),
        (PASSWORD, "$argon2d$v=16$m=64,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$YuR+jJn+BkducPAzV3AzDHqEJUJsWLf6grgnj7Ssdlk"),
        (PASSWORD, "$argon2id$v=19$m=256,t=3,p=4$AAECAwQFBgcICQoLDA0ODw$a9EwaF6CGehkLnS2hcZTEh6IX7+UW8l3UvV48fCEo30"),
        (PASSWORD, "$argon2id$v=19$m=19456,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$0AuQxA+RjPiJeA19Op7DwrFxnfh9xeTU2T6mFj2wThc"),
        (PASSWORD, "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$dNZzNIjCXmyE+5ODMC5cS0rq5W8whTxc"),
        (PASSWORD, "$2a$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e"),
        (PASSWORD, "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e"),
        (PASSWORD, "$2y$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e"),
        (b"", "$2b$04$abcdefghijklmnopqrstuubyCG3zY1GIXMyxfivm.ClDiInHzxjiq"),
        (&[b'a'; 71], "$2b$04$abcdefghijklmnopqrstuuMCu.k1vM/ywQwiONaEn3oEMlZoCVBd6"),
        (&[b'a'; 72], "$2b$04$abcdefghijklmnopqrstuuBzzIgyKkz7xMWYSzkIjUSnxEQFQ0WNe"),
        ("pässwörd🦀".as_bytes(), "$2b$04$abcdefghijklmnopqrstuuWua8trYT8APdpluy4v2J6jg0vqvmrfe"),
        (b"\xff\xa3", "$2b$04$abcdefghijklmnopqrstuuwZzT7uVn3RvV3HTk9K63vPWlEi0o43a"),
    ];

    #[test]
    fn what_others_made_is_verified() {
        for (password, stored) in MADE_ELSEWHERE {
            assert_eq!(verify_password(password, stored), Ok(true), "{stored}");
            assert_ne!(verify_password(&[password, &b"x"[..]].concat(), stored), Ok(true), "{stored}");
            assert_eq!(verify_password(b"wrong", stored), Ok(false), "{stored}");
            assert_eq!(check_stored(stored), Ok(()));
            assert!(is_known_scheme(stored));
        }
    }

    #[test]
    fn what_we_make_equals_the_reference_implementation() {
        let (_, expected) = MADE_ELSEWHERE[0];
        assert_eq!(hash_password(PASSWORD, CHEAP, SALT).as_deref(), Ok(expected));
        let (_, expected) = MADE_ELSEWHERE[8];
        assert_eq!(hash_password(PASSWORD, Cost::DEFAULT, SALT).as_deref(), Ok(expected));
    }

    #[test]
    fn only_our_own_form_needs_no_rehash() {
        for (index, (_, stored)) in MADE_ELSEWHERE.iter().enumerate() {
            assert_eq!(needs_rehash(stored, Cost::DEFAULT), index != 8, "{stored}");
            assert_eq!(needs_rehash(stored, CHEAP), index != 0, "{stored}");
        }
        assert!(needs_rehash("", CHEAP));
        assert!(needs_rehash("$argon2id$v=19$m=99999999,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$AAAAAAAAAAAAAAAAAAAAAA", CHEAP));
    }

    /// XB1, XB2: bcrypt would not look at what comes after 72 bytes or after a NUL.
    #[test]
    fn bcrypt_never_matches_half_a_password() {
        let (password, stored) = MADE_ELSEWHERE[15];
        assert_eq!(password.len(), 72);
        for length in [73, 200, 1024] {
            let mut longer = password.to_vec();
            longer.resize(length, b'b');
            assert_eq!(verify_password(&longer, stored), Err(HashError::CannotMatch), "{length} bytes");
        }
        for (password, place) in [(&b"correct horse\0"[..], 11), (b"\0", 13), (b"correct horse\0correct horse", 11)] {
            assert_eq!(verify_password(password, MADE_ELSEWHERE[place].1), Err(HashError::CannotMatch));
        }
    }

    /// XB3: `password::normalise` cuts such input, so it must never match.
    #[test]
    fn nothing_above_the_hard_cap_matches() {
        for (length, expected) in [(HARD_CAP_BYTES, Ok(true)), (HARD_CAP_BYTES + 1, Err(HashError::CannotMatch))] {
            let password = vec![b'a'; length];
            let stored = hash_password(&password, CHEAP, SALT).expect("a hash");
            assert_eq!(verify_password(&password, &stored), expected, "{length} bytes");
        }
    }

    /// XB4: refused by the numbers alone, so all of it together takes no time.
    #[test]
    fn absurd_costs_are_refused_before_any_work() {
        let started = std::time::Instant::now();
        for parameters in [
            "m=262145,t=1,p=1",
            "m=4194304,t=1,p=1",
            "m=4294967295,t=1,p=1",
            "m=64,t=17,p=1",
            "m=64,t=4294967295,p=1",
            "m=64,t=2,p=5",
            "m=64,t=1,p=16777215",
            "m=4294967296,t=1,p=1",
            "m=99999999999999999999999,t=1,p=1",
            "m=64,t=99999999999999999999,p=1",
            "m=0,t=0,p=4294967295",
            "m=8,t=1,p=536870913",
        ] {
            let stored = format!(
                "$argon2id$v=19${parameters}$AAECAwQFBgcICQoLDA0ODw$nIfAaJi8GFFmabVKi5XTbmIpRklNelXCbzkaBAYGjBk"
            );
            assert_eq!(verify_password(PASSWORD, &stored), Err(HashError::TooCostly), "{stored}");
            assert!(is_known_scheme(&stored));
        }
        for cost in 16..=31 {
            let stored = format!("$2b${cost}$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e");
            assert_eq!(verify_password(PASSWORD, &stored), Err(HashError::TooCostly), "{stored}");
        }
        for cost in [
            Cost { memory_kib: 262_145, ..CHEAP },
            Cost { iterations: 17, ..CHEAP },
            Cost { parallelism: 5, ..CHEAP },
            Cost { memory_kib: u32::MAX, iterations: u32::MAX, parallelism: u32::MAX },
        ] {
            assert_eq!(hash_password(PASSWORD, cost, SALT), Err(HashError::TooCostly), "{cost:?}");
        }
        for cost in [
            Cost { memory_kib: 7, ..CHEAP },
            Cost { memory_kib: 31, parallelism: 4, ..CHEAP },
            Cost { iterations: 0, ..CHEAP },
            Cost { parallelism: 0, ..CHEAP },
        ] {
            assert_eq!(hash_password(PASSWORD, cost, SALT), Err(HashError::Malformed), "{cost:?}");
        }
        assert_eq!(Cost::MAX.check(), Ok(()));
        assert!(started.elapsed() < std::time::Duration::from_millis(200));
    }

    /// XB5, with the 60 bytes of RUSTSEC-2026-0199.
    #[test]
    fn malformed_strings_are_refused() {
        let good = MADE_ELSEWHERE[0].1;
        let bcrypt = MADE_ELSEWHERE[11].1;
        let mut malformed: Vec<String> = [
            "",
            "$",
            "$$",
            "$$$$$$",
            "plain",
            "$argon2id$",
            "$argon2id$v=19$",
            "$argon2id$v=19$m=64,t=2,p=1$$",
            "$2b$",
            "$2b$04$",
            "$2b$04$é",
            "$5$rounds=5000$salt$hash",
            "$6$salt$hash",
            "$scrypt$ln=16,r=8,p=1$c2FsdA$aGFzaA",
            "md5abc",
            "$y$j9T$salt$hash",
            "$fbscrypt$v=1",
            "\u{0}",
        ]
        .map(str::to_owned)
        .to_vec();
        malformed.push(format!("$2b$04${}", "é".repeat(26)) + "a");
        malformed.push("é".repeat(30));
        malformed.push(format!("$2b$0é{}", "a".repeat(53)));
        for (from, to) in [
            ("argon2id", "argon2"),
            ("argon2id", "argon2ID"),
            ("v=19", "v=18"),
            ("v=19", "v=19 "),
            ("v=19", "v="),
            ("m=64", "m=064"),
            ("m=64", "m="),
            ("m=64", "m=-1"),
            ("m=64", "m=+64"),
            ("m=64", "m=7"),
            ("m=64,t=2", "t=2,m=64"),
            ("t=2", "t=0"),
            ("p=1", "p=0"),
            ("p=1", "p=1,keyid=AAAA"),
            ("p=1", "p=1,"),
            ("p=1", "x=1"),
            ("ODw", "ODw="),
            ("ODw", "ODx"),
            ("AAECAwQFBgcICQoLDA0ODw", "AAECAw"),
            ("jBk", "jBk="),
            ("jBk", "jBl"),
            ("jBk", "jBk "),
            ("jBk", "jBk$"),
            ("bmIpRklNelXCbzkaBAYGjBk", ""),
            ("GFF", "-_-"),
            ("$argon2id", "argon2id"),
            ("$argon2id", "$$argon2id"),
        ] {
            assert!(good.contains(from));
            malformed.push(good.replace(from, to));
        }
        for (from, to) in [
            ("$2b", "$2x"),
            ("$2b", "$2"),
            ("$2b", "$2z"),
            ("$04", "$03"),
            ("$04", "$00"),
            ("$04", "$32"),
            ("$04", "$99"),
            ("$04", "$4"),
            ("$04", "$+4"),
            ("$04", "$ 4"),
            ("$04", "$004"),
            ("abc", "ab"),
            ("abc", "abcd"),
            ("abc", "ab+"),
            ("abc", "ab="),
            ("abc", "ab$"),
            ("c6e", "c6f"),
            ("uuj", "uvj"),
            ("c6e", "c6e\n"),
        ] {
            assert!(bcrypt.contains(from));
            malformed.push(bcrypt.replace(from, to));
        }
        malformed.push(good.replace("jBk", &"A".repeat(300)));
        malformed.push("$argon2id$v=19$m=64,t=2,p=1".repeat(1 << 16));
        for stored in &malformed {
            assert_eq!(verify_password(PASSWORD, stored), Err(HashError::Malformed), "{stored}");
            assert_eq!(check_stored(stored), Err(HashError::Malformed));
            assert!(!is_known_scheme(stored));
            assert!(needs_rehash(stored, CHEAP));
        }
    }
}
