//! Settings: what `auth.configure` and `auth.apply_profile` change and every feature reads.
//!
//! A backend keeps the settings it has read until the row changes anywhere (`relation::generation`); a change is part of
//! the transaction that makes it and rolls back with it. Defaults live in `settings.rs`, not in the database: a row that
//! the install script had inserted would make every restore fail.

mod invalidate;
mod settings;

use std::cell::RefCell;
use std::rc::Rc;

use auth_core::hash::Cost;
use auth_core::password::Policy;
use auth_core::webauthn::Roots;
use pgrx::prelude::*;
use pgrx::{JsonB, extension_sql_file};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::platform::backend;
use crate::platform::error::{Answer, Error, Result};
use crate::platform::options::{self, JsonArgument, given};
use crate::platform::query::{Query, Type};
use crate::platform::relation::{self, Relation};

extension_sql_file!("config.sql", name = "config", requires = ["gate"]);

/// The settings in force. Durations are in seconds; `None` is no limit.
pub struct Config {
    pub jwt_issuer: String,
    pub is_production: bool,
    pub enable_signup: bool,
    /// Whether an administrator has to approve whoever signs up.
    pub require_approval: bool,
    /// Addresses that get no account whatever the rules say of their domain.
    pub blocks_disposable: bool,
    pub blocks_subaddress: bool,
    pub access_token_ttl: i64,
    pub refresh_token_ttl: Option<i64>,
    pub session_timebox: Option<i64>,
    pub max_active_sessions: Option<i64>,
    pub refresh_tokens_enabled: bool,
    pub refresh_reuse_interval: i64,
    pub refresh_reuse_ends_user: bool,
    pub password_policy: Policy,
    pub hash_cost: Cost,
    pub claims_user_metadata: bool,
    pub limits: Limits,
    pub site_url: String,
    pub redirect_allow_list: Vec<String>,
    pub signup_mode: SignupMode,
    pub enable_anonymous: bool,
    /// The role that tokens of guests carry.
    pub anonymous_role: String,
    pub enable_magic_link: bool,
    pub implicit_flow: bool,
    pub mail: Mail,
    pub secure_email_change: bool,
    pub reauthentication_required: bool,
    pub current_password_required: bool,
    pub reset_returns_session: bool,
    pub security_notices: bool,
    pub notify_events: bool,
    /// What anybody may read of an account by its user name.
    pub public_profile_fields: Vec<String>,
    pub mfa: Mfa,
    pub webauthn: WebAuthn,
    pub sms: Sms,
}

/// Second factors.
pub struct Mfa {
    pub is_enabled: bool,
    pub totp_is_enabled: bool,
    pub sms_is_enabled: bool,
    pub webauthn_is_enabled: bool,
    /// Whether a session before the second step is an ordinary one, and policies ask for more.
    pub is_left_to_policies: bool,
    pub required_roles: Vec<String>,
    pub max_factors: i64,
    pub challenge_ttl: i64,
    pub totp_issuer: String,
}

/// The relying party (WebAuthn).
pub struct WebAuthn {
    pub is_enabled: bool,
    pub rp_name: String,
    pub rp_id: String,
    /// Never empty.
    pub origins: Vec<String>,
    /// As WebAuthn spells it.
    pub user_verification: String,
    /// Models of authenticators that may be registered; empty: any.
    pub allowed_aaguids: Vec<Uuid>,
    /// Whose word on the model is taken; none: nobody's is asked for.
    pub attestation_roots: Option<Roots>,
}

/// Codes by SMS.
pub struct Sms {
    pub is_enabled: bool,
    pub code_length: u32,
    pub code_ttl: i64,
    /// What numbers may begin with; empty: anything.
    pub prefixes: Vec<String>,
}

/// When a sign-up makes an account.
#[derive(Clone, Copy, PartialEq)]
pub enum SignupMode {
    Immediate,
    Confirm,
    OtpFirst,
}

