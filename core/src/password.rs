//! What a password has to be before it is hashed (NIST SP 800-63B-4, section 3.1.1.2): long enough, not absurdly long, and
//! one sequence of code points however it was typed. Nothing is trimmed, lower-cased or cut.

use icu_normalizer::ComposingNormalizerBorrowed;
use zeroize::Zeroizing;

/// Longest password in bytes of UTF-8 after normalisation, whatever the policy says: bounds what one request can make us hash.
pub const HARD_CAP_BYTES: usize = 1024;

/// Longest input that is normalised at all. NFC never shortens a text below a third (Hangul: nine bytes to three), so anything
/// longer stays above `HARD_CAP_BYTES` and is refused by `check` without the work.
const NORMALISATION_CAP_BYTES: usize = 4 * HARD_CAP_BYTES;

/// The operator's bounds, in characters: Unicode scalar values after normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Fewest characters.
    pub min_length: u32,
    /// Most characters; `HARD_CAP_BYTES` holds besides.
    pub max_length: u32,
}

/// Why a password is too weak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weakness {
    /// Fewer characters than the policy asks for.
    Length,
}

impl Weakness {
    /// The stable word that clients see.
    pub fn word(&self) -> &'static str {
        match self {
            Weakness::Length => "length",
        }
    }
}

/// Why `check` refuses a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// More than `HARD_CAP_BYTES` bytes, or more characters than the policy allows.
    TooLong,
    /// Every weakness found, never empty.
    Weak(Vec<Weakness>),
}

/// Brings a password to Unicode normalisation form C, so that one typed on macOS (decomposed) equals one typed on Windows.
///
/// Apply it both when a password is set and when it is verified. Of input over four times `HARD_CAP_BYTES` only that much comes
/// back: still too long, so that `check` refuses it and `hash::verify_password` never takes it for a stored one.
pub fn normalise(password: &str) -> Zeroizing<String> {
    if password.len() > NORMALISATION_CAP_BYTES {
        return Zeroizing::new(password[..password.floor_char_boundary(NORMALISATION_CAP_BYTES)].to_owned());
    }
    // Three times is the most that NFC lengthens (UAX 15, table 4): no reallocation leaves a copy behind.
    let mut normalised = Zeroizing::new(String::with_capacity(3 * password.len()));
    ComposingNormalizerBorrowed::new_nfc()
        .normalize_to(password, &mut *normalised)
        .expect("writing to a String never fails");
    normalised
}

/// Checks a normalised password against the policy.
///
/// # Errors
/// `TooLong` before anything else is looked at, else `Weak` with every weakness.
pub fn check(policy: &Policy, normalised: &str) -> Result<(), Refused> {
    if normalised.len() > HARD_CAP_BYTES {
        return Err(Refused::TooLong);
    }
    let characters = normalised.chars().count();
    if characters > policy.max_length as usize {
        return Err(Refused::TooLong);
    }
    if characters < policy.min_length as usize {
        return Err(Refused::Weak(vec![Weakness::Length]));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy { min_length: 8, max_length: 72 };

    #[test]
    fn bounds_count_characters_after_normalisation() {
        let weak = || Err(Refused::Weak(vec![Weakness::Length]));
        for (password, expected) in [
            ("", weak()),
            ("sevench", weak()),
            ("eightchr", Ok(())),
            ("ééééééé", weak()),                          // 14 bytes, seven characters
            ("e\u{301}e\u{301}e\u{301}e\u{301}", weak()), // eight code points typed, four characters
            ("🦀🦀🦀🦀🦀🦀🦀🦀", Ok(())),
        ] {
            assert_eq!(check(&POLICY, &normalise(password)), expected, "{password}");
        }
        assert_eq!(check(&POLICY, &"a".repeat(72)), Ok(()));
        assert_eq!(check(&POLICY, &"a".repeat(73)), Err(Refused::TooLong));
        let generous = Policy { min_length: 8, max_length: 5000 };
        assert_eq!(check(&generous, &"a".repeat(HARD_CAP_BYTES)), Ok(()));
        assert_eq!(check(&generous, &"a".repeat(HARD_CAP_BYTES + 1)), Err(Refused::TooLong));
    }

    #[test]
    fn composed_and_decomposed_are_one_password() {
        assert_eq!(*normalise("Zoe\u{308}\u{301}"), *normalise("Zo\u{eb}\u{301}"));
        assert_eq!(*normalise("\u{1112}\u{1161}\u{11ab}"), "\u{d55c}");
    }

    #[test]
    fn nothing_else_is_changed() {
        for password in
            [" pass word ", "PASSWORD", "\u{ff50}ass", "pass\u{a0}", "ﬁve", "\u{feff}pass", "tab\tnewline\n"]
        {
            assert_eq!(*normalise(password), password);
        }
    }

    #[test]
    fn a_megabyte_is_refused_without_the_work() {
        let huge = "e\u{301}".repeat(1 << 20);
        let started = std::time::Instant::now();
        assert_eq!(check(&POLICY, &normalise(&huge)), Err(Refused::TooLong));
        assert!(started.elapsed() < std::time::Duration::from_millis(50));
    }

    #[test]
    fn the_longest_decomposed_password_is_still_normalised() {
        let generous = Policy { min_length: 1, max_length: 5000 };
        let syllables = HARD_CAP_BYTES / 3;
        let decomposed = "\u{1112}\u{1161}\u{11ab}".repeat(syllables);
        assert!(decomposed.len() > HARD_CAP_BYTES);
        assert_eq!(*normalise(&decomposed), "\u{d55c}".repeat(syllables));
        assert_eq!(check(&generous, &normalise(&decomposed)), Ok(()));
    }
}
