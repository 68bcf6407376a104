//! A new account by address and password: at once, once the address is confirmed, or not before its code is given.

use auth_core::email::Email;
use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::way;
use crate::audit::{self, Entry};
use crate::config::{self, Config, SignupMode};
use crate::credential::Person;
use crate::mail::{self, Mail, Wish};
use crate::platform::backend;
use crate::platform::error::{Answer, Error, Result};
use crate::platform::options::{self, JsonArgument, given};
use crate::platform::{log, silence};
use crate::tokens::{self, Purpose};
use crate::users::{self, NewUser};
use crate::{credential, door, guard, keys};

#[pg_extern(sql = false)]
fn sign_up(email: Option<&str>, password: Option<&str>, data: JsonArgument, options: JsonArgument) -> Answer<JsonB> {
    silence::call_is_secret();
    let mut user_id = None;
    let result = try_sign_up(email, password, data, options, &mut user_id);
    log::outcome("sign_up", user_id, &result);
    Ok(result?)
}

/// What a sign-up asks for, checked.
struct Asked {
    email: Email,
    password: zeroize::Zeroizing<String>,
    data: Map<String, Value>,
    username: Option<String>,
    wish: Wish,
}

impl Asked {
    fn who(&self) -> Value {
        json!({"email": self.email.address()})
    }

    fn account<'a>(&'a self, hash: &'a str) -> NewUser<'a> {
        NewUser {
            email: Some(&self.email),
            encrypted_password: Some(hash),
            user_metadata: self.data.clone(),
            ..NewUser::default()
        }
    }

    fn mail(&self, purpose: Purpose, data: Value) -> Mail<'_> {
        Mail { data, ..Mail::new(purpose, "confirmation", &self.email, &self.wish) }
    }
}

fn try_sign_up(
    email: Option<&str>,
    password: Option<&str>,
    data: JsonArgument,
    options: JsonArgument,
    user_id: &mut Option<Uuid>,
) -> Result<JsonB> {
    backend::must_write()?;
    let known: Vec<&str> = mail::OPTIONS.iter().copied().chain(["username"]).collect();
    let options = options::only(options, &known)?;
    let config = config::current()?;
    if !config.enable_signup {
        return Err(Error::SignupDisabled);
    }
    let email = users::parse_email(given(email, "email")?)?;
    let data = users::check_metadata(options::json(data)?)?;
    // Where nobody may learn who has an account, a name that is taken from now on would tell.
    if config.signup_mode != SignupMode::Immediate && options.contains_key("username") {
        return Err(Error::invalid("no user name before the address is proved", "auth.update_user gives one later"));
    }
    let person = Person::unknown().with_email(Some(&email)).with_metadata(&data);
    let asked = Asked {
        password: credential::acceptable(given(password, "password")?, &person, &config)?,
        email,
        data,
        username: options::text(&options, "username")?.map(users::parse_username).transpose()?,
        wish: Wish::read(&options, &config)?,
    };
    users::check_address(&asked.email)?;
    // Before the hash: with a wrong keyring it fails at once.
    keys::root()?;
    match config.signup_mode {
        SignupMode::Immediate => at_once(&asked, &config, user_id),
        SignupMode::Confirm => to_be_confirmed(&asked, &config, user_id),
        SignupMode::OtpFirst => after_the_code(&asked, &config),
    }
}

fn at_once(asked: &Asked, config: &Config, user_id: &mut Option<Uuid>) -> Result<JsonB> {
    // That an address is taken is worth knowing to a stranger who tries many.
    let attempt = guard::attempt(&guard::ADDRESS, asked.email.key(), asked.who(), config)?;
    let created = guard::count_sign_up(config)
        .and_then(|()| credential::hash(&asked.password, config.hash_cost))
        .inspect(|_| attempt.release_shared())
        .and_then(|hash| users::create(asked.account(&hash)))
        .and_then(|created| {
            let name = asked.username.as_deref();
            name.map_or(Ok(()), |name| users::set_username(created, Some(name))).map(|()| created)
        })
        .inspect(|created| *user_id = Some(*created))
        .and_then(|created| door::let_in(created, way("signup", asked.who())));
    attempt.end(created, *user_id)
}

