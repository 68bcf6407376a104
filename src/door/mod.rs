//! The door: the only code that opens a session and mints its tokens. Every way in ends here.
//!
//! Promises: no way in can forget the ban, the hooks or the limits; an answer is one object of one shape. Threats: a way in
//! that knows the password but not that the account is banned; a hook that rewrites who the token is for.

use auth_core::jwt;
use pgrx::JsonB;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::audit::{self, Entry};
use crate::config::{self, Config, SignupMode};
use crate::factors::{self, Factor, Proof};
use crate::hooks::{self, Event};
use crate::platform::backend;
use crate::platform::error::{Error, Result};
use crate::platform::log;
use crate::sessions::{self, Facts, Opening};
use crate::{credential, keys, mail, users};

/// Claims that no hook may change: they say who the token is for and what it may do.
const RESERVED_CLAIMS: &[&str] = &[
    "iss",
    "sub",
    "aud",
    "exp",
    "iat",
    "nbf",
    "email",
    "phone",
    "role",
    "aal",
    "amr",
    "session_id",
    "is_anonymous",
    "user_id",
    "token_type",
    "jti",
    "sc",
];

/// By what somebody came in, and what the audit says of it.
pub struct Way<'a> {
    pub method: &'a str,
    pub provider: &'a str,
    pub event_type: &'a str,
    /// An object: who was meant.
    pub data: Value,
    /// What has shown more than one factor already: a passkey that has verified its user.
    pub multi_factor: Option<Uuid>,
    /// The stored hash that the password was right for.
    pub encrypted_password: Option<String>,
    /// What whoever has to use a second factor gets first.
    pub before_mfa: BeforeMfa,
}

/// What somebody gets who has taken the first of two steps.
#[derive(Clone, Copy, PartialEq, Default)]
pub enum BeforeMfa {
    /// A challenge and no session.
    #[default]
    Challenge,
    /// A restricted session, as clients of Supabase Auth expect one.
    Session,
}

/// The option of every way in that says which.
pub const OPTION: &str = "mfa";

impl BeforeMfa {
    pub fn read(options: &Map<String, Value>) -> Result<BeforeMfa> {
        match options.get(OPTION) {
            None | Some(Value::Null) => Ok(BeforeMfa::Challenge),
            Some(Value::String(word)) if word == "challenge" => Ok(BeforeMfa::Challenge),
            Some(Value::String(word)) if word == "session" => Ok(BeforeMfa::Session),
            Some(_) => Err(Error::invalid("unknown value of option mfa", "mfa is challenge (default) or session")),
        }
    }
}

impl<'a> Way<'a> {
    /// By one factor.
    pub fn new(method: &'a str, provider: &'a str, event_type: &'a str, data: Value) -> Way<'a> {
        Way {
            method,
            provider,
            event_type,
            data,
            multi_factor: None,
            encrypted_password: None,
            before_mfa: BeforeMfa::Challenge,
        }
    }

    /// By something that was mailed.
    pub fn by_mail(method: &'a str, event_type: &'a str) -> Way<'a> {
        Way::new(method, "email", event_type, json!({"method": method}))
    }

    pub fn before_mfa(mut self, before: BeforeMfa) -> Way<'a> {
        self.before_mfa = before;
        self
    }

    /// As a challenge remembers it.
    fn store(&self) -> Value {
        json!({"first": sessions::method(self.method), "provider": self.provider, "event_type": self.event_type, "data": self.data})
    }
}

/// What is still missing when somebody has proved who they are.
#[derive(Clone, Copy, PartialEq)]
enum Missing {
    SecondFactor,
    Enrollment,
    NewPassword,
}

impl Missing {
    fn restriction(self) -> &'static str {
        match self {
            Missing::SecondFactor => sessions::MFA,
            Missing::Enrollment => sessions::MFA_ENROLLMENT,
            Missing::NewPassword => sessions::PASSWORD_CHANGE,
        }
    }

    /// In the answer and in the audit.
    fn status(self) -> &'static str {
        match self {
            Missing::SecondFactor => "mfa_required",
            Missing::Enrollment => "mfa_enrollment_required",
            Missing::NewPassword => "password_change_required",
        }
    }
}

