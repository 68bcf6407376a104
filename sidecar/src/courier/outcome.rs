//! What became of a row.

use std::borrow::Cow;

/// Longest text that is stored with a row.
pub const MAX_ERROR_CHARS: usize = 300;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub verdict: Verdict,
    /// A word for the log and the metrics, which get nothing else: a relay's answer may repeat an address.
    pub reason: Cow<'static, str>,
    /// For the row, where only administrators see it.
    pub error: Option<String>,
    /// In so many seconds, where the other side says when; otherwise the database's backoff.
    pub retry_in: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Sent,
    /// Once more, later.
    Retry,
    /// Never.
    Failed,
    /// Never: what it holds ended before it could be sent.
    Expired,
}

impl Outcome {
    pub fn sent() -> Outcome {
        Outcome { verdict: Verdict::Sent, reason: "sent".into(), error: None, retry_in: None }
    }

    pub fn retry(reason: impl Into<Cow<'static, str>>, error: impl Into<String>) -> Outcome {
        Outcome { verdict: Verdict::Retry, reason: reason.into(), error: Some(error.into()), retry_in: None }
    }

    pub fn expired() -> Outcome {
        let error = Some("what it holds ended before it could be sent".into());
        Outcome { verdict: Verdict::Expired, reason: "expired".into(), error, retry_in: None }
    }

    pub fn failed(reason: impl Into<Cow<'static, str>>, error: impl Into<String>) -> Outcome {
        Outcome { verdict: Verdict::Failed, reason: reason.into(), error: Some(error.into()), retry_in: None }
    }
}

impl Verdict {
    /// As `auth.settle_outbox` reads it.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Sent => "sent",
            Verdict::Retry => "retry",
            Verdict::Failed => "failed",
            Verdict::Expired => "expired",
        }
    }
}
