//! Signing up: at once, once the address is confirmed, or not before its code is given, whatever the account is to be signed in to by.
//!
//! Promises: where addresses have to be proved, neither the answer nor the work tells whether somebody has one already, and its
//! owner is told by mail; what two have given for one address that nobody has proved is worth nothing to either. Threats:
//! enumeration; an account made in advance with somebody else's address.

use auth_core::email::Email;
use pgrx::JsonB;
use serde_json::{Map, Value, json};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::audit::{self, Entry};
use crate::config::{Config, SignupMode};
use crate::credential::Person;
use crate::door::Way;
use crate::mail::{self, Mail, Wish};
use crate::platform::backend;
use crate::platform::error::{Error, Result};
use crate::platform::options::{self, given};
use crate::tokens::{self, Purpose};
use crate::users::{self, NewUser};
use crate::{credential, door, guard};

/// What a sign-up asks for beside what it is to be signed in by, checked.
pub struct Asked {
    pub email: Email,
    pub data: Map<String, Value>,
    username: Option<String>,
    wish: Wish,
}

/// What the account is to be signed in to by.
pub enum Credential {
    Password(Zeroizing<String>),
    Passkey {
        /// A row of auth.passkeys whose user_id is the id that the account gets.
        row: Value,
        user_id: Uuid,
        /// Its id, where its authenticator has verified its user.
        multi_factor: Option<Uuid>,
    },
}

/// The options of every sign-up.
pub fn options() -> Vec<&'static str> {
    mail::OPTIONS.iter().copied().chain(["username"]).collect()
}

impl Asked {
    /// Refused where nobody may sign up.
    pub fn read(
        email: Option<&str>,
        data: Option<Value>,
        options: &Map<String, Value>,
        config: &Config,
    ) -> Result<Asked> {
        if !config.enable_signup {
            return Err(Error::SignupDisabled);
        }
        let email = users::parse_email(given(email, "email")?)?;
        let data = users::check_metadata(data)?;
        // Where nobody may learn who has an account, a name that is taken from now on would tell.
        if config.signup_mode != SignupMode::Immediate && options.contains_key("username") {
            return Err(Error::invalid(
                "no user name before the address is proved",
                "auth.update_user gives one later",
            ));
        }
        let username = options::text(options, "username")?.map(users::parse_username).transpose()?;
        let wish = Wish::read(options, config)?;
        users::check_address(&email)?;
        Ok(Asked { email, data, username, wish })
    }

    /// Whose password it would be.
    pub fn person(&self) -> Person {
        Person::unknown().with_email(Some(&self.email)).with_metadata(&self.data)
    }

    fn who(&self) -> Value {
        json!({"email": self.email.address()})
    }

    fn mail(&self, purpose: Purpose, data: Value) -> Mail<'_> {
        Mail { data, ..Mail::new(purpose, "confirmation", &self.email, &self.wish) }
    }
}

impl Credential {
    /// The id that the account gets.
    fn user_id(&self) -> Result<Uuid> {
        match self {
            Credential::Password(_) => backend::uuid_v4(),
            Credential::Passkey { user_id, .. } => Ok(*user_id),
        }
    }

    /// As it is stored: one hash, of a password.
    fn store(&self, config: &Config) -> Result<Stored<'_>> {
        Ok(match self {
            Credential::Password(password) => {
                Stored { encrypted_password: Some(credential::hash(password, config.hash_cost)?), passkey: None }
            }
            Credential::Passkey { row, .. } => Stored { encrypted_password: None, passkey: Some(row) },
        })
    }

    /// Whether it is what was given before, at the same cost. Of a passkey nobody can say so: each is another.
    fn is(&self, encrypted_password: Option<&str>, config: &Config) -> Result<bool> {
        match self {
            Credential::Password(password) => credential::verify(password, encrypted_password, config.hash_cost),
            Credential::Passkey { .. } => Ok(false),
        }
    }

    fn way(&self, data: Value) -> Way<'static> {
        match self {
            Credential::Password(_) => Way::new("password", "email", "signup", data),
            Credential::Passkey { multi_factor, .. } => {
                Way { multi_factor: *multi_factor, ..Way::new("passkey", "passkey", "signup", data) }
            }
        }
    }
}

/// What an account keeps of a credential.
#[derive(Default)]
struct Stored<'a> {
    encrypted_password: Option<String>,
    passkey: Option<&'a Value>,
}

fn account<'a>(id: Uuid, asked: &'a Asked, stored: &'a Stored<'a>) -> NewUser<'a> {
    NewUser {
        id: Some(id),
        email: Some(&asked.email),
        encrypted_password: stored.encrypted_password.as_deref(),
        passkey: stored.passkey,
        user_metadata: asked.data.clone(),
        ..NewUser::default()
    }
}

/// Signs somebody up; `user_id` is the account that was made, or was there.
pub fn sign_up(asked: &Asked, credential: &Credential, config: &Config, user_id: &mut Option<Uuid>) -> Result<JsonB> {
    match config.signup_mode {
        SignupMode::Immediate => at_once(asked, credential, config, user_id),
        SignupMode::Confirm => to_be_confirmed(asked, credential, config, user_id),
        SignupMode::OtpFirst => after_the_code(asked, credential, config),
    }
}

