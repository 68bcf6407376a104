//! A real SMTP server (aiosmtpd) with faults on demand: `tests/smtp/server.py` says which.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::concurrency::wait_until;
use crate::config::{free_port, fresh_directory};
use crate::process::spawn_bound;
use crate::program::remove;

/// What stands before the relay's own words on its command line.
#[derive(Clone, Copy, Default)]
pub struct RelayOptions<'a> {
    /// The name of one of `tests/smtp/certificates.py`.
    pub certificate: Option<&'a str>,
    pub implicit: bool,
    pub user: Option<(&'a str, &'a str)>,
}

pub struct Relay {
    child: Option<Child>,
    directory: PathBuf,
    port: u16,
    arguments: Vec<String>,
}

/// A mail that the relay has taken.
#[derive(Clone, Debug)]
pub struct Taken {
    pub from: String,
    pub to: Vec<String>,
    pub tls: bool,
    pub data: String,
}

impl Taken {
    /// The values of a header, unfolded.
    pub fn headers(&self, name: &str) -> Vec<String> {
        let (head, _) = self.data.split_once("\r\n\r\n").unwrap_or((&self.data, ""));
        let unfolded = head.replace("\r\n ", " ").replace("\r\n\t", " ");
        let prefix = format!("{}:", name.to_lowercase());
        unfolded
            .split("\r\n")
            .filter(|line| line.to_lowercase().starts_with(&prefix))
            .map(|line| line[prefix.len()..].trim().to_owned())
            .collect()
    }

    #[track_caller]
    pub fn message_id(&self) -> String {
        let ids = self.headers("message-id");
        assert_eq!(ids.len(), 1, "{}", self.data);
        ids[0].clone()
    }

    /// Whether the mail says this, in a part that is plain or quoted-printable.
    pub fn says(&self, words: &str) -> bool {
        let bytes = self.data.replace("=\r\n", "");
        let mut decoded = Vec::with_capacity(bytes.len());
        let mut rest = bytes.as_bytes();
        while let Some((first, tail)) = rest.split_first() {
            let code = (*first == b'=').then(|| tail.get(..2)).flatten();
            match code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok()) {
                Some(byte) => {
                    decoded.push(byte);
                    rest = &tail[2..];
                }
                None => {
                    decoded.push(*first);
                    rest = tail;
                }
            }
        }
        String::from_utf8_lossy(&decoded).contains(words)
    }
}

impl Relay {
    pub fn start() -> Relay {
        Relay::with(RelayOptions::default())
    }

    pub fn with(options: RelayOptions<'_>) -> Relay {
        let mut relay = Relay::down(options);
        relay.up();
        relay
    }

    /// A relay that does not answer yet.
    pub fn down(options: RelayOptions<'_>) -> Relay {
        let directory = fresh_directory();
        let port = free_port();
        let mut arguments = vec![directory.display().to_string(), "--port".into(), port.to_string()];
        if let Some(name) = options.certificate {
            let status = Command::new(python()).arg(script("certificates.py")).arg(&directory).status();
            assert!(status.is_ok_and(|status| status.success()), "the certificates were made");
            let file = |end: &str| directory.join(format!("{name}.{end}")).display().to_string();
            arguments.extend(["--tls".into(), file("pem"), file("key")]);
        }
        if options.implicit {
            arguments.push("--implicit".into());
        }
        if let Some((user, password)) = options.user {
            arguments.extend(["--user".into(), user.into(), "--password".into(), password.into()]);
        }
        Relay { child: None, directory, port, arguments }
    }

    pub fn up(&mut self) {
        let _ = fs::remove_file(self.directory.join("port"));
        let log = fs::File::create(self.directory.join("log")).expect("the directory takes a log");
        let mut command = Command::new(python());
        command.arg(script("server.py")).args(&self.arguments).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(log);
        self.child = Some(spawn_bound(command, Signal::SIGKILL).expect("python can be started"));
        wait_until("the relay to listen", || {
            if let Some(Ok(Some(status))) = self.child.as_mut().map(Child::try_wait) {
                let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
                panic!("the relay ended ({status}): {log}");
            }
            self.directory.join("port").exists()
        });
    }

    /// Gone, as a relay that is being repaired.
    pub fn go_down(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            crate::faults::signal(child.id() as i32, signal);
        }
    }

    /// Whether it has done everything that it was told to.
    pub fn idle_script(&self) -> bool {
        fs::read_to_string(self.directory.join("script")).unwrap_or_default().trim().is_empty()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The authority that signed its certificate.
    pub fn ca_file(&self) -> String {
        self.directory.join("ca.pem").display().to_string()
    }

    /// What it does with the next messages, one word each.
    pub fn will(&self, words: &[&str]) {
        fs::write(self.directory.join("script"), words.join("\n")).expect("the directory takes a script");
    }

    pub fn taken(&self) -> Vec<Taken> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        lines(&self.directory.join("mails"))
            .iter()
            .map(|mail| Taken {
                from: text(&mail["from"]),
                to: mail["to"].as_array().into_iter().flatten().map(text).collect(),
                tls: mail["tls"] == true,
                data: String::from_utf8_lossy(&STANDARD.decode(text(&mail["data"])).expect("the mail is base64"))
                    .into_owned(),
            })
            .collect()
    }

    /// Every MAIL, RCPT and DATA that it has heard.
    pub fn heard(&self) -> Vec<String> {
        lines(&self.directory.join("commands")).iter().filter_map(|line| line.as_str().map(str::to_owned)).collect()
    }

    #[track_caller]
    pub fn wait_for(&self, mails: usize) -> Vec<Taken> {
        wait_until("the relay to have the mails", || self.taken().len() >= mails);
        self.taken()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.go_down();
        remove(&self.directory);
    }
}

/// The lines that are whole.
fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .map(|line| serde_json::from_str(line).expect("the relay writes json"))
        .collect()
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/smtp").join(name)
}

fn python() -> std::ffi::OsString {
    std::env::var_os("AUTH_PYTHON").expect("AUTH_PYTHON is set by `./dev test`")
}