/// Mailed links and codes.
pub struct Mail {
    pub code_length: u32,
    pub code_ttl: i64,
    pub verification_ttl: i64,
    pub recovery_ttl: i64,
    pub magic_link_ttl: i64,
    pub resend_limit: Option<i64>,
    pub resend_interval: i64,
    pub is_debug: bool,
    /// Key of an address to the code that is always right for it.
    pub test_codes: Map<String, Value>,
}

/// At most `most` within `per` microseconds of the first, or of the last where each extends the time.
#[derive(Clone, Copy)]
pub struct Limit {
    pub most: u32,
    pub per: i64,
    pub extends: bool,
}

/// What the guard counts.
pub struct Limits {
    pub are_enabled: bool,
    /// Of one account from one network.
    pub login: Limit,
    /// New accounts from one network.
    pub signup: Limit,
    /// Mails asked for from one network.
    pub mail: Limit,
    /// SMS asked for from one network, and those of the whole database.
    pub sms: Limit,
    pub sms_budget: Option<Limit>,
    /// Failures from one network, and those of callers without an address.
    pub network: Option<Limit>,
    pub database: Option<Limit>,
    /// Failures for one account, and how long, in microseconds, it is locked then.
    pub lockout: Option<(Limit, i64)>,
}

/// With a column that the newest release has brought: nothing is half done in a database that was not updated yet.
static CONFIG: Relation = Relation::cached(c"config", c"config_pkey", &[c"webauthn_attestation_roots"]);

thread_local! {
    static KEPT: RefCell<Option<(u64, Rc<Config>)>> = const { RefCell::new(None) };
}

/// The settings in force for the calling transaction.
pub fn current() -> Result<Rc<Config>> {
    relation::catch_up();
    CONFIG.table()?;
    let generation = relation::generation();
    if let Some(config) =
        KEPT.with_borrow(|kept| kept.as_ref().filter(|kept| kept.0 == generation).map(|kept| kept.1.clone()))
    {
        return Ok(config);
    }
    let config = Rc::new(read(&in_force(stored()?)?)?);
    // What an old snapshot shows is good for its transaction only.
    if !backend::snapshot_is_fixed() {
        KEPT.set(Some((generation, config.clone())));
    }
    Ok(config)
}

fn stored() -> Result<Map<String, Value>> {
    // Not a read: that would look with the snapshot of the caller's statement, which may be older than the news.
    static STORED: Query = Query::write(
        "select to_jsonb(c) || jsonb_build_object(
            'access_token_ttl', extract(epoch from c.access_token_ttl)::bigint,
            'refresh_token_ttl', extract(epoch from c.refresh_token_ttl)::bigint,
            'session_timebox', extract(epoch from c.session_timebox)::bigint,
            'refresh_reuse_interval', extract(epoch from c.refresh_reuse_interval)::bigint,
            'lockout_duration', extract(epoch from c.lockout_duration)::bigint,
            'email_otp_ttl', extract(epoch from c.email_otp_ttl)::bigint,
            'verification_ttl', extract(epoch from c.verification_ttl)::bigint,
            'recovery_ttl', extract(epoch from c.recovery_ttl)::bigint,
            'magic_link_ttl', extract(epoch from c.magic_link_ttl)::bigint,
            'verification_resend_interval', extract(epoch from c.verification_resend_interval)::bigint,
            'mfa_challenge_ttl', extract(epoch from c.mfa_challenge_ttl)::bigint,
            'sms_otp_ttl', extract(epoch from c.sms_otp_ttl)::bigint)
        from auth.config as c",
        &[],
    );
    let row = STORED.first(&[], |row| row.required::<JsonB>(1))?;
    Ok(match row {
        Some(JsonB(Value::Object(row))) => row,
        _ => Map::new(),
    })
}

/// What is stored, with the default for what is not.
fn in_force(stored: Map<String, Value>) -> Result<Map<String, Value>> {
    let unlimited = stored.get("no_limit").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut settings = Map::new();
    for setting in settings::ALL {
        let value = match stored.get(setting.name) {
            Some(value) if !value.is_null() => value.clone(),
            _ if unlimited.iter().any(|name| name == setting.name) => Value::Null,
            _ => setting.default(),
        };
        settings.insert(setting.name.into(), value);
    }
    Ok(settings)
}

