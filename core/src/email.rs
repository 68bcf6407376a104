//! One rule for what an e-mail address is and when two are the same.
//!
//! The mailbox is what `key` says: nothing that a database or a mail server does later (`lower()`, NFKC, case folding) may turn
//! one address into another one. So a character of the local part that becomes something else under NFKC is refused, no case
//! is folded outside ASCII, and the domain is its A-label. Threats: Unicode case collisions (CVE-2019-19844), validation before
//! normalisation (GHSA-7rqj-j65f-68wh), several recipients in one parameter (CVE-2023-7028).

use std::fmt;

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};
use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

/// Longest address in bytes (RFC 5321, section 4.5.3.1.3, less the angle brackets).
const MAX_ADDRESS_BYTES: usize = 254;
/// Longest local part in bytes (RFC 5321, section 4.5.3.1.1).
const MAX_LOCAL_BYTES: usize = 64;
/// Nothing longer is looked at: normalisation never shortens below a third.
const MAX_INPUT_BYTES: usize = 4 * MAX_ADDRESS_BYTES;

/// A valid address. Two are the same mailbox if and only if their `key` is equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    address: String,
    key: String,
    /// Length in bytes of the local part, the same in `address` and `key`.
    local_length: usize,
}

/// Why a text is no address. `Display` is the reason in lower case, fit for a HINT: "the address {reason}".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidEmail {
    /// Over 254 bytes, or over 64 before the `@`.
    TooLong,
    /// No `@`.
    NoAt,
    /// More than one `@`.
    SeveralAt,
    /// Nothing before the `@`, or a dot at its edge, or two dots in a row.
    LocalPart,
    /// White space, control, format, private or unassigned character.
    Invisible,
    /// A character that is not allowed before the `@`, such as a quote or a comma.
    Character,
    /// A character before the `@` that normalisation turns into another one, such as a fullwidth letter.
    Lookalike,
    /// The domain is not a host name (UTS 46, strict).
    Domain,
    /// The domain has no dot.
    NoDot,
}

impl fmt::Display for InvalidEmail {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            InvalidEmail::TooLong => "is too long",
            InvalidEmail::NoAt => "has no @",
            InvalidEmail::SeveralAt => "has more than one @",
            InvalidEmail::LocalPart => "has an empty part or a misplaced dot before the @",
            InvalidEmail::Invisible => "contains white space or an invisible character",
            InvalidEmail::Character => "contains a character that is not allowed before the @",
            InvalidEmail::Lookalike => "contains a character that normalisation turns into another one",
            InvalidEmail::Domain => "has an invalid domain",
            InvalidEmail::NoDot => "has a domain without a dot",
        })
    }
}

impl std::error::Error for InvalidEmail {}

impl Email {
    /// Reads one address: `local@domain`, a dot-atom (RFC 5321, 5322) that may hold letters, marks and digits of any script
    /// (RFC 6531) and a domain with at least one dot (IDNA by UTS 46, strict). No quoted strings, comments or address literals.
    ///
    /// # Errors
    /// The first reason found.
    pub fn parse(input: &str) -> Result<Email, InvalidEmail> {
        if input.len() > MAX_INPUT_BYTES {
            return Err(InvalidEmail::TooLong);
        }
        if input.chars().any(is_invisible) {
            return Err(InvalidEmail::Invisible);
        }
        let (typed_local, typed_domain) = input.split_once('@').ok_or(InvalidEmail::NoAt)?;
        if typed_domain.contains('@') {
            return Err(InvalidEmail::SeveralAt);
        }
        let local = parse_local(typed_local)?;
        let (shown_domain, domain) = parse_domain(typed_domain)?;
        let email = Email {
            address: format!("{local}@{shown_domain}"),
            key: format!("{local}@{domain}"),
            local_length: local.len(),
        };
        if email.address.len() > MAX_ADDRESS_BYTES || email.key.len() > MAX_ADDRESS_BYTES {
            return Err(InvalidEmail::TooLong);
        }
        Ok(email)
    }

    /// What mail is sent to and what people see: the local part with ASCII letters in lower case, and the domain as A-label if
    /// it was typed in ASCII, else in Unicode. Parsing it again gives the same `key`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What two spellings of one mailbox have in common: compare and index this, byte for byte.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The domain as lower-case A-label (ASCII).
    pub fn domain(&self) -> &str {
        &self.key[self.local_length + 1..]
    }

