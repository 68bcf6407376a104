//! The signature of a POST to `/` at Amazon (Signature Version 4). The crate for it, aws-sigv4, brings seventeen others for
//! what is here one hash and five HMACs; Amazon's own test vectors and botocore say that they are right.
//! https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html

use ring::digest::{SHA256, digest};
use ring::hmac;

pub struct Signer<'a> {
    pub access_key_id: &'a str,
    pub secret_access_key: &'a str,
    pub region: &'a str,
    pub service: &'a str,
}

const SIGNED: &str = "content-type;host;x-amz-date";

impl Signer<'_> {
    /// The header Authorization of a form; `time` is that of x-amz-date, `host` that of the request.
    pub fn authorization(&self, time: &str, content_type: &str, host: &str, body: &[u8]) -> String {
        let headers = format!("content-type:{content_type}\nhost:{host}\nx-amz-date:{time}\n");
        let request = format!("POST\n/\n\n{headers}\n{SIGNED}\n{}", hash(body));
        let date = time.split('T').next().unwrap_or_default();
        let scope = format!("{date}/{}/{}/aws4_request", self.region, self.service);
        let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hash(request.as_bytes()));
        let secret = format!("AWS4{}", self.secret_access_key);
        let key = [date, self.region, self.service, "aws4_request"]
            .iter()
            .fold(secret.into_bytes(), |key, part| mac(&key, part.as_bytes()));
        let signature = hex(&mac(&key, to_sign.as_bytes()));
        let credential = format!("{}/{scope}", self.access_key_id);
        format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={SIGNED}, Signature={signature}")
    }
}

/// Host and port of an address, as the header Host has them.
pub fn host(url: &str) -> Option<String> {
    let url = reqwest::Url::parse(url).ok()?;
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec()
}

fn hash(text: &[u8]) -> String {
    hex(digest(&SHA256, text).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// post-x-www-form-urlencoded of Amazon's suite of test vectors.
    #[test]
    fn the_signature_is_amazons() {
        let signer = Signer {
            access_key_id: "AKIDEXAMPLE",
            secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            region: "us-east-1",
            service: "service",
        };
        let form = "application/x-www-form-urlencoded";
        assert_eq!(
            signer.authorization("20150830T123600Z", form, "example.amazonaws.com", b"Param1=value1"),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date, \
             Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"
        );
    }

    #[test]
    fn a_host_has_a_port_that_is_not_the_usual_one() {
        for (url, expected) in [
            ("https://sns.eu-central-1.amazonaws.com/", "sns.eu-central-1.amazonaws.com"),
            ("http://127.0.0.1:8080/", "127.0.0.1:8080"),
            ("https://example.org:443/", "example.org"),
        ] {
            assert_eq!(host(url).as_deref(), Some(expected));
        }
        assert_eq!(host("x"), None);
    }
}