fn read(settings: &Map<String, Value>) -> Result<Config> {
    let bad = |name: &str| Error::Internal(format!("setting {name} is not of its kind"));
    let text = |name: &str| settings.get(name).and_then(Value::as_str).map(str::to_string).ok_or_else(|| bad(name));
    let number = |name: &str| settings.get(name).and_then(Value::as_i64).ok_or_else(|| bad(name));
    let limit = |name: &str| match settings.get(name) {
        Some(Value::Null) => Ok(None),
        _ => number(name).map(Some),
    };
    let switch = |name: &str| settings.get(name).and_then(Value::as_bool).ok_or_else(|| bad(name));
    let small = |name: &str| number(name).and_then(|value| u32::try_from(value).map_err(|_| bad(name)));
    let rate = |name: &str| match settings.get(name) {
        Some(Value::Null) => Ok(None),
        _ => settings::rate(&text(name)?)
            .map(|(most, seconds)| Some(Limit { most, per: seconds * 1_000_000, extends: false }))
            .ok_or_else(|| bad(name)),
    };
    let required_rate = |name: &str| rate(name).and_then(|limit| limit.ok_or_else(|| bad(name)));
    let list = |name: &str| {
        let items = settings.get(name).and_then(Value::as_array).ok_or_else(|| bad(name))?;
        Ok::<Vec<String>, Error>(items.iter().filter_map(|item| item.as_str().map(str::to_string)).collect())
    };
    let site_url = text("site_url")?;
    let or_host = |name: &str| match settings.get(name) {
        Some(Value::String(text)) => text.clone(),
        _ => site_host(&site_url).to_string(),
    };
    let lockout_duration = number("lockout_duration")? * 1_000_000;
    Ok(Config {
        limits: Limits {
            are_enabled: switch("rate_limit_enabled")?,
            login: required_rate("rate_limit_login")?,
            signup: required_rate("rate_limit_signup")?,
            mail: required_rate("rate_limit_mail")?,
            sms: required_rate("rate_limit_sms")?,
            sms_budget: rate("sms_budget")?,
            network: rate("rate_limit_network")?,
            database: rate("rate_limit_database")?,
            lockout: limit("lockout_attempts")?
                .map(|most| (Limit { most: most as u32, per: lockout_duration, extends: true }, lockout_duration)),
        },
        jwt_issuer: match settings.get("jwt_issuer") {
            Some(Value::String(issuer)) => issuer.clone(),
            _ => text("site_url")?,
        },
        is_production: text("environment")? == "production",
        enable_signup: switch("enable_signup")?,
        require_approval: switch("require_approval")?,
        blocks_disposable: switch("email_block_disposable")?,
        blocks_subaddress: switch("email_block_subaddress")?,
        access_token_ttl: number("access_token_ttl")?,
        refresh_token_ttl: limit("refresh_token_ttl")?,
        session_timebox: limit("session_timebox")?,
        max_active_sessions: limit("max_active_sessions")?,
        refresh_tokens_enabled: switch("refresh_tokens_enabled")?,
        refresh_reuse_interval: number("refresh_reuse_interval")?,
        refresh_reuse_ends_user: text("refresh_reuse_scope")? == "user",
        password_policy: Policy {
            min_length: small("password_min_length")?,
            max_length: small("password_max_length")?,
            prevent_common: switch("password_prevent_common")?,
            prevent_user_info: switch("password_prevent_user_info")?,
        },
        hash_cost: Cost {
            memory_kib: small("argon2_memory_kib")?,
            iterations: small("argon2_iterations")?,
            parallelism: small("argon2_parallelism")?,
        },
        claims_user_metadata: switch("claims_user_metadata")?,
        site_url: text("site_url")?,
        redirect_allow_list: list("redirect_allow_list")?,
        signup_mode: match text("signup_mode")?.as_str() {
            "immediate" => SignupMode::Immediate,
            "confirm" => SignupMode::Confirm,
            _ => SignupMode::OtpFirst,
        },
        enable_anonymous: switch("enable_anonymous")?,
        anonymous_role: text("anonymous_role")?,
        enable_magic_link: switch("enable_magic_link")?,
        implicit_flow: switch("implicit_flow")?,
        mail: Mail {
            code_length: small("email_otp_length")?,
            code_ttl: number("email_otp_ttl")?,
            verification_ttl: number("verification_ttl")?,
            recovery_ttl: number("recovery_ttl")?,
            magic_link_ttl: number("magic_link_ttl")?,
            resend_limit: limit("verification_resend_limit")?,
            resend_interval: number("verification_resend_interval")?,
            is_debug: switch("debug_mode")?,
            test_codes: match settings.get("test_codes") {
                Some(Value::Object(codes)) => codes.clone(),
                _ => return Err(bad("test_codes")),
            },
        },
        secure_email_change: switch("secure_email_change")?,
        reauthentication_required: switch("reauthentication_required")?,
        current_password_required: switch("current_password_required")?,
        reset_returns_session: switch("reset_returns_session")?,
        security_notices: switch("security_notices")?,
        notify_events: switch("notify_events")?,
        public_profile_fields: list("public_profile_fields")?,
        mfa: Mfa {
            is_enabled: switch("mfa_enabled")?,
            totp_is_enabled: switch("mfa_totp_enabled")?,
            sms_is_enabled: switch("mfa_sms_enabled")?,
            webauthn_is_enabled: switch("mfa_webauthn_enabled")?,
            is_left_to_policies: text("mfa_enforcement")? == "policy",
            required_roles: list("mfa_required_roles")?,
            max_factors: number("mfa_max_factors")?,
            challenge_ttl: number("mfa_challenge_ttl")?,
            totp_issuer: or_host("totp_issuer"),
        },
        webauthn: WebAuthn {
            is_enabled: switch("enable_passkeys")?,
            rp_name: or_host("webauthn_rp_name"),
            rp_id: or_host("webauthn_rp_id"),
            origins: match list("webauthn_rp_origins")? {
                origins if origins.is_empty() => vec![origin(&site_url).to_string()],
                origins => origins,
            },
            user_verification: text("webauthn_user_verification")?,
            allowed_aaguids: list("webauthn_allowed_aaguids")?.iter().filter_map(|id| id.parse().ok()).collect(),
            attestation_roots: match settings.get("webauthn_attestation_roots") {
                Some(Value::String(pem)) => Some(Roots::read(pem).ok_or_else(|| bad("webauthn_attestation_roots"))?),
                _ => None,
            },
        },
        sms: Sms {
            is_enabled: switch("enable_sms")?,
            code_length: small("sms_otp_length")?,
            code_ttl: number("sms_otp_ttl")?,
            prefixes: list("sms_prefixes")?,
        },
    })
}

