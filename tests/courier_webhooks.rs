//! Webhooks from the outbox to a receiver of our own: signed, repeated until they are taken, and never into our network.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::{Value, json};

use crate::courier_stage::Stage;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A POST as it came.
#[derive(Clone)]
struct Call {
    head: String,
    body: String,
}

impl Call {
    fn header(&self, name: &str) -> &str {
        let prefix = format!("{name}: ");
        self.head.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_default()
    }
}

/// Answers one call after the other with these heads, and with 200 when there are none left.
struct Receiver {
    port: u16,
    calls: Arc<Mutex<Vec<Call>>>,
}

fn receiver(answers: &[&'static str]) -> Receiver {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
    let (heard, mut answers) = (Arc::clone(&calls), answers.to_vec().into_iter());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let Some(call) = read(&mut stream) else { continue };
            heard.lock().unwrap().push(call);
            let answer = answers.next().unwrap_or("200 OK");
            let _ = write!(stream, "HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    Receiver { port, calls }
}

fn read(stream: &mut impl Read) -> Option<Call> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut chunk).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&chunk[..count]);
        let text = String::from_utf8(bytes.clone()).ok()?;
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
            if body.len() == length.parse::<usize>().ok()? {
                return Some(Call { head: head.to_owned(), body: body.to_owned() });
            }
        }
    }
}

impl Receiver {
    fn row(&self, body: Value) -> Value {
        let url = format!("http://127.0.0.1:{}/hook?x=1", self.port);
        json!({"channel": "webhook", "kind": "signup", "recipient": url,
            "payload": {"url": url, "secret": SECRET, "body": body}})
    }

    fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }
}

fn stage() -> Stage {
    let mut stage = Stage::new();
    stage.set("AUTH_OUTBOUND__ALLOW_PRIVATE", "true");
    stage
}

/// F264: an event is posted with exactly the bytes that were queued, under a signature that the receiver can check, and
/// an id that stays the same when it is posted again.
#[test]
fn an_event_is_posted_and_signed() {
    let mut stage = stage();
    let receiver = receiver(&["500 Oops"]);
    let body = r#"{"type": "signup",  "data": {"user_id": "ü"}}"#;
    let id = stage.queue(receiver.row(body.into()));
    let _courier = stage.courier();
    assert_eq!(stage.wait_for_status(id, "sent").attempts, 2);
    let calls = receiver.calls();
    assert_eq!(calls.len(), 2);
    for call in &calls {
        assert!(call.head.starts_with("POST /hook?x=1 HTTP/1.1"), "{}", call.head);
        assert_eq!((call.body.as_str(), call.header("content-type")), (body, "application/json"));
        assert_eq!(call.header("webhook-id"), id.to_string());
        let timestamp = call.header("webhook-timestamp");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert!(now.abs_diff(timestamp.parse().unwrap()) < 60);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(&SECRET["whsec_".len()..]).unwrap());
        let signature = call.header("webhook-signature").strip_prefix("v1,").unwrap();
        let signed = format!("{id}.{timestamp}.{}", call.body);
        hmac::verify(&key, signed.as_bytes(), &STANDARD.decode(signature).unwrap()).unwrap();
    }
}

/// B077: what an answer means. A redirect is not followed, wherever it leads.
#[test]
fn an_answer_is_taken_repeated_or_given_up() {
    let mut stage = stage();
    let _courier = stage.courier();
    for (answer, status, calls) in [
        ("204 No Content", "sent", 1),
        ("410 Gone", "dead", 1),
        ("404 Not Found", "dead", 1),
        ("429 Too Many\r\nretry-after: 7", "sent", 2),
        ("408 Timeout", "sent", 2),
        ("503 Later", "sent", 2),
        ("302 Found\r\nlocation: http://127.0.0.1:1/", "sent", 2),
    ] {
        let receiver = receiver(&[answer]);
        let id = stage.queue(receiver.row(json!({"type": "signup"})));
        let state = stage.wait_for_status(id, status);
        assert_eq!(receiver.calls().len(), calls, "{answer}: {state:?}");
        assert_eq!(serde_json::from_str::<Value>(&receiver.calls()[0].body).unwrap(), json!({"type": "signup"}));
    }
}

/// A receiver says when it wants to be asked again, and the database is told so.
#[test]
fn a_receiver_says_when_to_come_again() {
    let mut stage = stage();
    stage.pace("60 s", "1 h");
    let receiver = receiver(&["429 Too Many\r\nretry-after: 7"]);
    let id = stage.queue(receiver.row(json!({})));
    let _courier = stage.courier();
    let state = stage.wait_for_retry(id);
    assert_eq!((state.retry_in, state.error.as_str()), (Some(7), "the receiver answered 429"));
}

/// A receiver that does not answer is given up for now after the time of the settings.
#[test]
fn a_silent_receiver_is_left() {
    let mut stage = stage();
    stage.set("AUTH_OUTBOUND__TIMEOUT_SECONDS", "1");
    stage.pace("60 s", "1 h");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://127.0.0.1:{}/", silent.local_addr().unwrap().port());
    let row = json!({"channel": "webhook", "payload": {"url": url, "secret": SECRET, "body": "x"}});
    let id = stage.queue(row);
    let _courier = stage.courier();
    assert_eq!(stage.wait_for_retry(id).error, "the receiver did not answer in time");
}

/// Requests into our own network are not made: written out, in other spellings, or behind a name.
#[test]
fn a_webhook_never_reaches_our_own_network() {
    let mut stage = Stage::new();
    let receiver = receiver(&[]);
    let port = receiver.port;
    let rows = [
        format!("http://127.0.0.1:{port}/"),
        format!("https://127.0.0.1:{port}/"),
        format!("https://[::1]:{port}/"),
        format!("https://[::ffff:127.0.0.1]:{port}/"),
        format!("https://2130706433:{port}/"),
        format!("https://user:word@example.org:{port}/"),
        "https://169.254.169.254/latest/meta-data/".to_owned(),
        "file:///etc/passwd".to_owned(),
    ]
    .map(|url| {
        let row = json!({"channel": "webhook", "payload": {"url": url, "secret": SECRET, "body": "x"}});
        stage.queue(row)
    });
    let url = format!("https://localhost:{port}/");
    let named = stage.queue(json!({"channel": "webhook", "payload": {"url": url, "secret": SECRET, "body": "x"}}));
    let bare = json!({"url": "https://example.org/", "secret": "no prefix", "body": "x"});
    let unsigned = stage.queue(json!({"channel": "webhook", "payload": bare}));
    let _courier = stage.courier();
    for id in rows {
        assert!(stage.wait_for_status(id, "dead").error.starts_with("the address"));
    }
    // A name may have another address tomorrow.
    assert_eq!(stage.wait_for_retry(named).error, "no connection to the receiver");
    assert!(stage.wait_for_status(unsigned, "dead").error.contains("whsec_"));
    assert!(receiver.calls().is_empty());
}
