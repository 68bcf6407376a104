//! The inbox of a developer: mail of the courier, seen over HTTP.

use std::io::{Read, Write};
use std::net::TcpStream;

use auth_harness::{Inbox, run_sidecar, wait_until};
use serde_json::{Value, json};

use crate::courier_stage::{Stage, payload_with};

/// A developer's browser.
trait Browse {
    fn ask(&self, method: &str, path: &str, host: &str) -> (String, String);
    fn get(&self, path: &str) -> (String, String);
    fn messages(&self) -> Vec<Value>;
}

impl Browse for Inbox {
    /// Head and body.
    fn ask(&self, method: &str, path: &str, host: &str) -> (String, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http())).unwrap();
        write!(stream, "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_lowercase(), body.to_owned())
    }

    fn get(&self, path: &str) -> (String, String) {
        self.ask("GET", path, &format!("127.0.0.1:{}", self.http()))
    }

    fn messages(&self) -> Vec<Value> {
        serde_json::from_str(&self.get("/api/messages").1).unwrap()
    }
}

/// F258: what the courier sends to the inbox can be read there: by a program as JSON, by a person as text and HTML.
#[test]
fn a_developer_reads_the_mail() {
    let inbox = Inbox::start();
    let mut stage = Stage::new();
    stage.set("AUTH_SMTP__PORT", inbox.smtp());
    let user = json!({"id": "1", "email": "ada@example.org", "user_metadata": {"name": "<script>alert(1)</script>"}});
    let template = json!({"subject": "Hi {{ user.user_metadata.name }}", "text_body": "{{ user.user_metadata.name }}\n.\n{{ confirmation_url }}",
        "html_body": "<p>{{ code }}</p><script>alert(2)</script>"});
    let id = stage.queue(json!({"payload": payload_with(json!({"user": user})), "template": template}));
    let _courier = stage.courier();
    stage.wait_for_status(id, "sent");

    let messages = inbox.messages();
    assert_eq!(messages.len(), 1);
    let mail = &messages[0];
    assert_eq!(mail["subject"], "Hi <script>alert(1)</script>");
    assert_eq!((&mail["recipients"], &mail["mail_from"]), (&json!(["ada@example.org"]), &json!("auth@example.org")));
    assert_eq!(format!("<{}>", mail["message_id"].as_str().unwrap()), stage.message_id(id));
    assert!(mail["text"].as_str().unwrap().contains("\n.\n") || mail["text"].as_str().unwrap().contains("\r\n.\r\n"));
    assert!(mail["html"].as_str().unwrap().contains("987654"));

    let (head, page) = inbox.get("/");
    assert!(head.contains("content-security-policy: default-src 'none'") && head.contains("no-referrer"), "{head}");
    assert!(page.contains("Hi &lt;script&gt;") && !page.contains("<script"), "{page}");
    let (_, page) = inbox.get(&format!("/messages/{}", mail["id"]));
    assert!(page.contains("<a href=\"https://auth.example.org/base/verify?token=tokentokentoken&amp;"), "{page}");
    assert!(page.contains("sandbox=\"allow-popups") && !page.contains("allow-scripts") && !page.contains("<script"));
    let (head, frame) = inbox.get(&format!("/messages/{}/html", mail["id"]));
    assert!(head.contains("content-security-policy: sandbox") && !head.contains("allow-scripts"), "{head}");
    assert!(frame.contains("<script>alert(2)"), "the frame shows the mail as it is");

    let one: Value = serde_json::from_str(&inbox.get(&format!("/api/messages/{}", mail["id"])).1).unwrap();
    assert_eq!(one["subject"], mail["subject"]);
    assert!(inbox.get("/api/messages/999").0.contains(" 404 "));
    let host = format!("localhost:{}", inbox.http());
    assert!(inbox.ask("DELETE", "/api/messages", &host).0.contains(" 204 "));
    assert!(inbox.messages().is_empty());
}

/// A page of the internet whose name points at this machine reads nothing, and nothing listens for others.
#[test]
fn the_inbox_is_for_this_machine_only() {
    let inbox = Inbox::start();
    assert!(inbox.ask("GET", "/api/messages", "evil.example:8025").0.contains(" 403 "));
    assert!(inbox.ask("GET", "/api/messages", "127.0.0.1.evil.example").0.contains(" 403 "));
    for (option, address) in [("--smtp", "0.0.0.0:0"), ("--http", "0.0.0.0:0"), ("--http", "[::]:0")] {
        let mut arguments = vec!["inbox", "--smtp", "127.0.0.1:0", "--http", "127.0.0.1:0"];
        let place = arguments.iter().position(|argument| *argument == option).unwrap() + 1;
        arguments[place] = address;
        let refused = run_sidecar(&arguments, &[]);
        assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("loopback"), "{option}");
    }
    let taken = format!("127.0.0.1:{}", inbox.smtp());
    let second = run_sidecar(&["inbox", "--smtp", &taken, "--http", "127.0.0.1:0"], &[]);
    assert!(String::from_utf8_lossy(&second.stderr).contains("cannot listen"), "a clash is told");
}

/// Many at once, and one that never ends its conversation, are no matter.
#[test]
fn the_inbox_takes_many_at_once() {
    let inbox = Inbox::start();
    let mut endless = TcpStream::connect(format!("127.0.0.1:{}", inbox.smtp())).unwrap();
    endless.write_all(b"EHLO me\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\nhalf a mail").unwrap();
    auth_harness::storm(8, |index| {
        let mut stream = TcpStream::connect(format!("127.0.0.1:{}", inbox.smtp())).unwrap();
        let words = format!(
            "EHLO me\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c{index}@d.example>\r\nDATA\r\nSubject: {index}\r\n\r\nx\r\n.\r\nQUIT\r\n"
        );
        stream.write_all(words.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("221 bye\r\n"), "{answer}");
    });
    wait_until("the mails", || inbox.messages().len() == 8);
}