/// The account is there, and nobody gets in before its address is confirmed. Whether somebody has the address already shows in
/// nothing: its owner is told by mail.
fn to_be_confirmed(asked: &Asked, config: &Config, user_id: &mut Option<Uuid>) -> Result<JsonB> {
    guard::count_sign_up(config)?;
    mail::ask(Purpose::Confirmation, &asked.email, config)?;
    let id = backend::uuid_v4()?;
    let existing = users::find_by_email(&asked.email)?;
    *user_id = existing.as_ref().map(|account| account.id);
    let user = match existing {
        None => {
            let hash = credential::hash(&asked.password, config.hash_cost)?;
            let created = users::create(NewUser { id: Some(id), ..asked.account(&hash) })?;
            *user_id = Some(created);
            mail::send(created, &asked.mail(Purpose::Confirmation, json!({})), config)?;
            // Made up like the other, down to which of its times are the same.
            users::made_up(created, &asked.email, &asked.data)?
        }
        Some(account) => {
            // One hash too. Whoever signs up again, for want of the mail, gives the same password. Another one may be that of
            // somebody else: then the confirmation is worth neither, whoever signs up once more.
            let stored = account.encrypted_password.as_deref();
            let is_same = credential::verify(&asked.password, stored, config.hash_cost)?;
            let latest = tokens::latest_data(account.id, Purpose::Confirmation)?;
            let is_contested = !is_same || latest.is_none_or(|data| data.get("is_contested") == Some(&json!(true)));
            users::ask_before(id, &asked.account(""))?;
            if door::must_be_welcome(account.id).is_ok() {
                let mail = asked.mail(Purpose::Confirmation, json!({"is_contested": is_contested}));
                match account.is_email_confirmed {
                    false => mail::send(account.id, &mail, config)?,
                    true => mail::tell_owner("existing_account", account.id, &asked.email, config)?,
                }
            }
            users::made_up(id, &asked.email, &asked.data)?
        }
    };
    note("user_signedup", *user_id, asked)?;
    Ok(JsonB(json!({"status": "confirmation_sent", "user": user})))
}

/// There is no account before the code of the mail is given.
fn after_the_code(asked: &Asked, config: &Config) -> Result<JsonB> {
    mail::ask(Purpose::SignUp, &asked.email, config)?;
    let waiting = tokens::find_sign_up(asked.email.key())?;
    // One hash in each case. Of two passwords that wait for one address nobody can say whose which is: then none is set.
    let hash = match &waiting {
        // Nor where the caller's snapshot may be too old to show another: the password comes with the code then.
        None if backend::snapshot_is_fixed() => {
            credential::hash(&asked.password, config.hash_cost)?;
            None
        }
        None => Some(credential::hash(&asked.password, config.hash_cost)?),
        Some(waiting) => {
            let stored = waiting.encrypted_password.as_deref();
            let is_same = credential::verify(&asked.password, stored, config.hash_cost)?;
            stored.filter(|_| is_same).map(str::to_string)
        }
    };
    let existing = users::find_by_email(&asked.email)?;
    note("user_confirmation_requested", existing.as_ref().map(|account| account.id), asked)?;
    match existing {
        None => {
            let data = Value::Object(asked.data.clone());
            mail::send_sign_up(hash.as_deref(), &asked.mail(Purpose::SignUp, data), config)?;
        }
        Some(account) if door::must_be_welcome(account.id).is_ok() => {
            mail::tell_owner("existing_account", account.id, &asked.email, config)?;
        }
        Some(_) => {}
    }
    Ok(JsonB(json!({"status": "code_sent"})))
}

fn note(event_type: &str, user_id: Option<Uuid>, asked: &Asked) -> Result<()> {
    audit::record(&Entry { event_type, code: None, user_id, session_id: None, data: asked.who() })
}
