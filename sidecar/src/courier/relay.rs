//! The SMTP relay: a few connections that are used again, and what its answers mean for a row.
//!
//! The conversation is led here, command by command, because what an answer means depends on where it comes. A refusal
//! of the recipient or of the message is for ever; a refusal of us (connection, password, sender) is the operator's to
//! mend and loses no mail; silence after the end of DATA means that the relay may have the mail.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use lettre::message::Mailbox;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};

use super::message::{self, Mail};
use super::outcome::{MAX_ERROR_CHARS, Outcome};
use super::render::one_line;
use super::settings::{Smtp, Tls};

pub struct Relay {
    settings: Smtp,
    tls: Option<TlsParameters>,
    sender: Mailbox,
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    connection: AsyncSmtpConnection,
    since: Instant,
}

/// Where a conversation ended.
enum Stage {
    /// Before the relay was told whom the mail is for.
    Greeting,
    Recipient,
    /// After the last dot was sent.
    Message,
}

/// Relays close what is idle for some minutes.
const KEEP_IDLE: Duration = Duration::from_secs(60);
const MAX_IDLE: usize = 8;

impl Relay {
    /// # Errors
    /// What is wrong with the settings.
    pub fn new(settings: &Smtp) -> Result<Relay, String> {
        settings.check()?;
        if !settings.configured() {
            return Err("smtp.host is not set".into());
        }
        let tls = match settings.tls {
            Tls::None => None,
            Tls::Starttls | Tls::Implicit => Some(tls_parameters(settings)?),
        };
        Ok(Relay {
            settings: settings.clone(),
            tls,
            sender: message::sender(&settings.sender)?,
            idle: Mutex::default(),
        })
    }

    pub fn sender(&self) -> &Mailbox {
        &self.sender
    }

    /// One mail, within the time that one may take. What is given up in the middle takes its connection with it.
    pub async fn send(&self, mail: &Mail) -> Outcome {
        match tokio::time::timeout(self.settings.timeout(), self.try_send(mail)).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::retry("timeout", "the relay did not answer in time"),
        }
    }

    /// Whether it lets us in: connection, TLS and password, and no mail.
    ///
    /// # Errors
    /// Why not, in words for the operator.
    pub async fn try_out(&self) -> Result<(), String> {
        let mut connection = match tokio::time::timeout(self.settings.timeout(), self.connect()).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Err(verdict(Stage::Greeting, &error).error.unwrap_or_default()),
            Err(_) => return Err("the relay did not answer in time".into()),
        };
        let _ = tokio::time::timeout(Duration::from_secs(2), connection.quit()).await;
        Ok(())
    }

    async fn try_send(&self, mail: &Mail) -> Outcome {
        let mut connection = match self.connection().await {
            Ok(connection) => connection,
            Err(error) => return verdict(Stage::Greeting, &error),
        };
        let options = match mail_options(&connection, mail) {
            Ok(options) => options,
            Err(outcome) => {
                self.keep(connection);
                return outcome;
            }
        };
        match converse(&mut connection, mail, options).await {
            Ok(()) => {
                self.keep(connection);
                Outcome::sent()
            }
            Err((stage, error)) => {
                // A polite end, which nobody waits for.
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(Duration::from_secs(2), connection.abort()).await;
                });
                verdict(stage, &error)
            }
        }
    }

    async fn connection(&self) -> Result<AsyncSmtpConnection, Error> {
        while let Some(mut idle) = self.take_idle() {
            if idle.since.elapsed() < KEEP_IDLE && idle.connection.test_connected().await {
                return Ok(idle.connection);
            }
        }
        self.connect().await
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Error> {
        let hello = ClientId::Domain(self.sender.email.domain().to_owned());
        let from_the_first_byte = match self.settings.tls {
            Tls::Implicit => self.tls.clone(),
            Tls::Starttls | Tls::None => None,
        };
        let address = (self.settings.host.as_str(), self.settings.port());
        let limit = Some(self.settings.timeout());
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(address, limit, &hello, from_the_first_byte, None).await?;
        if self.settings.tls == Tls::Starttls
            && let Some(tls) = self.tls.clone()
        {
            connection.starttls(tls, &hello).await?;
        }
        if !self.settings.user.is_empty() {
            let credentials = Credentials::new(self.settings.user.clone(), self.settings.password.clone());
            connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).await?;
        }
        Ok(connection)
    }

    fn take_idle(&self) -> Option<Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn keep(&self, connection: AsyncSmtpConnection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE && !connection.has_broken() {
            idle.push(Idle { connection, since: Instant::now() });
        }
    }

    /// Says goodbye on what is left, when the courier stops.
    pub async fn close(&self) {
        while let Some(mut idle) = self.take_idle() {
            let _ = tokio::time::timeout(Duration::from_secs(2), idle.connection.abort()).await;
        }
    }
}

