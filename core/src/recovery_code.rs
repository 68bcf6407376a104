//! Recovery codes: what lets somebody in who has lost the second factor.
//!
//! Sixteen letters of Crockford's base32 in small letters, in four groups: 80 random bits. Read with leniency: capitals,
//! spaces and left out dashes, o for 0, i and l for 1.

use zeroize::Zeroizing;

/// Random bytes of a code.
pub const BYTES: usize = 10;
const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const LENGTH: usize = 16;
const GROUP: usize = 4;

/// A new code, as it is shown.
pub fn code(random: &[u8; BYTES]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(LENGTH + 3));
    let bits = random.iter().fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
    for place in 0..LENGTH {
        if place > 0 && place % GROUP == 0 {
            text.push('-');
        }
        text.push(char::from(LETTERS[(bits >> (75 - 5 * place) & 31) as usize]));
    }
    text
}

/// The code as it is compared; `None` for what has not the form of one.
pub fn normalise(text: &str) -> Option<Zeroizing<String>> {
    if text.len() > 4 * LENGTH {
        return None;
    }
    let letters = text.chars().filter(|letter| !matches!(letter, ' ' | '-'));
    let mut code = Zeroizing::new(String::with_capacity(LENGTH));
    for letter in letters {
        let letter = match letter.to_ascii_lowercase() {
            'o' => '0',
            'i' | 'l' => '1',
            letter => letter,
        };
        code.push(Some(letter).filter(|letter| LETTERS.contains(&u8::try_from(*letter).unwrap_or(0)))?);
    }
    (code.len() == LENGTH).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_eighty_bits_in_four_groups() {
        assert_eq!(*code(&[0; BYTES]), "0000-0000-0000-0000");
        assert_eq!(*code(&[255; BYTES]), "zzzz-zzzz-zzzz-zzzz");
        assert_eq!(*code(&[0x00, 0x44, 0x32, 0x14, 0xc7, 0x42, 0x54, 0xb6, 0x35, 0xcf]), "0123-4567-89ab-cdef");
    }

    #[test]
    fn it_is_read_as_people_type_it() {
        for text in ["0123-4567-89ab-cdef", "0123456789ABCDEF", " oi23 4567 89ab cdef ", "0l23-4567-89ab-cdef"] {
            assert_eq!(normalise(text).as_deref().map(String::as_str), Some("0123456789abcdef"), "{text}");
        }
        for text in [
            "",
            "123456",
            "0123-4567-89ab-cde",
            "0123-4567-89ab-cdefg",
            "0123-4567-89ab-cdeu",
            "0123-4567-89ab-cdeé",
            &"0".repeat(100),
        ] {
            assert!(normalise(text).is_none(), "{text}");
        }
    }
}
