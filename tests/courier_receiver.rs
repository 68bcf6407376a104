//! A receiver of webhooks, which checks signatures with the ten lines that the specification asks of one.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

/// A POST as it came.
#[derive(Clone)]
pub struct Call {
    pub head: String,
    pub body: String,
}

impl Call {
    pub fn header(&self, name: &str) -> &str {
        let prefix = format!("{name}: ");
        self.head.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_default()
    }

    /// Panics unless it was signed with this secret, now.
    #[track_caller]
    pub fn verify(&self, secret: &str) {
        let (id, timestamp) = (self.header("webhook-id"), self.header("webhook-timestamp"));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert!(now.abs_diff(timestamp.parse().unwrap()) < 60, "{timestamp}");
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let signature = STANDARD.decode(self.header("webhook-signature").strip_prefix("v1,").unwrap()).unwrap();
        let signed = format!("{id}.{timestamp}.{}", self.body);
        let verified = hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &key), signed.as_bytes(), &signature);
        verified.expect("the signature is of this secret");
    }
}

pub struct Receiver {
    pub port: u16,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Receiver {
    /// Answers one call after the other with these heads, and with 200 when there are none left.
    pub fn start(answers: &[&'static str]) -> Receiver {
        Receiver::saying(answers.iter().map(|head| (*head, String::new())).collect())
    }

    /// The same with a body for each.
    pub fn saying(mut answers: Vec<(&'static str, String)>) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let heard = Arc::clone(&calls);
        answers.reverse();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let Some(call) = read(&mut stream) else { continue };
                heard.lock().unwrap().push(call);
                let (head, body) = answers.pop().unwrap_or(("200 OK", String::new()));
                let length = body.len();
                let _ =
                    write!(stream, "HTTP/1.1 {head}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
            }
        });
        Receiver { port, calls }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook?x=1", self.port)
    }

    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }
}

/// One request to its end; None for what is no request.
fn read(stream: &mut impl Read) -> Option<Call> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut chunk).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&chunk[..count]);
        // A character may come in halves.
        let Ok(text) = std::str::from_utf8(&bytes) else { continue };
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
            if body.len() == length.parse::<usize>().ok()? {
                return Some(Call { head: head.to_owned(), body: body.to_owned() });
            }
        }
    }
}