fn tls_parameters(settings: &Smtp) -> Result<TlsParameters, String> {
    let mut builder = TlsParameters::builder(settings.host.clone());
    if let Some(file) = &settings.ca_file {
        let pem = std::fs::read(file).map_err(|error| format!("smtp.ca_file {}: {error}", file.display()))?;
        let certificates = Certificate::from_pem(&pem)
            .map_err(|error| format!("smtp.ca_file {} holds no certificates: {error}", file.display()))?;
        builder = builder.add_root_certificate(certificates);
    }
    builder.build().map_err(|error| format!("smtp: TLS cannot be set up: {error}"))
}

/// The extensions that this mail needs; a relay without them will never take it.
fn mail_options(connection: &AsyncSmtpConnection, mail: &Mail) -> Result<Vec<MailParameter>, Outcome> {
    let mut options = Vec::new();
    let addresses = mail.envelope.to().iter().chain(mail.envelope.from());
    if !addresses.into_iter().all(|address| AsRef::<str>::as_ref(address).is_ascii()) {
        if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
            return Err(Outcome::failed("smtp_utf8", "the relay takes ASCII addresses only (no SMTPUTF8)"));
        }
        options.push(MailParameter::SmtpUtfEight);
    }
    if !mail.bytes.is_ascii() {
        if !connection.server_info().supports_feature(Extension::EightBitMime) {
            return Err(Outcome::failed("smtp_8bit", "the relay takes ASCII headers only (no 8BITMIME)"));
        }
        options.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    Ok(options)
}

async fn converse(
    connection: &mut AsyncSmtpConnection,
    mail: &Mail,
    options: Vec<MailParameter>,
) -> Result<(), (Stage, Error)> {
    let from = MailFrom::new(mail.envelope.from().cloned(), options);
    connection.command(from).await.map_err(|error| (Stage::Greeting, error))?;
    for to in mail.envelope.to() {
        connection.command(Rcpt::new(to.clone(), vec![])).await.map_err(|error| (Stage::Recipient, error))?;
    }
    connection.command(Data).await.map_err(|error| (Stage::Recipient, error))?;
    connection.message(&mail.bytes).await.map_err(|error| (Stage::Message, error))?;
    Ok(())
}

fn verdict(stage: Stage, error: &Error) -> Outcome {
    let words = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    match (error.status(), stage) {
        (Some(code), Stage::Recipient | Stage::Message) if error.is_permanent() => {
            Outcome::failed(format!("smtp_{code}"), one_line(&format!("{code} {words}"), MAX_ERROR_CHARS))
        }
        (Some(code), _) => {
            Outcome::retry(format!("smtp_{code}"), one_line(&format!("{code} {words}"), MAX_ERROR_CHARS))
        }
        (None, Stage::Message) => Outcome::retry(
            "smtp_unanswered",
            "the connection ended before the relay said whether it has the mail; it may come twice",
        ),
        (None, _) if error.is_tls() => {
            Outcome::retry("smtp_tls", one_line(&format!("no TLS with the relay: {words}"), MAX_ERROR_CHARS))
        }
        (None, _) => Outcome::retry("smtp_connection", one_line(&error.to_string(), MAX_ERROR_CHARS)),
    }
}