/// Lets in a user who has proved who they are: a new session and its tokens, or what is to be done first.
pub fn let_in(user_id: Uuid, way: Way<'_>) -> Result<JsonB> {
    if let Some(answer) = wait_for_approval(user_id, &way)? {
        return Ok(answer);
    }
    must_be_welcome(user_id)?;
    let config = config::current()?;
    must_be_confirmed(user_id, &config)?;
    let still_missing = || missing(user_id, way.method, way.multi_factor.is_some(), &config);
    let mut missing = still_missing()?;
    if missing != Some(Missing::SecondFactor) {
        // What ends sessions (a new password, a first factor) either waits for this one, or is seen here.
        match users::hold_with(user_id, way.encrypted_password.as_deref())? {
            None => return Err(Error::UserNotFound),
            Some(false) => return Err(Error::InvalidCredentials),
            Some(true) => {}
        }
        must_be_welcome(user_id)?;
        missing = still_missing()?;
    }
    if missing == Some(Missing::SecondFactor) && way.before_mfa == BeforeMfa::Challenge {
        return challenge(user_id, &way, &config);
    }
    let opening = Opening {
        methods: json!([sessions::method(way.method)]),
        aal: if way.multi_factor.is_some() { sessions::AAL2 } else { sessions::AAL1 },
        factor_id: way.multi_factor,
        restricted: missing.map(Missing::restriction),
    };
    open(user_id, &way, &opening, missing, &config)
}

/// Lets in a user who has met the challenge of a sign-in; `first` is what `Way::store` has written.
pub fn let_in_with_second(user_id: Uuid, first: &Value, second: &Proof) -> Result<JsonB> {
    users::hold(user_id)?;
    must_be_welcome(user_id)?;
    let config = config::current()?;
    must_be_confirmed(user_id, &config)?;
    let text = |name: &str| first[name].as_str().unwrap_or_default();
    let method = first["first"]["method"].as_str().unwrap_or_default();
    let way = Way::new(method, text("provider"), text("event_type"), first["data"].clone());
    let missing = missing(user_id, method, true, &config)?;
    let opening = Opening {
        methods: json!([first["first"], sessions::method(second.method)]),
        aal: sessions::AAL2,
        factor_id: second.factor_id,
        restricted: missing.map(Missing::restriction),
    };
    open(user_id, &way, &opening, missing, &config)
}

/// Raises a session in which a second factor was used, and finishes the sign-in that waited for that.
pub fn raise(user_id: Uuid, session_id: Uuid, second: &Proof) -> Result<JsonB> {
    must_be_welcome(user_id)?;
    let config = config::current()?;
    let waited = sessions::is_restricted_to(session_id, sessions::MFA)?
        || sessions::is_restricted_to(session_id, sessions::MFA_ENROLLMENT)?;
    let first = sessions::first_method(session_id)?.ok_or(Error::SessionNotFound)?;
    let missing = missing(user_id, &first, true, &config)?.filter(|_| waited);
    sessions::raise(session_id, second.method, second.factor_id, missing.map(Missing::restriction))?;
    if waited {
        sessions::make_room(user_id, session_id, &config)?;
        let done = Entry::done("login_success", user_id).in_session(session_id);
        audit::record(&done.with(json!({"method": first})))?;
    }
    let (facts, user) = sessions::facts(session_id)?.ok_or(Error::SessionNotFound)?;
    let mut answer = answer(session_id, &facts, user, second.method, &config)?;
    if let Some(missing) = missing {
        answer.0["status"] = json!(missing.status());
    }
    Ok(answer)
}