/// Scheme, host and port of an address.
fn origin(url: &str) -> &str {
    let after_scheme = url.find("://").map_or(0, |place| place + 3);
    url[after_scheme..].find('/').map_or(url, |end| &url[..after_scheme + end])
}

/// The host of an address, without its port.
pub fn site_host(url: &str) -> &str {
    let origin = origin(url);
    let host = origin.split_once("://").map_or(origin, |(_, host)| host);
    host.rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
        .map_or(host, |(host, _)| host)
}

/// Stores these settings, and writes the change into the history.
fn store(changes: &Map<String, Value>) -> Result<JsonB> {
    static LOCK: Query = Query::write("lock table auth.config in share row exclusive mode", &[]);
    static REMOVE: Query = Query::write("delete from auth.config", &[]);
    static INSERT: Query = Query::write(
        "insert into auth.config select * from jsonb_populate_record(null::auth.config, $1)",
        &[Type::JSONBOID],
    );
    static HISTORY: Query = Query::write("insert into auth.config_history (changes) values ($1)", &[Type::JSONBOID]);

    backend::must_write()?;
    LOCK.execute(&[])?;
    let mut row = stored()?;
    let mut unlimited: Vec<String> = row
        .get("no_limit")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(|name| name.as_str().map(str::to_string)).collect())
        .unwrap_or_default();
    for (name, value) in changes {
        let setting = settings::find(name)?;
        if name == "debug_mode" && *value == json!(true) && !backend::is_superuser() {
            return Err(Error::invalid("debug_mode is for superusers", "it makes every mailed code 1234"));
        }
        unlimited.retain(|unlimited| unlimited != name);
        if setting.check(value)?.is_null() && setting.may_be_unlimited {
            unlimited.push(name.clone());
        }
        row.insert(name.clone(), setting.check(value)?);
    }
    let settings =
        in_force(Map::from_iter(row.clone().into_iter().chain([("no_limit".to_string(), json!(unlimited))])))?;
    let config = read(&settings)?;
    check_together(&config)?;

    for setting in settings::ALL.iter().filter(|setting| setting.is_duration()) {
        if let Some(seconds) = row.get(setting.name).and_then(Value::as_i64) {
            row.insert(setting.name.into(), json!(format!("{seconds} seconds")));
        }
    }
    row.insert("only_row".into(), json!(true));
    row.insert("no_limit".into(), json!(unlimited));
    static NOW: Query = Query::read("select to_jsonb(clock_timestamp())", &[]);
    if let Some(JsonB(now)) = NOW.first(&[], |row| row.required(1))? {
        row.insert("updated_at".into(), now);
    }
    REMOVE.execute(&[])?;
    INSERT.execute(&[JsonB(Value::Object(row)).into()])?;
    HISTORY.execute(&[JsonB(Value::Object(changes.clone())).into()])?;
    Ok(JsonB(Value::Object(settings)))
}

