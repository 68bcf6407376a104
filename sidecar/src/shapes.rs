//! Answers as the OpenAPI description shows them. SQL makes the real ones, so nothing here is ever filled in.
#![expect(dead_code, clippy::large_enum_variant, reason = "read by the derive macro only")]

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

#[derive(Serialize, ToSchema)]
pub struct Session {
    access_token: String,
    /// `bearer`
    token_type: String,
    /// Seconds
    expires_in: i64,
    /// Seconds since 1970
    expires_at: i64,
    /// Absent in cookie mode
    refresh_token: Option<String>,
    user: User,
}

#[derive(Serialize, ToSchema)]
pub struct User {
    id: Uuid,
    aud: String,
    role: String,
    /// Empty where there is none
    email: String,
    /// Empty where there is none
    phone: String,
    app_metadata: Value,
    user_metadata: Value,
    identities: Vec<Value>,
    is_anonymous: bool,
    created_at: String,
    updated_at: String,
    email_confirmed_at: Option<String>,
    last_sign_in_at: Option<String>,
    new_email: Option<String>,
    new_phone: Option<String>,
    banned_until: Option<String>,
    /// Absent where there are none
    factors: Option<Vec<Factor>>,
}

/// A second factor, without its secret.
#[derive(Serialize, ToSchema)]
pub struct Factor {
    id: Uuid,
    friendly_name: String,
    /// `totp`, `phone` or `webauthn`
    factor_type: String,
    /// `unverified` or `verified`
    status: String,
    phone: Option<String>,
    created_at: String,
    updated_at: String,
    last_challenged_at: Option<String>,
}

/// Shown once.
#[derive(Serialize, ToSchema)]
pub struct Enrolled {
    id: Uuid,
    r#type: String,
    friendly_name: String,
    totp: Option<Authenticator>,
    phone: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct Authenticator {
    /// SVG
    qr_code: String,
    /// Base32
    secret: String,
    /// otpauth
    uri: String,
}

#[derive(Serialize, ToSchema)]
pub struct Challenged {
    id: Uuid,
    r#type: String,
    /// Seconds since 1970
    expires_at: i64,
    /// Of a security key: {type: create or request, credential_options: {publicKey}}
    webauthn: Option<serde_json::Value>,
}

/// Shown once.
#[derive(Serialize, ToSchema)]
pub struct RecoveryCodes {
    id: Uuid,
    /// `recovery_code`
    r#type: String,
    friendly_name: String,
    total: usize,
    codes: Vec<String>,
}

#[derive(Serialize, ToSchema)]
pub struct Named {
    id: Uuid,
}

/// Of a sign-up: the user alone where the address is to be confirmed first.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum SignedUp {
    Session(Session),
    User(User),
}

/// Of a link or a code: `msg` where the other address has to be confirmed too.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum Verified {
    Session(Session),
    Half { msg: String, code: String },
}

/// The first form to requests with `X-Supabase-Api-Version: 2024-01-01` or later, the second to others.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum Refusal {
    New {
        /// A stable word
        code: String,
        message: String,
        weak_password: Option<Value>,
    },
    Old {
        /// The status
        code: u16,
        /// A stable word
        error_code: String,
        msg: String,
        weak_password: Option<Value>,
    },
}