/// Whoever has signed up, or has just proved the address, is told to wait: raised, the refusal would undo the sign-up or the
/// proof. Everybody else meets `must_be_welcome`.
fn wait_for_approval(user_id: Uuid, way: &Way<'_>) -> Result<Option<JsonB>> {
    let is_by_mail = way.provider == "email" && way.method != "password";
    let is_waiting = (way.event_type == "signup" || is_by_mail)
        && users::standing(user_id)?.is_some_and(|user| user.awaits_approval && !user.is_deleted);
    if !is_waiting {
        return Ok(None);
    }
    audit::record(&Entry::done("approval_awaited", user_id).with(way.data.clone()))?;
    let user = users::object(user_id)?.ok_or(Error::UserNotFound)?;
    Ok(Some(JsonB(json!({"status": "approval_pending", "user": user}))))
}

/// What keeps somebody out who has proved as much as this; in the order in which it is asked for, so that nobody sets a new
/// password before the second factor.
fn missing(user_id: Uuid, method: &str, has_second: bool, config: &Config) -> Result<Option<Missing>> {
    if !has_second {
        let is_enrolled = factors::is_needed(user_id)?;
        if is_enrolled && !config.mfa.is_left_to_policies {
            return Ok(Some(Missing::SecondFactor));
        }
        if !is_enrolled && users::has_role_of(user_id, &config.mfa.required_roles)? {
            return Ok(Some(Missing::Enrollment));
        }
    }
    match method == "password" && credential::must_change(user_id)? {
        true => Ok(Some(Missing::NewPassword)),
        false => Ok(None),
    }
}

/// What is answered instead of a session where a second factor has to be used.
fn challenge(user_id: Uuid, way: &Way<'_>, config: &Config) -> Result<JsonB> {
    let asked = factors::challenge_sign_in(user_id, way.store(), config)?;
    audit::record(&Entry::done("mfa_required", user_id).with(way.data.clone()))?;
    let factors: Vec<Value> = factors::verified(user_id)?.iter().map(Factor::hinted).collect();
    Ok(JsonB(json!({
        "status": "mfa_required",
        "mfa_required": true,
        "challenge_token": asked.token.as_ref().map(|token| token.as_str()),
        "expires_in": config.mfa.challenge_ttl,
        "expires_at": backend::unix_seconds(asked.expires_at),
        "factors": factors,
    })))
}

fn open(user_id: Uuid, way: &Way<'_>, opening: &Opening, missing: Option<Missing>, config: &Config) -> Result<JsonB> {
    // Asked before this sign-in is one of those that were.
    let is_new_program = missing.is_none() && config.security_notices && audit::is_new_program(user_id)?;
    if missing.is_none() {
        users::note_sign_in(user_id, way.provider)?;
    }
    let session_id = sessions::open(user_id, opening, config)?;
    let event_type = missing.map_or(way.event_type, |missing| missing.status());
    audit::record(&Entry::done(event_type, user_id).in_session(session_id).with(way.data.clone()))?;
    if is_new_program {
        let from = json!({"ip": audit::client_address(), "user_agent": audit::user_agent()});
        mail::notify("new_sign_in", user_id, None, from, config)?;
    }
    let (facts, user) = sessions::facts(session_id)?.ok_or(Error::SessionNotFound)?;
    let mut answer = answer(session_id, &facts, user, way.method, config)?;
    match missing {
        // Whoever asked for a session gets one, to challenge and verify in.
        None | Some(Missing::SecondFactor) => {}
        Some(missing) => {
            answer.0["status"] = json!(missing.status());
            // What has no successor ends with its access token; a client that keeps sessions needs one.
            if let Some(members) = answer.0.as_object_mut().filter(|_| way.before_mfa == BeforeMfa::Challenge) {
                members.remove("refresh_token");
            }
        }
    }
    Ok(answer)
}

/// Refuses the banned and the deleted. Only after they have proved who they are: before, it would tell a stranger.
pub fn must_be_welcome(user_id: Uuid) -> Result<()> {
    match users::standing(user_id)? {
        None => Err(Error::UserNotFound),
        Some(user) if user.is_deleted => Err(Error::UserNotFound),
        Some(user) if user.is_banned(backend::clock()) => Err(Error::UserBanned),
        Some(_) => Ok(()),
    }
}

