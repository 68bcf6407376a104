//! Phone numbers as ITU-T E.164 has them: a country code and a number, at most 15 digits together.
//!
//! Only the shape is looked at. The plans of all countries (which lengths and beginnings a number may have there) fill a
//! megabyte that changes every few weeks, as in the crate `phonenumber`; a number that nobody has costs one SMS, which the
//! guard counts, and no account.

/// No country has shorter numbers with its code.
const LEAST_DIGITS: usize = 8;
/// E.164 section 6.
const MOST_DIGITS: usize = 15;

/// A number with its country code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Phone(String);

impl Phone {
    /// `+49 (151) 123-45678`, or the digits alone as they are stored. Without a plus nothing separates the digits: a number
    /// that people write for their own country is not taken for one of another.
    pub fn parse(text: &str) -> Result<Phone, &'static str> {
        const SEPARATORS: &[char] = &[' ', '\u{a0}', '-', '.', '(', ')', '/'];
        let text = text.trim();
        let digits: String = match text.strip_prefix('+') {
            Some(number) => number.chars().filter(|character| !SEPARATORS.contains(character)).collect(),
            None => text.to_string(),
        };
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("is not a plus and digits");
        }
        if !(LEAST_DIGITS..=MOST_DIGITS).contains(&digits.len()) {
            return Err("has not 8 to 15 digits");
        }
        if digits.starts_with('0') {
            return Err("has no country code");
        }
        Ok(Phone(digits))
    }

    /// As it is stored, without the plus.
    pub fn digits(&self) -> &str {
        &self.0
    }

    /// As it is dialled.
    pub fn e164(&self) -> String {
        format!("+{}", self.0)
    }

    /// Whether it begins like one of these, each written with or without the plus.
    pub fn has_prefix(&self, prefixes: &[String]) -> bool {
        prefixes.iter().any(|prefix| self.0.starts_with(prefix.trim().trim_start_matches('+')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_number() {
        for (text, digits) in [
            ("+15555550123", "15555550123"),
            ("15555550123", "15555550123"),
            (" +49 (151) 123-456.78 ", "4915112345678"),
            ("+49/151/12345678", "4915112345678"),
            ("+49\u{a0}151\u{a0}12345678", "4915112345678"),
            ("+12345678", "12345678"),
            ("+123456789012345", "123456789012345"),
        ] {
            let phone = Phone::parse(text).expect("a good case");
            assert_eq!((phone.digits(), phone.e164()), (digits, format!("+{digits}")), "{text}");
        }
    }

    #[test]
    fn what_is_none() {
        for text in [
            "",
            "+",
            "555-0123",
            "555-01234",
            "+555-0123",
            "0151 12345678",
            "015112345678",
            "004915112345678",
            "+04915112345678",
            "+1234567890123456",
            "49 151 12345678",
            "++4915112345678",
            "+49151+12345678",
            "+4915112345678x",
            "+٤٩١٥١١٢٣٤٥٦٧٨",
            "+４９１５１１２３４５６７８",
            "+4915112345678,+4915112345679",
            "+4915112345678\n+4915112345679",
            "+491511234\u{200b}5678",
            "ada@example.org",
        ] {
            assert!(Phone::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn where_it_begins() {
        let phone = Phone::parse("+4915112345678").expect("a good case");
        let begins =
            |prefixes: &[&str]| phone.has_prefix(&prefixes.iter().map(|one| one.to_string()).collect::<Vec<_>>());
        assert!(begins(&["+49"]) && begins(&["49151"]) && begins(&["+1", "+49"]));
        assert!(!begins(&["+1"]) && !begins(&[]) && !begins(&["+490"]));
    }
}