fn at_once(asked: &Asked, credential: &Credential, config: &Config, user_id: &mut Option<Uuid>) -> Result<JsonB> {
    // That an address is taken is worth knowing to a stranger who tries many.
    let attempt = guard::attempt(&guard::ADDRESS, asked.email.key(), asked.who(), config)?;
    let created = guard::count_sign_up(config)
        .and_then(|()| credential.store(config))
        .inspect(|_| attempt.release_shared())
        .and_then(|stored| users::create(account(credential.user_id()?, asked, &stored)))
        .and_then(|created| {
            let name = asked.username.as_deref();
            name.map_or(Ok(()), |name| users::set_username(created, Some(name))).map(|()| created)
        })
        .inspect(|created| *user_id = Some(*created))
        .and_then(|created| door::let_in(created, credential.way(asked.who())));
    attempt.end(created, *user_id)
}

/// The account is there, and nobody gets in before its address is confirmed. Whether somebody has the address already shows in
/// nothing: its owner is told by mail.
fn to_be_confirmed(
    asked: &Asked,
    credential: &Credential,
    config: &Config,
    user_id: &mut Option<Uuid>,
) -> Result<JsonB> {
    guard::count_sign_up(config)?;
    ask(Purpose::Confirmation, asked, credential, config)?;
    let id = credential.user_id()?;
    let existing = users::find_by_email(&asked.email)?;
    *user_id = existing.as_ref().map(|account| account.id);
    match existing {
        None => {
            let created = users::create(account(id, asked, &credential.store(config)?))?;
            *user_id = Some(created);
            mail::send(created, &asked.mail(Purpose::Confirmation, json!({})), config)?;
        }
        Some(existing) => {
            // One hash too. Whoever signs up again, for want of the mail, gives the same password. Another one may be that of
            // somebody else: then the confirmation is worth neither, whoever signs up once more.
            let is_same = credential.is(existing.encrypted_password.as_deref(), config)?;
            let latest = tokens::latest_data(existing.id, Purpose::Confirmation)?;
            let is_contested = !is_same
                || guard::is_contested(asked.email.key())?
                || latest.is_none_or(|data| data.get("is_contested") == Some(&json!(true)));
            users::ask_before(id, &account(id, asked, &Stored::default()))?;
            if door::must_be_welcome(existing.id).is_ok() {
                let mail = asked.mail(Purpose::Confirmation, json!({"is_contested": is_contested}));
                match existing.is_email_confirmed {
                    false => mail::send(existing.id, &mail, config)?,
                    true => mail::tell_owner("existing_account", existing.id, &asked.email, config)?,
                }
            }
        }
    }
    // Made up for both, down to which of its times are the same.
    let user = users::made_up(id, &asked.email, &asked.data)?;
    note("user_signedup", *user_id, asked)?;
    Ok(JsonB(json!({"status": "confirmation_sent", "user": user})))
}

/// There is no account before the code of the mail is given.
fn after_the_code(asked: &Asked, credential: &Credential, config: &Config) -> Result<JsonB> {
    ask(Purpose::SignUp, asked, credential, config)?;
    let waiting = tokens::find_sign_up(asked.email.key())?;
    // One hash in each case. Of two passwords that wait for one address nobody can say whose which is: then none is set.
    let stored = match &waiting {
        None => {
            let stored = credential.store(config)?;
            // Nor where the caller's snapshot may be too old to show another: the password comes with the code then.
            if backend::snapshot_is_fixed() { Stored::default() } else { stored }
        }
        Some(waiting) => {
            let before = waiting.encrypted_password.as_deref();
            let is_same = credential.is(before, config)? && !guard::is_contested(asked.email.key())?;
            Stored { encrypted_password: before.filter(|_| is_same).map(str::to_string), passkey: None }
        }
    };
    let existing = users::find_by_email(&asked.email)?;
    note("user_confirmation_requested", existing.as_ref().map(|account| account.id), asked)?;
    match existing {
        None => {
            let data = Value::Object(asked.data.clone());
            let mail = asked.mail(Purpose::SignUp, data);
            mail::send_sign_up(stored.encrypted_password.as_deref(), stored.passkey, &mail, config)?;
        }
        Some(account) if door::must_be_welcome(account.id).is_ok() => {
            mail::tell_owner("existing_account", account.id, &asked.email, config)?;
        }
        Some(_) => {}
    }
    Ok(JsonB(json!({"status": "code_sent"})))
}

/// Asks for the mail of a sign-up. Where no more may go to the address, what was given is compared all the same with what waits: who
/// could keep its owner from being heard by asking often would have his own password confirmed by him.
fn ask(purpose: Purpose, asked: &Asked, credential: &Credential, config: &Config) -> Result<()> {
    mail::ask_from(config)?;
    let Err(refusal) = mail::ask_to(purpose, &asked.email, config) else { return Ok(()) };
    let key = asked.email.key();
    // Before the hash, which may be cancelled.
    guard::contest(key, config)?;
    let stored = match purpose {
        Purpose::SignUp => tokens::find_sign_up(key)?.and_then(|waiting| waiting.encrypted_password),
        _ => users::find_by_email(&asked.email)?.and_then(|account| account.encrypted_password),
    };
    // One hash, whoever has the address. No place for it says nothing of what was given.
    if credential.is(stored.as_deref(), config).unwrap_or(false) {
        guard::agree(key)?;
    }
    Err(refusal)
}

fn note(event_type: &str, user_id: Option<Uuid>, asked: &Asked) -> Result<()> {
    audit::record(&Entry { event_type, code: None, user_id, session_id: None, data: asked.who() })
}