fn check_together(config: &Config) -> Result<()> {
    if config.password_policy.min_length > config.password_policy.max_length {
        return Err(Error::invalid("password_min_length is above password_max_length", "raise password_max_length"));
    }
    if let Some(field) = config.public_profile_fields.iter().find(|field| !may_be_public(field)) {
        return Err(Error::invalid(
            format!("public_profile_fields: {field:?} is never public"),
            "no address, number, password, token, code, secret or session",
        ));
    }
    if config.is_production && (config.mail.is_debug || !config.mail.test_codes.is_empty()) {
        return Err(Error::invalid(
            "codes that everybody can guess are refused in production",
            "debug_mode and test_codes are for development; set them back to the default first",
        ));
    }
    config.hash_cost.check().map_err(|error| Error::invalid("argon2 parameters are out of bounds", error.to_string()))
}

/// Whether strangers may read a field of this name, if an administrator wants it.
pub fn may_be_public(field: &str) -> bool {
    const NEVER: [&str; 12] =
        ["mail", "phone", "pass", "token", "otp", "code", "secret", "session", "hash", "key", "credential", "factor"];
    let name = field.to_lowercase();
    !NEVER.iter().any(|word| name.contains(word))
}

#[pg_extern(sql = false)]
fn configure(settings: JsonArgument) -> Answer<JsonB> {
    match given(options::json(settings)?, "settings")? {
        Value::Object(changes) => Ok(store(&changes)?),
        _ => Err(Error::invalid("settings is not a JSON object", "such as {\"enable_signup\": false}").into()),
    }
}

#[pg_extern(sql = false)]
fn apply_profile(profile: Option<&str>) -> Answer<JsonB> {
    Ok(store(&settings::profile(given(profile, "profile")?)?)?)
}

/// What says nothing about how well the database is defended.
const PUBLIC: &[&str] = &[
    "enable_signup",
    "signup_mode",
    "enable_anonymous",
    "enable_magic_link",
    "implicit_flow",
    "site_url",
    "jwt_issuer",
    "email_otp_length",
    "password_min_length",
    "enable_passkeys",
    "mfa_enabled",
    "mfa_totp_enabled",
    "mfa_sms_enabled",
    "mfa_webauthn_enabled",
    "mfa_enforcement",
    "enable_sms",
    "sms_otp_length",
    "notify_events",
];

#[pg_extern(sql = false, stable)]
fn public_settings() -> Answer<JsonB> {
    let mut settings = in_force(stored()?)?;
    settings.insert("jwt_issuer".into(), json!(read(&settings)?.jwt_issuer));
    Ok(JsonB(PUBLIC.iter().map(|name| (name.to_string(), settings[*name].clone())).collect()))
}
