//! What an administrator says about a user, read one by one: an unknown or misspelt key is refused.

use auth_core::email::Email;
use auth_core::hash::{self, HashError};
use pgrx::prelude::*;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::config::Config;
use crate::credential::{self, Person};
use crate::platform::error::{Error, Result};
use crate::platform::options::{self, JsonArgument, given};
use crate::platform::query::{Query, Type};
use crate::users;

const KEYS: [&str; 15] = [
    "app_metadata",
    "ban_duration",
    "ban_reason",
    "email",
    "email_confirm",
    "id",
    "must_change_password",
    "nonce",
    "password",
    "password_hash",
    "phone",
    "phone_confirm",
    "role",
    "user_metadata",
    "username",
];
const LONGEST_BAN_SECONDS: f64 = 1000.0 * 366.0 * 86_400.0;
const LONGEST_REASON: usize = 1000;

/// A key that is null counts as not given.
#[derive(Default)]
pub struct Attributes {
    pub id: Option<Uuid>,
    pub email: Option<Email>,
    pub phone: Option<String>,
    password: Option<String>,
    password_hash: Option<String>,
    pub email_confirm: Option<bool>,
    pub phone_confirm: Option<bool>,
    pub user_metadata: Option<Map<String, Value>>,
    pub app_metadata: Option<Map<String, Value>>,
    pub role: Option<String>,
    pub username: Option<String>,
    pub ban: Option<Ban>,
    pub ban_reason: Option<String>,
    pub must_change_password: Option<bool>,
    /// Names of what was given, for the audit.
    pub keys: Vec<String>,
}

pub enum Ban {
    Lift,
    /// For so many seconds from now.
    For(f64),
}

/// `is_new`: an id may be chosen for a new account only, and a nonce is what clients send along with a change.
pub fn read(attributes: JsonArgument, is_new: bool) -> Result<Attributes> {
    let Value::Object(given_ones) = given(options::json(attributes)?, "attributes")? else {
        return Err(Error::invalid("attributes is not a JSON object", "attributes is an object such as {}"));
    };
    let not_here = if is_new { "nonce" } else { "id" };
    let mut attributes = Attributes::default();
    for (key, value) in given_ones {
        if !KEYS.contains(&key.as_str()) || key == not_here {
            let known: Vec<&str> = KEYS.into_iter().filter(|known| *known != not_here).collect();
            return Err(Error::invalid("unknown attribute", format!("attributes are: {}", known.join(", "))));
        }
        if !value.is_null() {
            attributes.set(&key, value)?;
            attributes.keys.push(key);
        }
    }
    if attributes.password.is_some() && attributes.password_hash.is_some() {
        return Err(Error::invalid("password and password_hash are both given", "give one of them"));
    }
    if attributes.ban_reason.is_some() && !matches!(attributes.ban, Some(Ban::For(_))) {
        return Err(Error::invalid("ban_reason without a ban", "give ban_duration with it"));
    }
    Ok(attributes)
}

impl Attributes {
    fn set(&mut self, key: &str, value: Value) -> Result<()> {
        match key {
            "id" => {
                let id =
                    Uuid::parse_str(&text(key, value)?).map_err(|_| Error::invalid("id is no uuid", "leave it out"))?;
                self.id = Some(id);
            }
            "email" => self.email = Some(users::parse_email(&text(key, value)?)?),
            "phone" => self.phone = Some(users::parse_phone(&text(key, value)?)?.digits().to_string()),
            "password" => self.password = Some(text(key, value)?),
            "password_hash" => self.password_hash = Some(checked_hash(text(key, value)?)?),
            "email_confirm" => self.email_confirm = Some(switch(key, &value)?),
            "phone_confirm" => self.phone_confirm = Some(switch(key, &value)?),
            "user_metadata" => self.user_metadata = Some(users::check_metadata(Some(value))?),
            "app_metadata" => self.app_metadata = Some(users::check_metadata(Some(value))?),
            "username" => self.username = Some(users::parse_username(&text(key, value)?)?),
            "role" => self.role = Some(checked_role(text(key, value)?)?),
            "ban_duration" => self.ban = Some(ban(&text(key, value)?)?),
            "ban_reason" => {
                let reason = text(key, value)?;
                if reason.len() > LONGEST_REASON {
                    return Err(Error::invalid("ban_reason is too long", format!("at most {LONGEST_REASON} bytes")));
                }
                self.ban_reason = Some(reason);
            }
            "must_change_password" => self.must_change_password = Some(switch(key, &value)?),
            // A nonce proves that a user is there; the service key needs none.
            _ => {}
        }
        Ok(())
    }

