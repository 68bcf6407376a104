//! The settings one by one: kind, bounds, default and the values of the profiles (`docs/settings.md`).

use auth_core::redirect;
use auth_core::webauthn::Roots;
use pgrx::prelude::*;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::platform::error::{Error, Result};
use crate::platform::query::{Query, Type};

enum Kind {
    Url,
    Choice(&'static [&'static str]),
    Switch,
    Count {
        least: i64,
        most: i64,
    },
    /// In seconds.
    Duration {
        least: i64,
        most: i64,
    },
    /// So many in so many seconds, as text such as 5/900.
    Rate,
    /// A list of texts, each of at most 1,000 characters.
    List,
    /// 1 to 64 characters, none of them a control character or a colon.
    Text,
    /// Addresses, each with the code that is always right for it.
    Codes,
    Uuids,
    /// Of authorities, as PEM.
    Certificates,
}

pub struct Setting {
    pub name: &'static str,
    kind: Kind,
    /// Whether null means without a limit instead of the default.
    pub may_be_unlimited: bool,
    /// JSON text; of the profiles default, strict and supabase.
    profiles: [&'static str; 3],
}

const fn setting(name: &'static str, kind: Kind, may_be_unlimited: bool, profiles: [&'static str; 3]) -> Setting {
    Setting { name, kind, may_be_unlimited, profiles }
}

/// Some hundred certificates.
const LONGEST_PEM: usize = 256 * 1024;

const MINUTE: i64 = 60;
const DAY: i64 = 86_400;
const YEAR: i64 = 366 * DAY;

