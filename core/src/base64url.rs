//! Base64url without padding (RFC 4648, section 5), in exactly one spelling: two different texts never decode to the same
//! bytes. Otherwise one token would have several spellings, and a deny list would know only one of them.

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_allow_trailing_bits(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// Encodes bytes as unpadded base64url.
pub fn encode(bytes: &[u8]) -> String {
    ENGINE.encode(bytes)
}

/// Decodes unpadded base64url.
///
/// `None` for padding, white space, letters of the standard alphabet (`+`, `/`), a length that no bytes have, and unused
/// trailing bits that are not zero. The empty text is zero bytes.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    ENGINE.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_only() {
        for (text, expected) in [
            ("", Some(&b""[..])),
            ("Zg", Some(b"f")),
            ("Zm8", Some(b"fo")),
            ("Zm9v", Some(b"foo")),
            ("-_-_", Some(b"\xfb\xff\xbf")),
            ("Zh", None),   // trailing bits set
            ("Zm9", None),  // trailing bits set
            ("Z", None),    // no bytes have this length
            ("Zg==", None), // padding
            ("Zg=", None),
            ("+/+/", None), // standard alphabet
            ("Zm 9v", None),
            ("Zm9v\n", None),
            (" Zm9v", None),
            ("Zm9v\0", None),
            ("Zm9\u{fe0f}", None),
        ] {
            assert_eq!(decode(text).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn every_decodable_text_of_up_to_three_letters_is_its_own_encoding() {
        let mut decodable = 0;
        for first in 0..=127u8 {
            for second in 0..=127u8 {
                for third in [None, Some(b'A'), Some(b'E'), Some(b'B'), Some(b'='), Some(b' ')] {
                    let text: String =
                        [Some(first), Some(second), third].into_iter().flatten().map(char::from).collect();
                    if let Some(bytes) = decode(&text) {
                        assert_eq!(encode(&bytes), text);
                        decodable += 1;
                    }
                }
            }
        }
        // 64 first letters: 4 canonical second letters alone; 64 * 2 of the third letters (A, E) are canonical.
        assert_eq!(decodable, 64 * 4 + 64 * 64 * 2);
    }
}
