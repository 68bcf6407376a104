//! The inbox of `auth-sidecar inbox`: a real SMTP listener, and what it has received.

use crate::program::{Program, sidecar_command};

/// A running inbox; it ends with the value.
pub struct Inbox {
    _program: Program,
    smtp: String,
    http: u16,
}

impl Inbox {
    #[track_caller]
    pub fn start() -> Inbox {
        let mut program =
            Program::start(sidecar_command(&["inbox", "--smtp", "127.0.0.1:0", "--http", "127.0.0.1:0"], &[]));
        program.wait_for_log("shown at");
        let said = program.log();
        let ports: Vec<u16> = said
            .split("127.0.0.1:")
            .skip(1)
            .map(|rest| rest.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default())
            .map(|port| port.parse().expect("the inbox says its ports"))
            .collect();
        Inbox { _program: program, smtp: ports[0].to_string(), http: ports[1] }
    }

    pub fn smtp(&self) -> &str {
        &self.smtp
    }

    pub fn http(&self) -> u16 {
        self.http
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    /// What a sidecar needs to send SMS to it, at its address for them.
    pub fn sms_settings<'a>(&self, url: &'a str) -> [(&'a str, &'a str); 4] {
        [
            ("AUTH_SMS__PROVIDER", "http"),
            ("AUTH_SMS__HTTP__URL", url),
            ("AUTH_SMS__HTTP__SECRET", "whsec_c2VjcmV0"),
            ("AUTH_OUTBOUND__ALLOW_PRIVATE", "true"),
        ]
    }

    /// What a sidecar needs to mail to it: settings in its environment.
    pub fn settings(&self) -> [(&str, &str); 4] {
        [
            ("AUTH_SMTP__HOST", "127.0.0.1"),
            ("AUTH_SMTP__PORT", &self.smtp),
            ("AUTH_SMTP__TLS", "none"),
            ("AUTH_SMTP__SENDER", "Auth <auth@example.org>"),
        ]
    }
}