    /// The hash to be stored, if a password or a hash is given. Waits for a place at the gate: nothing is locked yet.
    pub fn hash(&self, person: Person, config: &Config) -> Result<Option<String>> {
        match &self.password {
            None => Ok(self.password_hash.clone()),
            Some(password) => {
                let metadata = self.user_metadata.clone().unwrap_or_default();
                let person = person.with_email(self.email.as_ref()).with_metadata(&metadata);
                let password = credential::acceptable(password, &person, config)?;
                credential::hash(&password, config.hash_cost).map(Some)
            }
        }
    }
}

fn text(key: &str, value: Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(Error::invalid(format!("{key} is no text"), format!("give {key} as a JSON string"))),
    }
}

fn switch(key: &str, value: &Value) -> Result<bool> {
    value.as_bool().ok_or_else(|| Error::invalid(format!("{key} is neither true nor false"), "give a JSON boolean"))
}

fn checked_hash(stored: String) -> Result<String> {
    match hash::check_stored(&stored) {
        Ok(()) => Ok(stored),
        Err(HashError::TooCostly) => {
            Err(Error::invalid("password_hash costs more than is allowed", "docs/formats.md has the bounds"))
        }
        Err(_) => Err(Error::invalid(
            "password_hash is of no known scheme",
            "an Argon2 string ($argon2id$v=19$…) or a bcrypt string ($2b$…)",
        )),
    }
}

/// A role that requests of users may run as: the token says it, and the login's memberships decide. One that the sidecar or
/// this extension believes, or that the server does not hold back, is nobody's.
fn checked_role(role: String) -> Result<String> {
    static MAY_BE: Query = Query::read(
        "select not exists (
            select from pg_catalog.pg_roles as powerful
            where (powerful.rolsuper or powerful.rolbypassrls or powerful.rolcreaterole or powerful.rolreplication
                    or powerful.rolname like 'pg\\_%'
                    or powerful.rolname in ('service_role', 'auth_owner', 'auth_admin', 'auth_sidecar'))
                and pg_has_role(r.oid, powerful.oid, 'member'))
        from pg_catalog.pg_roles as r
        where r.rolname = $1",
        &[Type::TEXTOID],
    );
    match MAY_BE.first(&[role.as_str().into()], |row| row.required::<bool>(1))? {
        Some(true) => Ok(role),
        _ => Err(Error::invalid(
            "role is none that a user may have",
            "authenticated, anon, or a role of yours that exists and has no power over others",
        )),
    }
}

fn ban(duration: &str) -> Result<Ban> {
    static SECONDS: Query = Query::read("select extract(epoch from $1::interval)::float8", &[Type::TEXTOID]);
    if duration == "none" {
        return Ok(Ban::Lift);
    }
    let seconds: Option<f64> = PgTryBuilder::new(|| SECONDS.first(&[duration.into()], |row| row.required(1)))
        .catch_when(PgSqlErrorCode::ERRCODE_INVALID_DATETIME_FORMAT, |_| Ok(None))
        .catch_when(PgSqlErrorCode::ERRCODE_DATETIME_FIELD_OVERFLOW, |_| Ok(None))
        .catch_when(PgSqlErrorCode::ERRCODE_INTERVAL_FIELD_OVERFLOW, |_| Ok(None))
        .execute()?;
    match seconds.filter(|seconds| *seconds > 0.0 && *seconds <= LONGEST_BAN_SECONDS) {
        Some(seconds) => Ok(Ban::For(seconds)),
        None => Err(Error::invalid("ban_duration is no duration", "such as 24h, 100 years, or none to lift the ban")),
    }
}
