//! A receiver of RFC 5321, as small as one for development may be: no TLS, no password, one machine.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::store::Store;

const MAX_LINE_BYTES: u64 = 4096;
const MAX_MAIL_BYTES: usize = 10_000_000;
const MAX_RECIPIENTS: usize = 100;
const PATIENCE: Duration = Duration::from_secs(300);

pub async fn serve(listener: TcpListener, store: Arc<Store>) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let (read, write) = stream.split();
            // Who breaks off breaks off.
            let _ = converse(BufReader::new(read), write, &store).await;
        });
    }
}

async fn converse(
    mut input: impl AsyncBufRead + Unpin,
    mut output: impl AsyncWrite + Unpin,
    store: &Store,
) -> std::io::Result<()> {
    output.write_all(b"220 inbox ESMTP\r\n").await?;
    let mut from: Option<String> = None;
    let mut recipients: Vec<String> = Vec::new();
    while let Some(line) = read_line(&mut input).await? {
        let line = String::from_utf8_lossy(&line).into_owned();
        let line = line.trim_end_matches(['\r', '\n']);
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let answer = match verb.to_ascii_uppercase().as_str() {
            "EHLO" => "250-inbox\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 10000000",
            "HELO" | "NOOP" => "250 inbox",
            "RSET" => {
                from = None;
                recipients.clear();
                "250 forgotten"
            }
            "MAIL" => match path(rest, "FROM:") {
                Some(path) if from.is_none() => {
                    from = Some(path);
                    "250 go on"
                }
                Some(_) => "503 there is a sender already",
                None => "501 MAIL FROM:<address>",
            },
            "RCPT" => match path(rest, "TO:") {
                _ if from.is_none() => "503 MAIL comes first",
                _ if recipients.len() >= MAX_RECIPIENTS => "452 too many recipients",
                Some(path) => {
                    recipients.push(path);
                    "250 go on"
                }
                None => "501 RCPT TO:<address>",
            },
            "DATA" if recipients.is_empty() => "503 RCPT comes first",
            "DATA" => {
                output.write_all(b"354 end with a dot\r\n").await?;
                match read_mail(&mut input).await? {
                    Some(mail) => {
                        let mail_from = from.take().unwrap_or_default();
                        store.add(mail_from, std::mem::take(&mut recipients), &mail);
                        "250 taken"
                    }
                    None => {
                        from = None;
                        recipients.clear();
                        "552 too large"
                    }
                }
            }
            "QUIT" => {
                return output.write_all(b"221 bye\r\n").await;
            }
            _ => "502 not here",
        };
        output.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
    Ok(())
}

/// What stands between the angle brackets.
fn path(rest: &str, keyword: &str) -> Option<String> {
    let head = rest.get(..keyword.len())?;
    let path = rest.get(keyword.len()..)?.trim_start().strip_prefix('<')?;
    head.eq_ignore_ascii_case(keyword).then_some(())?;
    Some(path.split_once('>')?.0.to_owned())
}

/// None at the end of the stream. A line over the limit ends the conversation: nothing of ours writes one.
async fn read_line(input: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut limited = input.take(MAX_LINE_BYTES);
    let read = limited.read_until(b'\n', &mut line);
    tokio::time::timeout(PATIENCE, read).await.map_err(|_| std::io::ErrorKind::TimedOut)??;
    Ok(line.ends_with(b"\n").then_some(line))
}

/// Up to the lone dot, which only CRLF makes lone: a bare line feed before a dot is part of the mail. None if it is
/// larger than may be.
async fn read_mail(input: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Option<Vec<u8>>> {
    let mut mail: Vec<u8> = Vec::new();
    let mut too_large = false;
    loop {
        let Some(line) = read_line(input).await? else { return Err(std::io::ErrorKind::UnexpectedEof.into()) };
        let at_line_start = mail.is_empty() || mail.ends_with(b"\r\n");
        if at_line_start && line == b".\r\n" {
            return Ok((!too_large).then_some(mail));
        }
        let unstuffed = if at_line_start && line.starts_with(b".") { &line[1..] } else { &line[..] };
        if mail.len() + unstuffed.len() > MAX_MAIL_BYTES {
            too_large = true;
            mail.clear();
            mail.extend_from_slice(b"\r\n");
        }
        if !too_large {
            mail.extend_from_slice(unstuffed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn said(words: &str) -> (String, Store) {
        let store = Store::default();
        let mut answer = Vec::new();
        let _ = converse(BufReader::new(words.as_bytes()), &mut answer, &store).await;
        (String::from_utf8(answer).unwrap(), store)
    }

    #[tokio::test]
    async fn a_mail_is_taken_with_its_dots() {
        let (answers, store) = said(
            "EHLO me\r\nMAIL FROM:<a@example.org> BODY=8BITMIME\r\nRCPT TO:<b@example.org>\r\nDATA\r\n\
             Subject: x\r\n\r\n..dot\r\n\n.\r\nstill\r\n.\r\nNOOP\r\nQUIT\r\n",
        )
        .await;
        let mail = store.get(1).unwrap();
        assert_eq!((mail.recipients[0].as_str(), mail.mail_from.as_str()), ("b@example.org", "a@example.org"));
        assert!(mail.text.starts_with(".dot") && mail.text.contains("still"), "{}", mail.text);
        assert!(answers.ends_with("250 taken\r\n250 inbox\r\n221 bye\r\n"), "{answers}");
    }

    #[tokio::test]
    async fn what_comes_out_of_order_is_refused() {
        let (answers, store) = said(
            "RCPT TO:<b@example.org>\r\nDATA\r\nMAIL FROM: a\r\nMAIL FROM:<>\r\nMAIL FROM:<>\r\nRCPT\r\nSTARTTLS\r\n",
        )
        .await;
        let codes: Vec<&str> = answers.lines().map(|line| &line[..3]).collect();
        assert_eq!(codes, ["220", "503", "503", "501", "250", "503", "501", "502"]);
        assert!(store.all().is_empty());
    }

    #[tokio::test]
    async fn an_endless_line_ends_the_conversation() {
        let (answers, store) = said(&"x".repeat(5000)).await;
        assert_eq!((answers.as_str(), store.all().len()), ("220 inbox ESMTP\r\n", 0));
    }
}
