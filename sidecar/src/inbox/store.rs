//! The last mails and SMS, in memory.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::Utc;
use mail_parser::{MessageParser, MimeHeaders};
use serde::Serialize;

/// The oldest go first.
const MOST: usize = 200;

#[derive(Clone, Default, Serialize)]
pub struct Received {
    pub id: u64,
    pub received_at: String,
    /// The envelope: whom the mail is really for.
    pub mail_from: String,
    pub recipients: Vec<String>,
    pub from: String,
    pub to: String,
    pub subject: String,
    pub message_id: String,
    pub text: String,
    pub html: Option<String>,
    /// The headers as they came.
    pub headers: Vec<(String, String)>,
}

#[derive(Default)]
pub struct Store {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    last_id: u64,
    mails: VecDeque<Received>,
}

impl Store {
    pub fn add(&self, mail_from: String, recipients: Vec<String>, bytes: &[u8]) {
        let mut received = read(bytes);
        received.mail_from = mail_from;
        received.recipients = recipients;
        self.keep(received);
    }

    /// An SMS is a message without anything but a number and a text.
    pub fn add_sms(&self, phone: String, text: String) {
        let recipients = vec![phone.clone()];
        self.keep(Received { to: phone, recipients, subject: "SMS".into(), text, ..Received::default() });
    }

    fn keep(&self, mut received: Received) {
        received.received_at = Utc::now().to_rfc3339();
        let mut inner = self.lock();
        inner.last_id += 1;
        received.id = inner.last_id;
        if inner.mails.len() == MOST {
            inner.mails.pop_front();
        }
        inner.mails.push_back(received);
    }

    /// The newest first.
    pub fn all(&self) -> Vec<Received> {
        self.lock().mails.iter().rev().cloned().collect()
    }

    pub fn get(&self, id: u64) -> Option<Received> {
        self.lock().mails.iter().find(|mail| mail.id == id).cloned()
    }

    pub fn clear(&self) {
        self.lock().mails.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whatever it is, something is shown.
fn read(bytes: &[u8]) -> Received {
    let mut received = Received::default();
    let Some(message) = MessageParser::default().parse(bytes) else {
        received.text = String::from_utf8_lossy(bytes).into_owned();
        return received;
    };
    let addresses = |list: Option<&mail_parser::Address<'_>>| {
        let all: Vec<&str> = list.into_iter().flat_map(|list| list.iter()).filter_map(|one| one.address()).collect();
        all.join(", ")
    };
    received.from = addresses(message.from());
    received.to = addresses(message.to());
    received.subject = message.subject().unwrap_or_default().to_owned();
    received.message_id = message.message_id().unwrap_or_default().to_owned();
    received.headers = message.headers_raw().map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
    // `body_text` would make one of the HTML: a mail without a text part must look like that.
    let part = |html: bool| {
        message.parts.iter().find_map(|part| {
            let is_html = part.content_type().and_then(|kind| kind.subtype()) == Some("html");
            (is_html == html).then(|| part.text_contents()).flatten().map(str::to_owned)
        })
    };
    received.text = part(false).unwrap_or_default();
    received.html = part(true);
    received
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIL: &[u8] = b"From: A <a@example.org>\r\nTo: b@example.org\r\nSubject: =?utf-8?B?R3LDvMOfZQ==?=\r\n\
Content-Type: multipart/alternative; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\nhello\r\n\
--x\r\nContent-Type: text/html\r\n\r\n<b>hello</b>\r\n--x--\r\n";

    #[test]
    fn a_mail_is_taken_apart() {
        let store = Store::default();
        store.add("a@example.org".into(), vec!["b@example.org".into()], MAIL);
        let mail = store.get(1).unwrap();
        assert_eq!((mail.subject.as_str(), mail.to.as_str()), ("Grüße", "b@example.org"));
        assert_eq!((mail.text.trim(), mail.html.as_deref().map(str::trim)), ("hello", Some("<b>hello</b>")));
    }

    #[test]
    fn the_oldest_go_first() {
        let store = Store::default();
        for _ in 0..MOST + 1 {
            store.add(String::new(), vec![], MAIL);
        }
        assert_eq!((store.all().len(), store.all()[0].id), (MOST, MOST as u64 + 1));
        assert!(store.get(1).is_none());
        store.clear();
        assert!(store.all().is_empty());
    }
}