/// Where addresses have to be proved, refuses an account that has not. Whoever came by mail has proved it just now.
fn must_be_confirmed(user_id: Uuid, config: &Config) -> Result<()> {
    let is_needed = config.signup_mode != SignupMode::Immediate;
    match users::standing(user_id)? {
        Some(user) if is_needed && user.is_unconfirmed => Err(Error::EmailNotConfirmed),
        _ => Ok(()),
    }
}

/// The session answer (`docs/sessions.md`).
pub fn answer(session_id: Uuid, facts: &Facts, user: Value, method: &str, config: &Config) -> Result<JsonB> {
    let user = if facts.is_restricted { users::hinted(user) } else { user };
    let (access_token, expires_at) = mint(session_id, facts, &user, method, config)?;
    let mut answer = json!({
        "status": "session",
        "access_token": access_token,
        "token_type": "bearer",
        "expires_in": config.access_token_ttl,
        "expires_at": expires_at,
        "user": user,
    });
    if config.refresh_tokens_enabled {
        answer["refresh_token"] = sessions::encode(session_id, facts.counter)?.into();
    }
    Ok(JsonB(answer))
}

/// An access token and when it ends, in seconds since 1970.
pub fn mint(session_id: Uuid, facts: &Facts, user: &Value, method: &str, config: &Config) -> Result<(String, i64)> {
    let signing = keys::current_signing_key()?;
    let issued_at = backend::clock_seconds();
    let expires_at = issued_at + config.access_token_ttl;
    let member = |name: &str| user.get(name).cloned().unwrap_or(Value::Null);
    // A sign-in that is not finished may only be finished: its token is nobody's in policies.
    let (role, token_type) =
        if facts.is_restricted { (json!("anon"), "restricted") } else { (member("role"), "access") };
    let mut claims = Map::from_iter([
        ("iss".to_string(), json!(config.jwt_issuer)),
        ("sub".to_string(), member("id")),
        ("aud".to_string(), member("aud")),
        ("exp".to_string(), json!(expires_at)),
        ("iat".to_string(), json!(issued_at)),
        ("email".to_string(), member("email")),
        ("phone".to_string(), member("phone")),
        ("app_metadata".to_string(), member("app_metadata")),
        ("role".to_string(), role),
        ("aal".to_string(), json!(facts.aal)),
        ("amr".to_string(), facts.methods.clone()),
        ("session_id".to_string(), json!(session_id)),
        ("is_anonymous".to_string(), member("is_anonymous")),
        ("user_id".to_string(), member("id")),
        ("token_type".to_string(), json!(token_type)),
        ("jti".to_string(), json!(backend::uuid_v4()?)),
        ("sc".to_string(), json!(facts.counter)),
    ]);
    if config.claims_user_metadata {
        claims.insert("user_metadata".into(), member("user_metadata"));
    }
    let claims = through_hook(claims, method)?;
    let token = jwt::sign(&claims, &signing.kid, &signing.key, &backend::random_source())
        .map_err(|error| Error::Internal(error.to_string()))?;
    log::debug(|| format!("token minted: session {session_id}, key {}, expires {expires_at}", signing.kid));
    Ok((token, expires_at))
}

/// The hook may add claims and change those that are not reserved.
fn through_hook(claims: Map<String, Value>, method: &str) -> Result<Map<String, Value>> {
    let returned = hooks::run(
        Event::CustomAccessToken,
        || json!({"user_id": claims["sub"], "claims": claims, "authentication_method": method}),
    )?;
    let Some(returned) = returned else { return Ok(claims) };
    let Some(Value::Object(changed)) = returned.get("claims") else {
        return Err(Error::invalid(
            "hook custom_access_token returned no claims",
            "it returns {\"claims\": …}, as it was given them",
        ));
    };
    match RESERVED_CLAIMS.iter().find(|name| changed.get(**name) != claims.get(**name)) {
        None => Ok(changed.clone()),
        Some(name) => Err(Error::invalid(
            format!("hook custom_access_token may not change claim {name}"),
            "it may add claims and change app_metadata and user_metadata",
        )),
    }
}