/// The largest values are those that keep one sign-in from using up the server.
pub const ALL: &[Setting] = &[
    setting("site_url", Kind::Url, false, [r#""http://localhost:3000""#, KEEP, KEEP]),
    setting("jwt_issuer", Kind::Url, true, ["null", KEEP, KEEP]),
    setting("environment", Kind::Choice(&["development", "production"]), false, [r#""development""#, KEEP, KEEP]),
    setting("enable_signup", Kind::Switch, false, ["true", "true", "true"]),
    setting("access_token_ttl", Kind::Duration { least: 10, most: 7 * DAY }, false, ["900", "300", "3600"]),
    setting("refresh_token_ttl", Kind::Duration { least: MINUTE, most: YEAR }, true, ["604800", "86400", "null"]),
    setting("session_timebox", Kind::Duration { least: MINUTE, most: 10 * YEAR }, true, ["2592000", "86400", "null"]),
    setting("max_active_sessions", Kind::Count { least: 1, most: 10_000 }, true, ["5", "3", "null"]),
    setting("refresh_tokens_enabled", Kind::Switch, false, ["true", "true", "true"]),
    setting("refresh_reuse_interval", Kind::Duration { least: 0, most: MINUTE }, false, ["0", "0", "10"]),
    setting(
        "refresh_reuse_scope",
        Kind::Choice(&["user", "session"]),
        false,
        [r#""user""#, r#""user""#, r#""session""#],
    ),
    setting("password_min_length", Kind::Count { least: 1, most: 1024 }, false, ["8", "15", "6"]),
    setting("password_max_length", Kind::Count { least: 8, most: 1024 }, false, ["72", "128", "72"]),
    setting("argon2_memory_kib", Kind::Count { least: 8, most: 262_144 }, false, ["19456", "47104", "19456"]),
    setting("argon2_iterations", Kind::Count { least: 1, most: 16 }, false, ["2", "1", "2"]),
    setting("argon2_parallelism", Kind::Count { least: 1, most: 4 }, false, ["1", "1", "1"]),
    setting("claims_user_metadata", Kind::Switch, false, ["true", "true", "true"]),
    setting("rate_limit_enabled", Kind::Switch, false, ["true", "true", "true"]),
    setting("rate_limit_login", Kind::Rate, false, [r#""5/900""#, r#""5/900""#, r#""5/900""#]),
    setting("rate_limit_signup", Kind::Rate, false, [r#""3/3600""#, r#""3/3600""#, r#""3/3600""#]),
    setting("rate_limit_network", Kind::Rate, true, [r#""100/900""#, r#""100/900""#, r#""100/900""#]),
    setting("rate_limit_database", Kind::Rate, true, [r#""100/60""#, r#""100/60""#, r#""100/60""#]),
    setting("lockout_attempts", Kind::Count { least: 1, most: 100 }, true, ["5", "3", "5"]),
    setting("lockout_duration", Kind::Duration { least: 1, most: 31 * DAY }, false, ["1800", "1800", "1800"]),
    setting(
        "signup_mode",
        Kind::Choice(&["immediate", "confirm", "otp_first"]),
        false,
        [r#""immediate""#, r#""otp_first""#, r#""confirm""#],
    ),
    setting("enable_anonymous", Kind::Switch, false, ["true", "false", "true"]),
    setting(
        "anonymous_role",
        Kind::Choice(&["anon", "authenticated"]),
        false,
        [r#""anon""#, r#""anon""#, r#""authenticated""#],
    ),
    setting("enable_magic_link", Kind::Switch, false, ["false", "false", "true"]),
    setting("implicit_flow", Kind::Switch, false, ["true", "false", "true"]),
    setting("redirect_allow_list", Kind::List, false, ["[]", KEEP, KEEP]),
    setting("email_otp_length", Kind::Count { least: 4, most: 10 }, false, ["6", "8", "6"]),
    setting("email_otp_ttl", Kind::Duration { least: 30, most: DAY }, false, ["600", "300", "3600"]),
    setting("verification_ttl", Kind::Duration { least: MINUTE, most: 31 * DAY }, false, ["86400", "86400", "86400"]),
    setting("recovery_ttl", Kind::Duration { least: MINUTE, most: DAY }, false, ["3600", "3600", "3600"]),
    setting("magic_link_ttl", Kind::Duration { least: MINUTE, most: DAY }, false, ["3600", "3600", "3600"]),
    setting("verification_resend_limit", Kind::Count { least: 0, most: 1000 }, true, ["3", "3", "3"]),
    setting("verification_resend_interval", Kind::Duration { least: 0, most: DAY }, false, ["60", "60", "60"]),
    setting("debug_mode", Kind::Switch, false, ["false", KEEP, KEEP]),
    setting("test_codes", Kind::Codes, false, ["{}", KEEP, KEEP]),
    setting("secure_email_change", Kind::Switch, false, ["true", "true", "true"]),
    setting("reauthentication_required", Kind::Switch, false, ["false", "true", "false"]),
    setting("current_password_required", Kind::Switch, false, ["true", "true", "false"]),
    setting("reset_returns_session", Kind::Switch, false, ["false", "false", "false"]),
    setting("security_notices", Kind::Switch, false, ["true", "true", "true"]),
    setting("notify_events", Kind::Switch, false, ["false", "false", "false"]),
    setting("rate_limit_mail", Kind::Rate, false, [r#""30/3600""#, r#""30/3600""#, r#""30/3600""#]),
    setting("enable_passkeys", Kind::Switch, false, ["false", "true", "false"]),
    setting("mfa_enabled", Kind::Switch, false, ["true", "true", "true"]),
    setting("mfa_totp_enabled", Kind::Switch, false, ["true", "true", "true"]),
    setting("mfa_sms_enabled", Kind::Switch, false, ["true", "true", "true"]),
    setting("mfa_webauthn_enabled", Kind::Switch, false, ["true", "true", "false"]),
    setting(
        "mfa_enforcement",
        Kind::Choice(&["required", "policy"]),
        false,
        [r#""required""#, r#""required""#, r#""policy""#],
    ),
    setting("mfa_required_roles", Kind::List, false, ["[]", r#"["admin", "moderator"]"#, "[]"]),
    setting("mfa_max_factors", Kind::Count { least: 1, most: 100 }, false, ["10", "10", "10"]),
    setting("mfa_challenge_ttl", Kind::Duration { least: 30, most: 60 * MINUTE }, false, ["300", "300", "300"]),
    setting("totp_issuer", Kind::Text, true, ["null", KEEP, KEEP]),
    setting("webauthn_rp_name", Kind::Text, true, ["null", KEEP, KEEP]),
    setting("webauthn_rp_id", Kind::Text, true, ["null", KEEP, KEEP]),
    setting("webauthn_rp_origins", Kind::List, false, ["[]", KEEP, KEEP]),
    setting(
        "webauthn_user_verification",
        Kind::Choice(&["required", "preferred", "discouraged"]),
        false,
        [r#""preferred""#, r#""required""#, r#""preferred""#],
    ),
    setting("webauthn_allowed_aaguids", Kind::Uuids, false, ["[]", KEEP, KEEP]),
    setting("webauthn_attestation_roots", Kind::Certificates, true, ["null", KEEP, KEEP]),
    setting("enable_sms", Kind::Switch, false, ["false", "false", "false"]),
    setting("sms_otp_length", Kind::Count { least: 4, most: 10 }, false, ["6", "6", "6"]),
    setting("sms_otp_ttl", Kind::Duration { least: 30, most: 60 * MINUTE }, false, ["60", "60", "60"]),
    setting("sms_prefixes", Kind::List, false, ["[]", KEEP, KEEP]),
    setting("rate_limit_sms", Kind::Rate, false, [r#""30/3600""#, r#""30/3600""#, r#""30/3600""#]),
    setting("sms_budget", Kind::Rate, true, [r#""1000/86400""#, r#""1000/86400""#, r#""1000/86400""#]),
    setting("password_prevent_common", Kind::Switch, false, ["true", "true", "false"]),
    setting("password_prevent_user_info", Kind::Switch, false, ["true", "true", "false"]),
    setting("require_approval", Kind::Switch, false, ["false", "false", "false"]),
    setting("email_block_disposable", Kind::Switch, false, ["false", "false", "false"]),
    setting("email_block_subaddress", Kind::Switch, false, ["false", "false", "false"]),
    setting("public_profile_fields", Kind::List, false, [r#"["username", "avatar_url"]"#, KEEP, KEEP]),
];

/// A profile leaves this setting as it is: it says where the app lives, not how strict it is.
const KEEP: &str = "";

pub fn find(name: &str) -> Result<&'static Setting> {
    ALL.iter().find(|setting| setting.name == name).ok_or_else(|| {
        let names: Vec<&str> = ALL.iter().map(|setting| setting.name).collect();
        Error::invalid("unknown setting", format!("settings are: {}", names.join(", ")))
    })
}

/// What `auth.apply_profile` sets.
pub fn profile(name: &str) -> Result<Map<String, Value>> {
    let column = ["default", "strict", "supabase"]
        .iter()
        .position(|profile| *profile == name)
        .ok_or_else(|| Error::invalid("unknown profile", "profiles are: default, strict, supabase"))?;
    ALL.iter()
        .filter(|setting| setting.profiles[1] != KEEP)
        .map(|setting| Ok((setting.name.to_string(), setting.literal(column)?)))
        .collect()
}

impl Setting {
    pub fn default(&self) -> Value {
        self.literal(0).unwrap_or(Value::Null)
    }

    pub fn is_duration(&self) -> bool {
        matches!(self.kind, Kind::Duration { .. })
    }

    fn literal(&self, profile: usize) -> Result<Value> {
        serde_json::from_str(self.profiles[profile])
            .map_err(|_| Error::Internal(format!("profile value of {} is not JSON", self.name)))
    }

    /// The value as it is stored; null stays null, for the default or for no limit.
    pub fn check(&self, value: &Value) -> Result<Value> {
        if value.is_null() {
            return Ok(Value::Null);
        }
        match (&self.kind, value) {
            (Kind::Url, Value::String(url)) => redirect::site(url).map(Value::String).ok_or_else(|| self.wrong()),
            (Kind::Choice(choices), Value::String(choice)) if choices.contains(&choice.as_str()) => Ok(value.clone()),
            (Kind::Switch, Value::Bool(_)) => Ok(value.clone()),
            (Kind::Count { least, most }, Value::Number(number))
                if number.as_i64().is_some_and(|number| (*least..=*most).contains(&number)) =>
            {
                Ok(value.clone())
            }
            (Kind::Duration { least, most }, Value::Number(_) | Value::String(_)) => {
                match seconds(value)?.filter(|seconds| (*least..=*most).contains(seconds)) {
                    Some(seconds) => Ok(json!(seconds)),
                    None => Err(self.wrong()),
                }
            }
            (Kind::Rate, Value::String(text)) => {
                let (most, duration) = text.split_once('/').ok_or_else(|| self.wrong())?;
                let seconds = match duration.trim().parse::<i64>() {
                    Ok(seconds) => Some(seconds),
                    Err(_) => seconds(&json!(duration.trim()))?,
                };
                let normal = format!("{}/{}", most.trim(), seconds.ok_or_else(|| self.wrong())?);
                rate(&normal).map(|_| json!(normal)).ok_or_else(|| self.wrong())
            }
            (Kind::List, Value::Array(items)) if items.len() <= 100 && items.iter().all(is_short_text) => {
                Ok(value.clone())
            }
            (Kind::Text, Value::String(text)) if is_name(text) => Ok(value.clone()),
            (Kind::Codes, Value::Object(codes)) if codes.len() <= 100 && codes.values().all(is_code) => {
                Ok(value.clone())
            }
            (Kind::Uuids, Value::Array(items)) if items.len() <= 1000 && items.iter().all(is_uuid) => Ok(value.clone()),
            (Kind::Certificates, Value::String(pem)) if pem.len() <= LONGEST_PEM && Roots::read(pem).is_some() => {
                Ok(value.clone())
            }
            _ => Err(self.wrong()),
        }
    }

    fn wrong(&self) -> Error {
        let expected = match &self.kind {
            Kind::Url => "an http or https address, without a user name or fragment".to_string(),
            Kind::Choice(choices) => format!("one of: {}", choices.join(", ")),
            Kind::Switch => "true or false".to_string(),
            Kind::Count { least, most } => format!("a whole number from {least} to {most}"),
            Kind::List => "a list of at most 100 texts".to_string(),
            Kind::Text => "a text of 1 to 64 characters, without colons".to_string(),
            Kind::Codes => "an object of address to code, a code of 4 to 10 digits".to_string(),
            Kind::Uuids => "a list of at most 1000 UUIDs".to_string(),
            Kind::Certificates => format!("certificates of authorities as PEM, at most {LONGEST_PEM} bytes"),
            Kind::Rate => "so many in so long, such as 5/900 (seconds) or 5/15 minutes".to_string(),
            Kind::Duration { least, most } => {
                format!("a duration from {least} to {most} seconds, as a whole number or as interval text")
            }
        };
        Error::invalid(format!("{} has a wrong value", self.name), format!("{} is {expected}", self.name))
    }
}

fn is_short_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| (1..=1000).contains(&text.chars().count()))
}

fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.chars().count()) && !text.contains(|letter: char| letter.is_control() || letter == ':')
}

fn is_uuid(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.len() == 36 && Uuid::parse_str(text).is_ok())
}

fn is_code(value: &Value) -> bool {
    value.as_str().is_some_and(|code| (4..=10).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A rate as it is stored: how many, and in how many seconds.
pub fn rate(text: &str) -> Option<(u32, i64)> {
    let (most, seconds) = text.split_once('/')?;
    let (most, seconds) = (most.parse().ok()?, seconds.parse().ok()?);
    ((1..=1_000_000).contains(&most) && (1..=31 * DAY).contains(&seconds)).then_some((most, seconds))
}

/// A duration given as a number of seconds or as text that Postgres reads as an interval.
fn seconds(value: &Value) -> Result<Option<i64>> {
    static INTERVAL: Query = Query::read("select extract(epoch from $1::interval)::bigint", &[Type::TEXTOID]);
    match value {
        Value::Number(number) => Ok(number.as_i64()),
        Value::String(text) => PgTryBuilder::new(|| INTERVAL.first(&[text.as_str().into()], |row| row.required(1)))
            .catch_when(PgSqlErrorCode::ERRCODE_INVALID_DATETIME_FORMAT, |_| Ok(None))
            .catch_when(PgSqlErrorCode::ERRCODE_DATETIME_FIELD_OVERFLOW, |_| Ok(None))
            .catch_when(PgSqlErrorCode::ERRCODE_INTERVAL_FIELD_OVERFLOW, |_| Ok(None))
            .catch_when(PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE, |_| Ok(None))
            .execute(),
        _ => Ok(None),
    }
}
