//! Webhooks from the outbox to a receiver of our own: signed, repeated until they are taken, and never into our network.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::courier_receiver::Receiver;
use crate::courier_stage::Stage;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn row(receiver: &Receiver, body: Value) -> Value {
    let url = receiver.url();
    json!({"channel": "webhook", "kind": "signup", "recipient": url,
        "payload": {"url": url, "secret": SECRET, "body": body}})
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
    let receiver = Receiver::start(&["500 Oops"]);
    let body = r#"{"type": "signup",  "data": {"user_id": "ü"}}"#;
    let id = stage.queue(row(&receiver, body.into()));
    let _courier = stage.courier();
    assert_eq!(stage.wait_for_status(id, "sent").attempts, 2);
    let calls = receiver.calls();
    assert_eq!(calls.len(), 2);
    for call in &calls {
        assert!(call.head.starts_with("POST /hook?x=1 HTTP/1.1"), "{}", call.head);
        assert_eq!((call.body.as_str(), call.header("content-type")), (body, "application/json"));
        assert_eq!(call.header("webhook-id"), id.to_string());
        call.verify(SECRET);
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
        let receiver = Receiver::start(&[answer]);
        let id = stage.queue(row(&receiver, json!({"type": "signup"})));
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
    let receiver = Receiver::start(&["429 Too Many\r\nretry-after: 7"]);
    let id = stage.queue(row(&receiver, json!({})));
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
    let receiver = Receiver::start(&[]);
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
