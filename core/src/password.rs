//! What a password has to be before it is hashed (NIST SP 800-63B-4, section 3.1.1.2): long enough, not absurdly long, and
//! one sequence of code points however it was typed, and not what everybody guesses first. Nothing is trimmed, lower-cased or cut.

mod guessable;

use icu_normalizer::ComposingNormalizerBorrowed;
use zeroize::Zeroizing;

/// Longest password in bytes of UTF-8 after normalisation, whatever the policy says: bounds what one request can make us hash.
pub const HARD_CAP_BYTES: usize = 1024;

/// Longest input that is normalised at all. NFC never shortens a text below a third (Hangul: nine bytes to three), so anything
/// longer stays above `HARD_CAP_BYTES` and is refused by `check` without the work.
const NORMALISATION_CAP_BYTES: usize = 4 * HARD_CAP_BYTES;

/// What the operator asks for; lengths in characters: Unicode scalar values after normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Fewest characters.
    pub min_length: u32,
    /// Most characters; `HARD_CAP_BYTES` holds besides.
    pub max_length: u32,
    /// Not one of the most common passwords.
    pub prevent_common: bool,
    /// Nothing that anybody knows of the person or the site.
    pub prevent_user_info: bool,
}

/// Why a password is too weak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weakness {
    /// Fewer characters than the policy asks for.
    Length,
    /// On the list of common passwords.
    Common,
    /// Holds a name, an address or the like.
    UserInfo,
}

impl Weakness {
    /// The stable word that clients see.
    pub fn word(&self) -> &'static str {
        match self {
            Weakness::Length => "length",
            // Supabase's word for a password that is on a list.
            Weakness::Common => "pwned",
            Weakness::UserInfo => "user_info",
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

/// Checks a normalised password against the policy; `known` is what anybody may know of the person and the site.
///
/// # Errors
/// `TooLong` before anything else is looked at, else `Weak` with every weakness.
pub fn check(policy: &Policy, normalised: &str, known: &[String]) -> Result<(), Refused> {
    if normalised.len() > HARD_CAP_BYTES {
        return Err(Refused::TooLong);
    }
    let characters = normalised.chars().count();
    if characters > policy.max_length as usize {
        return Err(Refused::TooLong);
    }
    let weaknesses: Vec<Weakness> = [
        (characters < policy.min_length as usize, Weakness::Length),
        (policy.prevent_common && guessable::is_common(normalised), Weakness::Common),
        (policy.prevent_user_info && guessable::is_about(normalised, known), Weakness::UserInfo),
    ]
    .into_iter()
    .filter_map(|(is_weak, weakness)| is_weak.then_some(weakness))
    .collect();
    if weaknesses.is_empty() { Ok(()) } else { Err(Refused::Weak(weaknesses)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy { min_length: 8, max_length: 72, prevent_common: true, prevent_user_info: true };

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
            assert_eq!(check(&POLICY, &normalise(password), &[]), expected, "{password}");
        }
        assert_eq!(check(&POLICY, &"a".repeat(72), &[]), Ok(()));
        assert_eq!(check(&POLICY, &"a".repeat(73), &[]), Err(Refused::TooLong));
        let generous = Policy { max_length: 5000, ..POLICY };
        assert_eq!(check(&generous, &"a".repeat(HARD_CAP_BYTES), &[]), Ok(()));
        assert_eq!(check(&generous, &"a".repeat(HARD_CAP_BYTES + 1), &[]), Err(Refused::TooLong));
    }

    #[test]
    fn every_weakness_is_told_and_each_can_be_allowed() {
        let known = ["ada@example.org".to_owned(), "Lovelace".to_owned()];
        let told = |policy: &Policy, password: &str| match check(policy, password, &known) {
            Err(Refused::Weak(reasons)) => reasons.iter().map(Weakness::word).collect::<Vec<_>>().join(" "),
            other => format!("{other:?}"),
        };
        for (password, expected) in [
            ("Passw0rd", "pwned"),
            ("letmein", "length pwned"),
            ("LoveLace of 1815", "user_info"),
            ("example", "length user_info"),
            ("correct horse battery", "Ok(())"),
        ] {
            assert_eq!(told(&POLICY, password), expected, "{password}");
        }
        let lax = Policy { min_length: 1, prevent_common: false, prevent_user_info: false, ..POLICY };
        for password in ["password", "lovelace"] {
            assert_eq!(told(&lax, password), "Ok(())", "{password}");
        }
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
        assert_eq!(check(&POLICY, &normalise(&huge), &[]), Err(Refused::TooLong));
        assert!(started.elapsed() < std::time::Duration::from_millis(50));
    }

    #[test]
    fn the_longest_decomposed_password_is_still_normalised() {
        let generous = Policy { min_length: 1, max_length: 5000, ..POLICY };
        let syllables = HARD_CAP_BYTES / 3;
        let decomposed = "\u{1112}\u{1161}\u{11ab}".repeat(syllables);
        assert!(decomposed.len() > HARD_CAP_BYTES);
        assert_eq!(*normalise(&decomposed), "\u{d55c}".repeat(syllables));
        assert_eq!(check(&generous, &normalise(&decomposed), &[]), Ok(()));
    }
}