    /// Whether its owner may have as many more as he likes: `ada+shop@…` (RFC 5233, section 1).
    pub fn has_subaddress(&self) -> bool {
        self.local().contains('+')
    }

    /// What stands before the `@`, ASCII letters in lower case.
    pub fn local(&self) -> &str {
        &self.key[..self.local_length]
    }
}

fn parse_local(typed: &str) -> Result<String, InvalidEmail> {
    // Before NFC, because NFC itself turns U+212A (Kelvin) into an ASCII letter.
    if typed.chars().any(|character| !character.is_ascii() && becomes_ascii(character)) {
        return Err(InvalidEmail::Lookalike);
    }
    let mut local = ComposingNormalizerBorrowed::new_nfc().normalize(typed).into_owned();
    local.make_ascii_lowercase();
    if local.len() > MAX_LOCAL_BYTES {
        return Err(InvalidEmail::TooLong);
    }
    for atom in local.split('.') {
        let first = atom.chars().next().ok_or(InvalidEmail::LocalPart)?;
        // A mark belongs to the character before it; here that would be the dot.
        if !atom.chars().all(is_atom_character) || is_mark(first) {
            return Err(InvalidEmail::Character);
        }
    }
    // As RFC 8264 (IdentifierClass) does: what has a compatibility form is no part of a name.
    if !ComposingNormalizerBorrowed::new_nfkc().is_normalized(&local) {
        return Err(InvalidEmail::Lookalike);
    }
    Ok(local)
}

/// Answers the domain as shown and as A-label.
fn parse_domain(typed: &str) -> Result<(String, String), InvalidEmail> {
    let domain = Uts46::new()
        .to_ascii(typed.as_bytes(), AsciiDenyList::STD3, Hyphens::Check, DnsLength::Verify)
        .map_err(|_| InvalidEmail::Domain)?
        .into_owned();
    let (_, top_level) = domain.rsplit_once('.').ok_or(InvalidEmail::NoDot)?;
    if top_level.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(InvalidEmail::Domain); // an IPv4 address, or what some resolver takes for one
    }
    if typed.is_ascii() {
        return Ok((domain.clone(), domain));
    }
    let (shown, result) = Uts46::new().to_unicode(typed.as_bytes(), AsciiDenyList::STD3, Hyphens::Check);
    // A label that came as `xn--…` may decode to joiners, which we would refuse when reading the address again.
    if result.is_err() || shown.chars().any(is_invisible) {
        return Ok((domain.clone(), domain));
    }
    Ok((shown.into_owned(), domain))
}

/// Letters, digits and the specials of `atext` (RFC 5322, section 3.2.3), and letters, marks and decimal digits of any script.
fn is_atom_character(character: char) -> bool {
    use GeneralCategory::{
        DecimalNumber, LowercaseLetter, ModifierLetter, OtherLetter, TitlecaseLetter, UppercaseLetter,
    };
    if character.is_ascii() {
        return character.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(character);
    }
    is_mark(character)
        || matches!(
            category(character),
            UppercaseLetter | LowercaseLetter | TitlecaseLetter | ModifierLetter | OtherLetter | DecimalNumber
        )
}

fn is_mark(character: char) -> bool {
    use GeneralCategory::{EnclosingMark, NonspacingMark, SpacingMark};
    matches!(category(character), NonspacingMark | SpacingMark | EnclosingMark)
}

/// Whatever a person does not see, or what no version of Unicode has given a meaning yet.
fn is_invisible(character: char) -> bool {
    use GeneralCategory::{
        Control, Format, LineSeparator, ParagraphSeparator, PrivateUse, SpaceSeparator, Surrogate, Unassigned,
    };
    matches!(
        category(character),
        Control | Format | LineSeparator | ParagraphSeparator | PrivateUse | SpaceSeparator | Surrogate | Unassigned
    ) || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(character)
}

fn becomes_ascii(character: char) -> bool {
    ComposingNormalizerBorrowed::new_nfkc()
        .normalize(character.encode_utf8(&mut [0; 4]))
        .bytes()
        .any(|byte| byte.is_ascii())
}

