//! Whether a secret that people chose may be guessed. A guess itself: what is random passes, what is known or has a pattern does not.

/// Bits below which a secret is weak, by `estimated_bits`; 32 random bytes have about 155, a random hexadecimal text of 32 digits mostly 100 to 120.
const ENOUGH_BITS: f64 = 90.0;

/// Words of examples in documents, which were copied.
const WORDS: [&[u8]; 6] = [b"secret", b"password", b"changeme", b"change-me", b"example", b"default"];

/// Whether somebody would find the secret sooner than by trying all.
pub fn is_weak(secret: &[u8]) -> bool {
    let lower = zeroize::Zeroizing::new(secret.to_ascii_lowercase());
    let is_text = secret.iter().all(|byte| (b' '..=b'~').contains(byte));
    estimated_bits(secret) < ENOUGH_BITS
        || (is_text && WORDS.iter().any(|word| lower.windows(word.len()).any(|window| window == *word)))
}

/// The entropy of its bytes and that of the steps between them, whichever is less: a sequence has steps that are all alike.
fn estimated_bits(secret: &[u8]) -> f64 {
    let steps: Vec<u8> = secret.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    entropy(secret).min(entropy(&steps)) * secret.len() as f64
}

/// Of one byte, in bits (Shannon).
fn entropy(bytes: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    bytes.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let all = bytes.len().max(1) as f64;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| f64::from(*count) / all)
        .map(|share| -share * share.log2())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_choose_is_weak() {
        for secret in [
            &b""[..],
            &[0; 64],
            b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            b"abcabcabcabcabcabcabcabcabcabcabcabcabc",
            b"abcdefghijklmnopqrstuvwxyz0123456789",
            b"12345678901234567890123456789012",
            b"super-secret-jwt-token-with-at-least-32-characters-long",
            b"ChangeMe-ChangeMe-0123-4567-89ab-cdef",
        ] {
            assert!(is_weak(secret), "{}", String::from_utf8_lossy(secret));
        }
    }

    #[test]
    fn what_is_random_is_not() {
        for seed in 0..200_u8 {
            let random = ring::digest::digest(&ring::digest::SHA256, &[seed]);
            assert!(!is_weak(random.as_ref()), "{seed}");
            let hexadecimal: String = random.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(!is_weak(hexadecimal.as_bytes()), "{hexadecimal}");
            assert!(!is_weak(crate::base64url::encode(random.as_ref()).as_bytes()), "{seed}");
        }
    }
}
