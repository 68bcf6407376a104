//! The one place where a refusal becomes HTTP: SQLSTATE and code word in, status and body out.
//!
//! What the caller reads (code, message) and what happened (cause) are separate fields. The cause goes to the log and
//! nowhere else; a fault of ours has a body that says nothing.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use tokio_postgres::error::SqlState;

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Clone, Debug)]
pub struct Error {
    status: StatusCode,
    code: Cow<'static, str>,
    message: Cow<'static, str>,
    /// Only with weak_password.
    reasons: Option<Vec<String>>,
    retry_after_seconds: Option<u64>,
    cause: Option<String>,
}

/// The status of every code word. Where Supabase Auth has the word, it is Supabase's status: clients decide by it.
const STATUS_OF_CODE: &[(&str, u16)] = &[
    ("account_locked", 429),
    ("anonymous_provider_disabled", 422),
    ("bad_code_verifier", 400),
    ("bad_json", 400),
    ("bad_jwt", 403),
    ("captcha_failed", 400),
    // Another writer was first: the client is to try again, and a 4xx on refresh would sign it out.
    ("conflict", 503),
    ("current_password_invalid", 400),
    ("current_password_required", 400),
    ("email_address_invalid", 400),
    ("email_address_not_authorized", 400),
    ("email_exists", 422),
    ("email_not_confirmed", 400),
    ("events_disabled", 422),
    ("flow_state_expired", 403),
    ("flow_state_not_found", 404),
    ("hash_gate_busy", 503),
    ("identity_already_exists", 422),
    ("identity_not_found", 404),
    ("insufficient_aal", 403),
    ("invalid_credentials", 400),
    ("magic_link_disabled", 422),
    ("mfa_challenge_expired", 422),
    ("mfa_factor_name_conflict", 422),
    ("mfa_factor_not_found", 404),
    ("mfa_phone_enroll_not_enabled", 422),
    ("mfa_recovery_codes_sole_factor", 422),
    ("mfa_totp_enroll_not_enabled", 422),
    ("mfa_verification_failed", 422),
    ("mfa_verification_rejected", 403),
    ("mfa_verified_factor_exists", 422),
    ("mfa_webauthn_enroll_not_enabled", 422),
    ("mfa_webauthn_verify_not_enabled", 422),
    ("network_blocked", 403),
    // What only an operator can mend: said to the log, not to the client.
    ("not_installed", 500),
    ("not_preloaded", 500),
    ("no_transaction", 500),
    ("root_key_mismatch", 500),
    ("root_key_missing", 500),
    ("update_needed", 500),
    ("unexpected_failure", 500),
    ("no_authorization", 401),
    ("not_admin", 403),
    ("otp_disabled", 422),
    ("otp_expired", 403),
    ("origin_not_allowed", 403),
    ("over_email_send_rate_limit", 429),
    ("over_request_rate_limit", 429),
    ("over_sms_send_rate_limit", 429),
    ("passkey_disabled", 404),
    ("password_reused", 422),
    ("password_too_long", 422),
    ("phone_exists", 422),
    ("phone_not_confirmed", 400),
    ("phone_provider_disabled", 422),
    ("provider_disabled", 422),
    ("read_only_replica", 503),
    ("reauthentication_needed", 400),
    ("reauthentication_not_valid", 422),
    ("redirect_not_allowed", 400),
    ("refresh_disabled", 422),
    ("refresh_token_already_used", 400),
    ("refresh_token_not_found", 400),
    ("request_entity_too_large", 413),
    ("request_timeout", 504),
    ("same_password", 422),
    ("session_expired", 403),
    ("session_not_found", 403),
    ("signup_disabled", 422),
    ("single_identity_not_deletable", 422),
    ("too_many_enrolled_mfa_factors", 422),
    ("too_many_passkeys", 422),
    ("user_already_exists", 422),
    ("user_banned", 403),
    ("user_not_found", 404),
    ("validation_failed", 400),
    ("weak_password", 422),
    ("webauthn_challenge_expired", 400),
    ("webauthn_credential_exists", 422),
    ("webauthn_credential_not_found", 404),
    ("webauthn_verification_failed", 400),
    ("worker_unavailable", 503),
];

/// Whether this service or the database means something by the word, and not a hook of the application.
pub fn is_ours(code: &str) -> bool {
    status_of(code).is_some()
}

fn status_of(code: &str) -> Option<StatusCode> {
    let status = STATUS_OF_CODE.iter().find(|(word, _)| *word == code)?.1;
    StatusCode::from_u16(status).ok()
}