fn category(character: char) -> GeneralCategory {
    CodePointMapData::<GeneralCategory>::new().get(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(input: &str) -> InvalidEmail {
        Email::parse(input).expect_err(input)
    }

    #[test]
    fn addresses_that_are_valid() {
        for (input, address, key) in [
            ("mike@example.com", "mike@example.com", "mike@example.com"),
            ("Mike.O'Hara+tag@EXAMPLE.com", "mike.o'hara+tag@example.com", "mike.o'hara+tag@example.com"),
            ("!#$%&'*+-/=?^_`{|}~@a.b", "!#$%&'*+-/=?^_`{|}~@a.b", "!#$%&'*+-/=?^_`{|}~@a.b"),
            ("josé@example.com", "josé@example.com", "josé@example.com"),
            ("jose\u{301}@example.com", "josé@example.com", "josé@example.com"),
            ("JOSÉ@example.com", "josÉ@example.com", "josÉ@example.com"),
            ("用户@例子.广告", "用户@例子.广告", "用户@xn--fsqu00a.xn--4rr70v"),
            ("अजय@डाटा.भारत", "अजय@डाटा.भारत", "अजय@xn--c2bd1gb.xn--h2brj9c"),
            ("mike@BÜCHER.example", "mike@bücher.example", "mike@xn--bcher-kva.example"),
            ("mike@bu\u{308}cher.example", "mike@bücher.example", "mike@xn--bcher-kva.example"),
            ("mike@XN--Bcher-KVA.example", "mike@xn--bcher-kva.example", "mike@xn--bcher-kva.example"),
            ("mike@faß.de", "mike@faß.de", "mike@xn--fa-hia.de"),
            // What IDNA maps is IDNA's rule: Kelvin sign, ideographic full stop, fullwidth letters.
            ("mike@\u{212a}elvin.com", "mike@kelvin.com", "mike@kelvin.com"),
            ("mike@ｅxample\u{3002}com", "mike@example.com", "mike@example.com"),
            ("mike@sub.domain.example-1.com", "mike@sub.domain.example-1.com", "mike@sub.domain.example-1.com"),
        ] {
            let email = Email::parse(input).unwrap_or_else(|error| panic!("{input}: {error}"));
            assert_eq!((email.address(), email.key()), (address, key), "{input}");
            assert_eq!(format!("{}@{}", email.local(), email.domain()), key);
            let again = Email::parse(email.address()).unwrap_or_else(|error| panic!("{}: {error}", email.address()));
            assert_eq!(again, email, "{input}");
            assert_eq!(Email::parse(email.key()).map(|email| email.key().to_owned()), Ok(key.to_owned()));
        }
    }

    #[test]
    fn texts_that_are_no_address() {
        for (expected, inputs) in [
            (InvalidEmail::NoAt, &["", "mike", "mike.example.com"][..]),
            (InvalidEmail::SeveralAt, &["a@b@example.com", "a@x.com,b@x.com", "@@example.com", "a@[x@y]"]),
            (InvalidEmail::LocalPart, &["@example.com", ".a@example.com", "a.@example.com", "a..b@example.com"]),
            (
                InvalidEmail::Invisible,
                &[
                    " a@example.com",
                    "a@example.com ",
                    "a b@example.com",
                    "a@example.com\n",
                    "a@x.com\r\nRCPT TO:<b@x.com>",
                    "a\0@example.com",
                    "a\u{a0}b@example.com",
                    "a\u{200b}@example.com",
                    "a\u{202e}@example.com",
                    "a@exam\u{ad}ple.com",
                    "a@exam\u{200d}ple.com",
                    "\u{feff}a@example.com",
                    "a\u{e0061}@example.com",
                    "a\u{fe0f}@example.com",
                    "a\u{115f}@example.com",
                    "a\u{3164}@example.com",
                    "a\u{e000}@example.com",
                    "a\u{378}@example.com",
                    "a\u{2028}@example.com",
                    "a\u{7f}@example.com",
                    "a\u{85}@example.com",
                ],
            ),
            (
                InvalidEmail::Character,
                &[
                    "\"a\"@example.com",
                    "a(comment)@example.com",
                    "<a@example.com",
                    "Mike<a@example.com",
                    "a,b@example.com",
                    "a;b@example.com",
                    "a:b@example.com",
                    "a\\b@example.com",
                    "a[b@example.com",
                    "😀@example.com",
                    "a\u{201c}@example.com",
                    "\u{301}a@example.com",
                    "a.\u{301}@example.com",
                    "mailto:a@example.com",
                ],
            ),
            (
                InvalidEmail::Lookalike,
                &[
                    "mi\u{212a}e@example.com",
                    "\u{ff4d}ike@example.com",
                    "a\u{ff20}b@example.com",
                    "ﬁve@example.com",
                    "a²@example.com",
                    "\u{ff71}@example.com",
                    "\u{1d41a}@example.com",
                    "a\u{ff0c}b@example.com",
                    "\u{2460}@example.com",
                    "\u{17f}@example.com",
                ],
            ),
            (InvalidEmail::NoDot, &["a@localhost", "a@xn--fsqu00a"]),
            (
                InvalidEmail::Domain,
                &[
                    "a@",
                    "a@.com",
                    "a@com.",
                    "a@example..com",
                    "a@-example.com",
                    "a@example-.com",
                    "a@exa_mple.com",
                    "a@[127.0.0.1]",
                    "a@127.0.0.1",
                    "a@example.123",
                    "a@xn--.com",
                    "a@xn--a.com",
                    "a@ex<ample.com",
                    "a@example.com>",
                    "a@example.com,b",
                    "a@example.com;b.com",
                    "a@exa%mple.com",
                    "a@ab--c.com",
                    "a@\u{301}x.com",
                    "a@😀\u{ff20}x.com",
                    "a@example.com.",
                    "a@x.com?cc=b.com",
                ],
            ),
        ] {
            for input in inputs {
                assert_eq!(reason(input), expected, "{input:?}");
            }
        }
    }

    #[test]
    fn lengths() {
        let at_most_64 = "a".repeat(64);
        assert!(Email::parse(&format!("{at_most_64}@example.com")).is_ok());
        assert_eq!(reason(&format!("a{at_most_64}@example.com")), InvalidEmail::TooLong);
        assert!(Email::parse(&format!("{}@example.com", "é".repeat(32))).is_ok());
        assert_eq!(reason(&format!("{}@example.com", "é".repeat(33))), InvalidEmail::TooLong);
        let label = "b".repeat(63);
        let domain = format!("{label}.{label}.{}", "b".repeat(61));
        let longest = format!("{at_most_64}@{domain}");
        assert_eq!(longest.len(), MAX_ADDRESS_BYTES);
        assert!(Email::parse(&longest).is_ok());
        assert_eq!(reason(&format!("{longest}b")), InvalidEmail::TooLong);
        assert_eq!(reason(&format!("a@{}.com", "b".repeat(64))), InvalidEmail::Domain);
        assert_eq!(reason(&"a@".repeat(1 << 20)), InvalidEmail::TooLong);
        assert_eq!(reason(&"@".repeat(1000)), InvalidEmail::SeveralAt);
    }

    /// XA11, XA12: whatever a database or a mail server makes of any one character, it is no other ASCII mailbox.
    fn check_every_code_point(before: &str, after: &str) {
        let nfkc = ComposingNormalizerBorrowed::new_nfkc();
        let mut accepted = 0;
        for character in '\0'..=char::MAX {
            let typed = format!("{before}{character}{after}@example.com");
            let Ok(email) = Email::parse(&typed) else {
                assert!(!character.is_ascii_alphanumeric(), "{character} is refused");
                continue;
            };
            accepted += 1;
            let mailbox = email.key();
            assert_eq!(mailbox.matches('@').count(), 1);
            assert_eq!(email.domain(), "example.com");
            assert_eq!(mailbox.is_ascii(), character.is_ascii(), "U+{:04X}", character as u32);
            if character.is_ascii() {
                assert_eq!(mailbox, typed.to_ascii_lowercase());
            }
            // Parse, normalise, parse again: the same mailbox, by every normalisation form.
            assert_eq!(nfkc.normalize(mailbox), mailbox, "U+{:04X}", character as u32);
            let normalised = nfkc.normalize(&typed);
            if *normalised != *typed || email.address() != typed {
                assert_eq!(Email::parse(&normalised).as_ref(), Ok(&email));
                assert_eq!(Email::parse(email.address()).as_ref(), Ok(&email));
            }
        }
        assert!(accepted > 100_000, "only {accepted}");
    }

    #[test]
    fn no_first_character_makes_another_ascii_mailbox() {
        check_every_code_point("", "ike");
    }

    #[test]
    fn no_inner_character_makes_another_ascii_mailbox() {
        check_every_code_point("m", "ke");
    }

    /// In the domain IDNA maps look-alikes, but the answer is always the A-label.
    #[test]
    fn no_code_point_in_the_domain_leaves_ascii() {
        for character in '\0'..=char::MAX {
            let Ok(email) = Email::parse(&format!("mike@e{character}x.com")) else { continue };
            assert!(
                email
                    .domain()
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte))
            );
            let again = Email::parse(email.address());
            assert_eq!(again.as_ref().map(Email::key), Ok(email.key()), "U+{:04X}", character as u32);
        }
    }
}
