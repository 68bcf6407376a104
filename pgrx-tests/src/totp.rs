//! An authenticator app, written from RFC 6238 and RFC 4226 and nothing of ours.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::hmac;

/// What somebody's phone holds.
#[derive(Clone)]
pub struct Totp(Vec<u8>);

impl Totp {
    /// From the secret as the answer of `auth.enroll_totp` has it: base32 without padding.
    #[track_caller]
    pub fn new(secret: &str) -> Totp {
        let mut bits = String::new();
        for letter in secret.bytes() {
            let value = match letter {
                b'A'..=b'Z' => letter - b'A',
                b'2'..=b'7' => letter - b'2' + 26,
                _ => panic!("a letter that is not of base32"),
            };
            bits.push_str(&format!("{value:05b}"));
        }
        let bytes = bits.as_bytes().chunks_exact(8);
        Totp(bytes.map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | (bit - b'0'))).collect())
    }

    /// Whether these are the bytes of the secret.
    pub fn is(&self, bytes: &[u8]) -> bool {
        self.0 == bytes
    }

    pub fn length_in_bits(&self) -> usize {
        self.0.len() * 8
    }

    /// What it shows now.
    pub fn code(&self) -> String {
        self.code_at(0)
    }

    /// What it shows so many steps from now. A code of the last step is not given when this one is about to end: it would be of the
    /// step before the last when it arrives.
    pub fn code_at(&self, steps: i64) -> String {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs();
        while steps < 0 && now() % 30 >= 27 {
            std::thread::sleep(Duration::from_millis(50));
        }
        let now = now();
        let counter = (now / 30).checked_add_signed(steps).expect("a step is after 1970");
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.0);
        let digest = hmac::sign(&key, &counter.to_be_bytes());
        let digest = digest.as_ref();
        let offset = usize::from(digest[19] & 15);
        let number =
            u32::from_be_bytes(digest[offset..offset + 4].try_into().expect("the slice is four bytes")) & 0x7fff_ffff;
        format!("{:06}", number % 1_000_000)
    }

    /// Six digits that it does not show for minutes.
    pub fn wrong(&self) -> String {
        let near: Vec<String> = (-10..=10).map(|steps| self.code_at(steps)).collect();
        (0..).map(|number| format!("{number:06}")).find(|code| !near.contains(code)).expect("most codes are wrong")
    }
}