impl Error {
    /// A refusal of this service's own; `code` is one of the table's.
    pub fn new(code: &'static str, message: impl Into<Cow<'static, str>>) -> Error {
        Error {
            status: status_of(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            code: code.into(),
            message: message.into(),
            reasons: None,
            retry_after_seconds: None,
            cause: None,
        }
    }

    pub fn validation(message: impl Into<Cow<'static, str>>) -> Error {
        Error::new("validation_failed", message)
    }

    pub fn no_authorization() -> Error {
        Error::new("no_authorization", "this endpoint requires a valid Bearer token")
    }

    /// Whether the same may be answered another time.
    pub fn is_passing(&self) -> bool {
        self.status.is_server_error() || self.status == StatusCode::TOO_MANY_REQUESTS
    }

    /// For whoever only asks whether a token is good: every refusal is a 401.
    pub fn or_unauthorized(self) -> Error {
        if self.is_passing() { self } else { Error { status: StatusCode::UNAUTHORIZED, ..self } }
    }

    /// A path or method that is not here.
    pub fn of_route(status: StatusCode, message: &'static str) -> Error {
        Error { status, ..Error::new("validation_failed", message) }
    }

    /// A fault that passes: clients try again and keep their session.
    pub fn unavailable(cause: impl ToString) -> Error {
        Error {
            status: StatusCode::SERVICE_UNAVAILABLE,
            cause: Some(cause.to_string()),
            ..Error::new("unexpected_failure", "the service is not available now, try again")
        }
    }

    pub fn timeout(cause: impl ToString) -> Error {
        Error {
            cause: Some(cause.to_string()),
            ..Error::new("request_timeout", "processing this request took too long, try again")
        }
    }

    pub fn internal(cause: impl ToString) -> Error {
        Error { cause: Some(cause.to_string()), ..Error::new("unexpected_failure", "unexpected failure") }
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    pub fn code(&self) -> &str {
        &self.code
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// The answer, in the form that the request's API version asks for.
    pub fn render(&self, new_format: bool) -> Response {
        let mut body = if new_format {
            json!({"code": self.code, "message": self.message})
        } else {
            json!({"code": self.status.as_u16(), "error_code": self.code, "msg": self.message})
        };
        if let (Some(reasons), Some(body)) = (&self.reasons, body.as_object_mut()) {
            body.insert("weak_password".into(), json!({"reasons": reasons}));
        }
        let mut response = (self.status, json_bytes(&body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Ok(code) = HeaderValue::from_str(&self.code) {
            headers.insert("x-sb-error-code", code);
        }
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

pub fn json_bytes(body: &Value) -> Vec<u8> {
    // A Value has string keys only, so this cannot fail.
    serde_json::to_vec(body).unwrap_or_default()
}

/// The body is written at the end, where the request's API version is known (`server`).
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Error {
        let Some(refusal) = error.as_db_error() else {
            // No answer of the server's at all: the connection is gone, or never was.
            return Error::unavailable(describe(&error));
        };
        let cause = format!("{} {}", refusal.code().code(), refusal.message());
        let state = refusal.code();
        if *state == SqlState::QUERY_CANCELED {
            return Error::timeout(cause);
        }
        if is_passing(state.code()) {
            return Error::unavailable(cause);
        }
        if let Some((code, status)) = refusal.detail().and_then(|code| Some((code, status_of(code)?))) {
            if status == StatusCode::INTERNAL_SERVER_ERROR {
                return Error::internal(cause);
            }
            let server_fault = status.is_server_error();
            return Error {
                status,
                code: code.to_string().into(),
                message: if server_fault { "try again in a few seconds".into() } else { sentence(refusal).into() },
                reasons: (code == "weak_password").then(|| reasons(refusal.hint().unwrap_or_default())),
                retry_after_seconds: refusal.hint().and_then(retry_after),
                cause: server_fault.then_some(cause),
            };
        }
        if let Some(word) = refusal.detail().filter(|word| is_word(word)) {
            let status = status_of_state(state.code());
            if !status.is_server_error() {
                // A hook of the application has refused, in its own words.
                let message = refusal.message().to_string().into();
                return Error { code: word.to_string().into(), status, message, ..Error::validation("") };
            }
        }
        // Text that Postgres cannot hold, which a client sent.
        if ["22021", "22P05"].contains(&state.code()) {
            return Error::validation("a text holds a character that cannot be stored");
        }
        Error::internal(cause)
    }
}

fn is_word(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|character: char| character.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Where the code word is none of ours.
fn status_of_state(state: &str) -> StatusCode {
    match state {
        "28P01" => StatusCode::BAD_REQUEST,
        "28000" | "42501" => StatusCode::FORBIDDEN,
        "53400" => StatusCode::TOO_MANY_REQUESTS,
        "02000" | "P0002" => StatusCode::NOT_FOUND,
        "22023" | "23505" | "23514" | "55000" | "P0001" => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// SQLSTATEs of a server that stops, starts, is full, or of a connection that broke.
fn is_passing(state: &str) -> bool {
    state.starts_with("08")
        || state.starts_with("57P")
        || ["53000", "53100", "53200", "53300", "25006", "40001", "40P01"].contains(&state)
}

/// The message, and the reason where the hint has one that a person can use.
fn sentence(refusal: &tokio_postgres::error::DbError) -> String {
    let useful = ["validation_failed", "email_address_invalid", "weak_password", "password_too_long", "bad_jwt"];
    match (refusal.detail(), refusal.hint()) {
        (Some(code), Some(hint)) if useful.contains(&code) => format!("{}: {hint}", refusal.message()),
        _ => refusal.message().to_string(),
    }
}

fn retry_after(hint: &str) -> Option<u64> {
    let digits = hint.split_once("retry_after=")?.1;
    let end = digits.find(|character: char| !character.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

/// What the password lacks: the words that SQL puts before the colon of its hint.
fn reasons(hint: &str) -> Vec<String> {
    hint.split(':').next().unwrap_or_default().split(", ").map(str::to_owned).collect()
}

/// With its sources: tokio-postgres says only "error connecting to server" by itself.
pub fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
