//! One-time passwords of authenticator apps (RFC 6238): HMAC-SHA-1, 6 digits, steps of 30 seconds, which is what every app
//! understands. A code is good in its own step and the ones beside it; that it is good once is the caller's to remember.

use qrcode::render::svg;
use qrcode::{EcLevel, QrCode};
use totp_rs::{Builder, Totp};
use zeroize::Zeroizing;

/// 160 bits, the length of the HMAC (RFC 4226 section 4, R6).
pub const SECRET_BYTES: usize = 20;
/// Seconds that one code stands for.
pub const STEP_SECONDS: u64 = 30;
/// Steps before and after the present one whose codes are good too (RFC 6238 section 5.2).
pub const SKEW: u16 = 1;
pub const DIGITS: usize = 6;

/// Least width of the picture.
const QR_PIXELS: u32 = 240;

/// Why there is no code.
#[derive(Debug)]
pub struct TotpError(String);

impl std::fmt::Display for TotpError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Whether a text has the form of a code: six digits, spaces left out.
pub fn is_code(text: &str) -> bool {
    let digits = text.bytes().filter(|byte| *byte != b' ');
    digits.clone().count() == DIGITS && digits.clone().all(|byte| byte.is_ascii_digit())
}

/// The step whose code it is, if that is a step beside the present one; compared in constant time.
///
/// # Errors
/// Where the secret is shorter than RFC 4226 allows.
pub fn step_of(secret: &[u8], code: &str, unix_seconds: u64) -> Result<Option<u64>, TotpError> {
    let digits = Zeroizing::new(code.replace(' ', ""));
    Ok(totp(secret, None)?.check(&digits, unix_seconds))
}

/// What names a step of a factor where it is remembered that its code was used: the first 16 bytes of SHA-256 over the factor's id
/// and the step, big endian.
pub fn step_id(factor: &[u8; 16], step: i64) -> [u8; 16] {
    let digest = ring::digest::digest(&ring::digest::SHA256, &[factor.as_slice(), &step.to_be_bytes()].concat());
    digest.as_ref()[..16].try_into().expect("SHA-256 is 32 bytes")
}

/// The secret as people type it: base32 without padding (RFC 4648 section 6).
pub fn secret_text(secret: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(base32::encode(base32::Alphabet::Rfc4648 { padding: false }, secret))
}

/// The address that authenticator apps read from a QR code (Google's Key Uri Format).
///
/// # Errors
/// Where issuer or account hold a colon.
pub fn uri(secret: &[u8], issuer: &str, account: &str) -> Result<Zeroizing<String>, TotpError> {
    totp(secret, Some((issuer, account)))?.to_url().map(Zeroizing::new).map_err(|error| TotpError(error.to_string()))
}

/// The address as a picture: a data URL (RFC 2397) of SVG.
///
/// # Errors
/// Where the text is longer than a QR code can hold.
pub fn qr_code(uri: &str) -> Result<Zeroizing<String>, TotpError> {
    let code = QrCode::with_error_correction_level(uri, EcLevel::M).map_err(|error| TotpError(error.to_string()))?;
    let picture = code.render::<svg::Color>().min_dimensions(QR_PIXELS, QR_PIXELS).build();
    Ok(Zeroizing::new(format!("data:image/svg+xml;base64,{}", base64_text(picture.as_bytes()))))
}

fn base64_text(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn totp(secret: &[u8], names: Option<(&str, &str)>) -> Result<Totp, TotpError> {
    let builder = Builder::new().with_secret(secret.to_vec()).with_skew(SKEW).with_step_duration(STEP_SECONDS);
    let builder = match names {
        Some((issuer, account)) => builder.with_issuer(Some(issuer)).with_account_name(account),
        None => builder,
    };
    builder.build().map_err(|error| TotpError(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"12345678901234567890";

    /// RFC 6238 appendix B, the last six of the eight digits of SHA-1.
    #[test]
    fn the_rfcs_vectors_hold() {
        for (time, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(step_of(SECRET, code, time).expect("a good case"), Some(time / 30), "{time}");
        }
    }

    /// XE6: one step before and after, and no other.
    #[test]
    fn a_code_is_good_beside_its_step() {
        for (offset, is_good) in
            [(-60_i64, false), (-31, true), (-30, true), (0, true), (30, true), (60, false), (90, false)]
        {
            // 1111111109 is the last second of its step.
            let now = u64::try_from(1_111_111_109 + offset).expect("a good case");
            assert_eq!(step_of(SECRET, "081804", now).expect("a good case").is_some(), is_good, "{offset}");
        }
        assert_eq!(step_of(SECRET, "081 804", 1_111_111_109).expect("a good case"), Some(37_037_036));
        for other in ["081805", "81804", "0081804", "", "08180a", "٠٨١٨٠٤"] {
            assert_eq!(step_of(SECRET, other, 1_111_111_109).expect("a good case"), None, "{other}");
        }
    }

    #[test]
    fn forms() {
        assert!(is_code("123456") && is_code("123 456"));
        for other in ["12345", "1234567", "abcdef", "", "abcd-efgh-jkmn-pqrs"] {
            assert!(!is_code(other), "{other}");
        }
        assert_eq!(*secret_text(SECRET), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        let uri = uri(SECRET, "Example & Co", "ada@example.org").expect("a good case");
        assert!(uri.starts_with("otpauth://totp/Example%20%26%20Co:ada%40example.org?"), "{}", *uri);
        assert!(uri.contains("secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ") && uri.contains("issuer=Example%20%26%20Co"));
        assert!(qr_code(&uri).expect("a good case").starts_with("data:image/svg+xml;base64,"));
        assert!(super::uri(SECRET, "a:b", "c").is_err());
        assert!(step_of(b"short", "123456", 0).is_err());
    }
}
