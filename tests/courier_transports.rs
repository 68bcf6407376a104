//! Mail without a relay: posted to a program of the operator's, or kept as files.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use auth_harness::{Relay, run_sidecar};
use serde_json::{Value, json};

use crate::courier_receiver::Receiver;
use crate::courier_stage::{Stage, payload_with};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn over_http(receiver: &Receiver) -> Stage {
    let mut stage = Stage::new();
    stage.set("AUTH_MAIL__TRANSPORT", "http");
    stage.set("AUTH_MAIL__URL", &receiver.url());
    stage.set("AUTH_MAIL__SECRET", SECRET);
    stage
}

/// A directory of this test's own; it goes with the value.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("auth-mail-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// B090: a mail is posted once it is committed, signed as Standard Webhooks says, with subject, text, HTML and sender; what the
/// receiver answers decides whether it comes again, under the same id; no relay sees it, and the log has neither link nor code.
#[test]
fn a_mail_is_posted_and_signed() {
    let receiver = Receiver::start(&["503 Busy", "200 OK", "410 Gone"]);
    let mut stage = over_http(&receiver);
    let id = stage.queue(json!({"kind": "confirmation", "locale": "de"}));
    let courier = stage.courier();
    assert_eq!(stage.wait_for_status(id, "sent").attempts, 2);
    let calls = receiver.calls();
    assert_eq!(calls.len(), 2);
    for call in &calls {
        assert!(call.head.starts_with("POST /hook?x=1 HTTP/1.1"), "{}", call.head);
        assert_eq!((call.header("webhook-id"), call.header("content-type")), (&*id.to_string(), "application/json"));
        call.verify(SECRET);
        let body: Value = serde_json::from_str(&call.body).unwrap();
        let data = &body["data"];
        assert_eq!(
            (&body["type"], &data["kind"], &data["locale"]),
            (&json!("mail"), &json!("confirmation"), &json!("de"))
        );
        assert_eq!((&data["to"], &data["id"]), (&json!("ada@example.org"), &json!(id.to_string())));
        assert!(data["from"].as_str().unwrap().contains("auth@example.org"), "{data}");
        assert!(data["subject"].as_str().is_some_and(|subject| !subject.is_empty()));
        for part in ["text", "html"] {
            let part = data[part].as_str().unwrap();
            assert!(part.contains("tokentokentoken") && part.contains("987654"), "{part}");
        }
    }
    let gone = stage.queue(json!({}));
    assert!(stage.wait_for_status(gone, "dead").error.contains("410"));
    // What SMTP would not carry is carried by nothing.
    for recipient in ["ada@example.org,eve@example.org", "ada@example.org\r\nBcc: eve@example.org", "nobody"] {
        let strange = stage.queue(json!({"recipient": recipient}));
        stage.wait_for_status(strange, "dead");
    }
    let over = stage.queue(json!({"payload": payload_with(json!({"expires_at": "2020-01-01T00:00:00Z"}))}));
    stage.wait_for_status(over, "expired");
    assert_eq!(receiver.calls().len(), 3);
    assert_eq!(stage.relay.taken().len(), 0);
    let log = courier.log();
    for secret in ["tokentokentoken", "987654", "ada@example.org", SECRET] {
        assert!(!log.contains(secret), "{secret}");
    }
}

/// B090: a mail becomes one file, whole, that nobody else may read, and the same one if it is written again; where there is no
/// directory it waits and is not lost.
#[test]
fn a_mail_becomes_a_file() {
    let directory = Directory::new("kept");
    let inner = directory.0.join("later");
    let mut stage = Stage::with(Relay::down(Default::default()));
    stage.set("AUTH_MAIL__TRANSPORT", "file");
    stage.set("AUTH_MAIL__DIRECTORY", inner.to_str().unwrap());
    stage.pace("60 s", "300 ms");
    let id = stage.queue(json!({"kind": "recovery"}));
    let _courier = stage.courier();
    assert!(stage.wait_for_retry(id).error.contains("mail.directory"));
    std::fs::create_dir(&inner).unwrap();
    stage.wait_for_status(id, "sent");
    let kept = Directory(inner);
    let files = kept.files();
    assert_eq!(files, [kept.0.join(format!("{id}.eml"))]);
    assert_eq!(std::fs::metadata(&files[0]).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&files[0]).unwrap();
    for line in ["From: \"Ada Lovelace\" <auth@example.org>", "To: ada@example.org", "Auto-Submitted: auto-generated"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(text.contains(&format!("Message-ID: {}", stage.message_id(id))), "{text}");
    // As after a courier that died between writing and settling.
    stage
        .superuser
        .execute("update auth.outbox set status = 'pending', next_attempt_at = now() where id = $1", &[&id])
        .unwrap();
    stage.superuser.batch_execute("notify auth_outbox").unwrap();
    stage.wait_for_status(id, "sent");
    assert_eq!(kept.files().len(), 1);
    let strange = stage.queue(json!({"recipient": "../../etc/passwd"}));
    stage.wait_for_status(strange, "dead");
    assert_eq!(kept.files().len(), 1);
}

/// B090: settings that would send mail nowhere, unsigned or in the clear are refused at the start; the secret is not printed.
#[test]
fn a_transport_is_checked_at_the_start() {
    let base = [("AUTH_DATABASE__URL", "postgresql://x@db/app"), ("AUTH_SMTP__SENDER", "auth@example.org")];
    let said = |settings: &[(&str, &str)]| {
        let output = run_sidecar(&["check-config"], &[&base[..], settings].concat());
        let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        assert!(!said.contains("MfKQ9r8"), "{said}");
        (output.status.success(), said)
    };
    let http = |url: &'static str, secret: &'static str| {
        [("AUTH_MAIL__TRANSPORT", "http"), ("AUTH_MAIL__URL", url), ("AUTH_MAIL__SECRET", secret)]
    };
    for (settings, word) in [
        (http("", SECRET), "mail.url"),
        (http("http://mail.example.org/", SECRET), "mail.url"),
        (http("ftp://127.0.0.1/", SECRET), "mail.url"),
        (http("https://mail.example.org/", ""), "mail.secret"),
        (http("https://mail.example.org/", "MfKQ9r8"), "mail.secret"),
        ([("AUTH_MAIL__TRANSPORT", "file"), ("AUTH_MAIL__URL", ""), ("AUTH_MAIL__DIRECTORY", "")], "mail.directory"),
        ([("AUTH_MAIL__TRANSPORT", "pigeon"), ("AUTH_MAIL__URL", ""), ("AUTH_MAIL__DIRECTORY", "/tmp")], "pigeon"),
        (
            [("AUTH_MAIL__TRANSPORT", "file"), ("AUTH_SMTP__SENDER", "nobody"), ("AUTH_MAIL__DIRECTORY", "/tmp")],
            "smtp.sender",
        ),
    ] {
        let (is_good, said) = said(&settings);
        assert!(!is_good && said.contains(word), "{settings:?}: {said}");
    }
    for settings in [
        http("https://mail.example.org/in?k=1", SECRET),
        http("http://127.0.0.1:8080/", SECRET),
        http("http://[::1]:8080/", SECRET),
    ] {
        let (is_good, said) = said(&settings);
        assert!(is_good && said.contains("mail.secret is set") && said.contains("mail.url is set"), "{said}");
    }
    assert!(
        Path::new("/tmp").is_dir() && said(&[("AUTH_MAIL__TRANSPORT", "file"), ("AUTH_MAIL__DIRECTORY", "/tmp")]).0
    );
}
