//! A rendered mail becomes the bytes that SMTP carries, for one recipient: the stored address, byte for byte.

use std::time::SystemTime;

use lettre::Address;
use lettre::address::Envelope;
use lettre::message::header::{Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, MultiPart, SinglePart};

use super::render::Rendered;

/// A mail that can be sent.
pub struct Mail {
    pub envelope: Envelope,
    pub bytes: Vec<u8>,
}

/// RFC 3834: no vacation reply, no loop.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(AutoSubmitted)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".into())
    }
}

/// `Name <address>` of the settings.
///
/// # Errors
/// Why it is no sender.
pub fn sender(text: &str) -> Result<Mailbox, String> {
    if text.chars().any(char::is_control) {
        return Err("smtp.sender contains a control character".into());
    }
    let (name, address) = match text.trim().strip_suffix('>').and_then(|text| text.rsplit_once('<')) {
        Some((name, address)) => (name.trim().trim_matches('"'), address),
        None => ("", text.trim()),
    };
    let address = recipient(address).map_err(|_| "smtp.sender is neither `Name <address>` nor an address")?;
    Ok(Mailbox::new((!name.is_empty()).then(|| name.to_owned()), address))
}

/// The one recipient of a row. The part before the last `@` and the part after it must be what two parsers, ours in
/// the database and the mail library's, both take for an address; and together they are the stored text again.
///
/// # Errors
/// Why nothing may be sent to it.
pub fn recipient(stored: &str) -> Result<Address, String> {
    let (local, domain) = stored.rsplit_once('@').ok_or("the recipient is no address")?;
    // No address of ours is quoted, and no other text has these characters: each is a second address or a command.
    let strange =
        |character: char| character.is_control() || character.is_whitespace() || "\"\\<>(),;:@[]".contains(character);
    if local.chars().any(strange) || domain.chars().any(strange) {
        return Err("the recipient is no single plain address".into());
    }
    let address = Address::new(local, domain).map_err(|_| "the recipient is no address for the mail library")?;
    let text: &str = address.as_ref();
    if text.as_bytes() != stored.as_bytes() {
        return Err("the mail library reads the recipient as another address".into());
    }
    Ok(address)
}

/// # Errors
/// Why no message can be made: never something that a later try would change.
pub fn compose(
    sender: &Mailbox,
    stored_recipient: &str,
    message_id: &str,
    rendered: Rendered,
    now: SystemTime,
) -> Result<Mail, String> {
    let to = recipient(stored_recipient)?;
    let envelope = Envelope::new(Some(sender.email.clone()), vec![to.clone()])
        .map_err(|_| "the mail library makes no envelope of the addresses")?;
    let builder = Message::builder()
        .from(sender.clone())
        .to(Mailbox::new(None, to))
        .envelope(envelope.clone())
        .message_id(Some(bracketed(message_id)?))
        .date(now)
        .header(AutoSubmitted)
        .subject(rendered.subject);
    let message = match rendered.html {
        Some(html) => builder.multipart(MultiPart::alternative_plain_html(rendered.text, html)),
        None => builder.singlepart(SinglePart::plain(rendered.text)),
    }
    .map_err(|error| format!("the mail library makes no message: {error}"))?;
    Ok(Mail { envelope, bytes: message.formatted() })
}

/// A relay and a mailbox see by it that they have the mail already.
fn bracketed(message_id: &str) -> Result<String, String> {
    let bare = message_id.trim_start_matches('<').trim_end_matches('>');
    let plain = |character: char| character.is_ascii_graphic() && !"<>()\"\\,;:".contains(character);
    if bare.is_empty() || !bare.contains('@') || !bare.chars().all(plain) {
        return Err("the message id is none".into());
    }
    Ok(format!("<{bare}>"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn composed(to: &str, subject: &str, text: &str) -> Result<Mail, String> {
        let rendered = Rendered { subject: subject.into(), text: text.into(), html: Some("<p>ü</p>".into()) };
        let from = sender("Grüße, von \"uns\" <auth@example.org>").unwrap();
        compose(&from, to, "id-1@example.org", rendered, SystemTime::UNIX_EPOCH)
    }

    /// XA13, XA14: one recipient, the stored bytes, or nothing.
    #[test]
    fn the_recipient_is_the_stored_address_or_nobody() {
        for good in ["a@example.org", "a.b+c@xn--bcher-kva.example", "jürgen@bücher.example", "o'neil@example.org"] {
            let mail = composed(good, "s", "t").unwrap_or_else(|why| panic!("{good}: {why}"));
            let to: Vec<&str> = mail.envelope.to().iter().map(AsRef::as_ref).collect();
            assert_eq!(to, [good]);
        }
        for bad in [
            "\"e@attacker.com\"@victim.com",
            "a@b@example.org",
            "a@x.org,b@x.org",
            "a@x.org, b@x.org",
            "a@x.org\r\nRCPT TO:<b@x.org>",
            "a@x.org>\nRCPT TO:<b@x.org",
            "<a@x.org>",
            "A <a@x.org>",
            "a@[127.0.0.1]",
            "a@x.org ",
            "a(b)@x.org",
            "a@x.org\0",
            "@x.org",
            "a@",
            "a",
            "",
        ] {
            assert!(composed(bad, "s", "t").is_err(), "{bad:?}");
        }
    }

    /// XI2, XI3: headers are ours, and no line of the body is one that a relay could take for the end.
    #[test]
    fn nothing_in_a_value_becomes_a_header_or_a_command() {
        let text = "hello\r\n.\r\nMAIL FROM:<eve@example.org>\r\n\n.\nx\r.\rjürgen";
        let mail = composed("a@example.org", "Grüße\r\nBcc: eve@example.org", text).unwrap();
        let bytes = String::from_utf8(mail.bytes).unwrap();
        assert!(bytes.is_ascii());
        assert!(!bytes.replace("\r\n", "").contains(['\r', '\n']), "no bare CR or LF");
        let (head, _) = bytes.split_once("\r\n\r\n").unwrap();
        assert!(!head.to_lowercase().contains("\r\nbcc"), "{head}");
        for header in
            ["From: ", "To: a@example.org\r\n", "Message-ID: <id-1@example.org>\r\n", "Auto-Submitted: auto-generated"]
        {
            assert!(head.contains(header), "{header}: {head}");
        }
        assert!(head.contains("Date: Thu, 01 Jan 1970 00:00:00 +0000"), "{head}");
    }

    #[test]
    fn a_message_id_is_one_or_nothing_is_sent() {
        assert_eq!(bracketed("a@b").as_deref(), Ok("<a@b>"));
        assert_eq!(bracketed("<a@b>").as_deref(), Ok("<a@b>"));
        for bad in ["", "a", "a@b\r\nBcc: c@d", "a b@c", "a@b>,<c@d", "<>"] {
            assert!(bracketed(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_sender_is_name_and_address() {
        let ours = sender("Ada's App <auth@example.org>").unwrap();
        assert_eq!((ours.name.as_deref(), ours.email.domain()), (Some("Ada's App"), "example.org"));
        assert!(sender("auth@example.org").is_ok() && sender("\"Grüße, wir\" <auth@example.org>").is_ok());
        for bad in ["", "Ada", "Ada <auth@example.org>\r\nBcc: x@y", "Ada <a@x.org,b@x.org>", "<>"] {
            assert!(sender(bad).is_err(), "{bad}");
        }
    }
}
