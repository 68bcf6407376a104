//! Mails with a link and a code, and notices without: who may ask for one, what it holds, where its link may lead.
//!
//! Promises: whether anybody has an address shows neither in the answer nor in the limits; a link leads only where an
//! administrator allows; the secrets of a mail are in the outbox, sealed, and nowhere else. Threats: floods of mail, an open
//! redirect, a mail that says to a stranger whether an account exists.

use auth_core::email::Email;
use auth_core::redirect;
use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::config::{self, Config};
use crate::outbox::{self, Message};
use crate::platform::backend::{self, to_pg};
use crate::platform::error::{Answer, Error, Result};
use crate::platform::options::given;
pub use crate::platform::options::text;
use crate::platform::query::{Query, Type};
use crate::tokens::{self, Issued, Pending, Purpose};
use crate::{flow, guard, users};

pgrx::extension_sql_file!("mail.sql", name = "mail", requires = ["identity"]);

/// Options of every function that mails a link.
pub const OPTIONS: &[&str] = &["redirect_to", "code_challenge", "code_challenge_method", "locale"];

/// The code of every mail in debug mode.
const DEBUG_CODE: &str = "1234";
const LONGEST_LOCALE: usize = 35;

/// What whoever asks for a mail wants of it.
#[derive(Default, Clone)]
pub struct Wish {
    pub redirect_to: Option<String>,
    pub code_challenge: Option<String>,
    pub locale: Option<String>,
}

impl Wish {
    pub fn read(options: &Map<String, Value>, config: &Config) -> Result<Wish> {
        let redirect_to = match text(options, "redirect_to")?.filter(|target| !target.is_empty()) {
            None => None,
            Some(target) => Some(may_lead_to(target, config).ok_or(Error::RedirectNotAllowed)?),
        };
        let challenge =
            flow::check_challenge(text(options, "code_challenge")?, text(options, "code_challenge_method")?)?;
        Ok(Wish { redirect_to, code_challenge: challenge, locale: locale(options)? })
    }
}

/// The language that is asked for.
pub fn locale(options: &Map<String, Value>) -> Result<Option<String>> {
    let locale = text(options, "locale")?.filter(|locale| !locale.is_empty());
    match locale.is_none_or(is_locale) {
        true => Ok(locale.map(str::to_string)),
        false => Err(Error::invalid("locale is not a language tag", "such as de or pt-BR (BCP 47)")),
    }
}

fn is_locale(locale: &str) -> bool {
    locale.len() <= LONGEST_LOCALE && locale.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// The address that a link may lead to, as it is to be written; None: it may not.
fn may_lead_to(target: &str, config: &Config) -> Option<String> {
    redirect::allowed(target, &config.site_url, &config.redirect_allow_list)
}

#[pg_extern(sql = false, stable)]
fn redirect_allowed(url: Option<&str>) -> Answer<bool> {
    Ok(may_lead_to(given(url, "url")?, &*config::current()?).is_some())
}

/// How long the link of a mail is good, in seconds.
fn lifetime(purpose: Purpose, config: &Config) -> i64 {
    match purpose {
        Purpose::MagicLink => config.mail.magic_link_ttl,
        Purpose::Recovery => config.mail.recovery_ttl,
        Purpose::Reauthentication => config.mail.code_ttl,
        _ => config.mail.verification_ttl,
    }
}

/// Counts that somebody asks for a mail, before it is looked up whether anybody has the address.
pub fn ask(purpose: Purpose, email: &Email, config: &Config) -> Result<()> {
    ask_from(config)?;
    ask_to(purpose, email, config)
}

/// The part of `ask` that concerns whoever asks.
pub fn ask_from(config: &Config) -> Result<()> {
    // Every request wakes the courier: that one does tells a listener nothing.
    outbox::wake()?;
    guard::count_mail_from(config)
}

/// The part of `ask` that concerns the address.
pub fn ask_to(purpose: Purpose, email: &Email, config: &Config) -> Result<()> {
    guard::count_mail_to(family(purpose), email.key(), lifetime(purpose, config), config)
}

/// What mails of a purpose are counted as: a sign-up is one, however far its account is.
fn family(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Confirmation => Purpose::SignUp.name(),
        other => other.name(),
    }
}

/// One was used. What was asked for may have become something else: a sign-in without an account is a sign-up, a reset
/// without a password a sign-in.
pub fn was_used(purpose: Purpose, address_key: &str) -> Result<()> {
    let also = match purpose {
        Purpose::SignUp => Some(Purpose::MagicLink),
        Purpose::MagicLink => Some(Purpose::Recovery),
        _ => None,
    };
    guard::settle(address_key)?;
    [Some(purpose), also].into_iter().flatten().try_for_each(|one| guard::forget_mails(family(one), address_key))
}

/// A mail with a token.
pub struct Mail<'a> {
    pub purpose: Purpose,
    /// Name of the template.
    pub kind: &'static str,
    pub to: &'a Email,
    pub has_link: bool,
    /// In seconds; none: what the purpose says.
    pub link_ttl: Option<i64>,
    pub wish: &'a Wish,
    /// What the token's purpose needs when it is spent.
    pub data: Value,
}

impl<'a> Mail<'a> {
    /// With a link and a code that end when the purpose says.
    pub fn new(purpose: Purpose, kind: &'static str, to: &'a Email, wish: &'a Wish) -> Mail<'a> {
        Mail { purpose, kind, to, has_link: true, link_ttl: None, wish, data: json!({}) }
    }
}

/// What an administrator hands on himself.
pub struct Handed {
    pub link: Option<String>,
    pub code: String,
}

/// Mails a new token to the user of an account.
pub fn send(user_id: Uuid, mail: &Mail<'_>, config: &Config) -> Result<()> {
    let code = fixed_code(mail.to, config);
    let issued = tokens::issue(user_id, &request(mail, code.as_deref(), config))?;
    match code {
        Some(_) => Ok(()),
        None => write(Some(user_id), mail, &issued, config),
    }
}

/// The mails of a change of address: to the new one, and to the old one where that has to agree. Where somebody has the new
/// address already, its owner is told; the mails before are void and a change waits all the same, so that whoever asked sees no
/// difference.
pub fn send_change(user_id: Uuid, new: &Email, old: Option<&Email>, wish: &Wish, config: &Config) -> Result<()> {
    let data = json!({"new_email": new.address(), "needs_both": old.is_some()});
    let mail = |purpose, kind, to| Mail { data: data.clone(), ..Mail::new(purpose, kind, to, wish) };
    if let Some(old) = old {
        send(user_id, &mail(Purpose::EmailChangeCurrent, "email_change_current", old), config)?;
    }
    let to_new = mail(Purpose::EmailChange, "email_change", new);
    match users::find_by_email(new)?.filter(|other| other.id != user_id) {
        None => send(user_id, &to_new, config),
        Some(other) => {
            hand_out(user_id, &to_new, config)?;
            tell_owner("existing_account", other.id, new, config)
        }
    }
}

/// A new token of an account for whoever asks on its behalf; no mail.
pub fn hand_out(user_id: Uuid, mail: &Mail<'_>, config: &Config) -> Result<Handed> {
    let issued = tokens::issue(user_id, &request(mail, None, config))?;
    Ok(Handed { link: issued.link.map(|link| link.to_string()), code: issued.code.to_string() })
}

/// Mails the token of a sign-up that waits for it.
pub fn send_sign_up(
    encrypted_password: Option<&str>,
    passkey: Option<&Value>,
    mail: &Mail<'_>,
    config: &Config,
) -> Result<()> {
    let code = fixed_code(mail.to, config);
    let pending = Pending { email: mail.to.address(), encrypted_password, passkey };
    let issued = tokens::issue_sign_up(&pending, &request(mail, code.as_deref(), config))?;
    match code {
        Some(_) => Ok(()),
        None => write(None, mail, &issued, config),
    }
}

fn request<'a>(mail: &'a Mail<'a>, code: Option<&'a str>, config: &Config) -> tokens::Request<'a> {
    tokens::Request {
        purpose: mail.purpose,
        address_key: mail.to.key(),
        has_link: mail.has_link,
        code,
        code_length: config.mail.code_length,
        code_ttl: config.mail.code_ttl,
        link_ttl: match (mail.has_link, mail.link_ttl) {
            (true, Some(seconds)) => seconds,
            (true, None) => lifetime(mail.purpose, config),
            (false, _) => config.mail.code_ttl,
        },
        redirect_to: mail.wish.redirect_to.as_deref(),
        code_challenge: mail.wish.code_challenge.as_deref(),
        data: mail.data.clone(),
    }
}

/// A code that needs no mail: that of debug mode, or of an address that the app's tests use.
fn fixed_code(to: &Email, config: &Config) -> Option<String> {
    test_code(|address| Email::parse(address).is_ok_and(|email| email.key() == to.key()), config)
}

/// The code of debug mode, or the one that `test_codes` has for what is meant.
pub fn test_code(is_of_test: impl Fn(&str) -> bool, config: &Config) -> Option<String> {
    if config.is_production {
        return None;
    }
    let code =
        config.mail.test_codes.iter().find(|(address, _)| is_of_test(address)).and_then(|(_, code)| code.as_str());
    code.or(config.mail.is_debug.then_some(DEBUG_CODE)).map(str::to_string)
}

fn write(user_id: Option<Uuid>, mail: &Mail<'_>, issued: &Issued, config: &Config) -> Result<()> {
    let Recipient { address, person } = recipient(user_id, mail.to)?;
    let payload = json!({
        "type": mail.purpose.verify_type(),
        "token": issued.link.as_ref().map(|link| link.as_str()),
        "code": issued.code.as_str(),
        "code_expires_at": issued.code_expires_at,
        "expires_at": backend::iso8601(issued.expires_at),
        "redirect_to": mail.wish.redirect_to.as_deref().unwrap_or(&config.site_url),
        "site_url": config.site_url,
        "email": address,
        "new_email": mail.data.get("new_email"),
        "user": person,
    });
    let locale = mail.wish.locale.as_deref().or_else(|| locale_of(&person));
    outbox::write(&Message {
        channel: "email",
        kind: mail.kind,
        recipient: &address,
        locale,
        payload,
        expires_at: Some(issued.expires_at),
    })
    .map(drop)
}

/// Tells the user of an account what has happened to it, where that is wanted and the address is proved. `address` is where
/// it goes, if not to the account's own.
pub fn notify(kind: &'static str, user_id: Uuid, address: Option<&str>, data: Value, config: &Config) -> Result<()> {
    static ADDRESS: Query = Query::write(
        "select u.email from auth.users as u where u.id = $1 and u.email_confirmed_at is not null",
        &[Type::UUIDOID],
    );
    if !config.security_notices {
        return Ok(());
    }
    let address = match address {
        Some(address) => Some(address.to_string()),
        None => ADDRESS.first(&[to_pg(user_id).into()], |row| row.optional(1))?.flatten(),
    };
    let Some(address) = address else { return Ok(()) };
    let Ok(email) = Email::parse(&address) else { return Ok(()) };
    tell(kind, user_id, &email, data, config)
}

/// Tells the owner of an address that somebody else named it; there is no secret in it.
pub fn tell_owner(kind: &'static str, user_id: Uuid, email: &Email, config: &Config) -> Result<()> {
    tell(kind, user_id, email, json!({}), config)
}

fn tell(kind: &'static str, user_id: Uuid, email: &Email, data: Value, config: &Config) -> Result<()> {
    if fixed_code(email, config).is_some() {
        return Ok(());
    }
    let Recipient { address, person } = recipient(Some(user_id), email)?;
    let payload = json!({
        "type": null, "token": null, "code": null, "site_url": config.site_url, "email": address,
        "redirect_to": config.site_url, "user": person, "event": data,
        "new_email": data.get("new_email"),
    });
    let locale = locale_of(&person).map(str::to_string);
    outbox::write(&Message {
        channel: "email",
        kind,
        recipient: &address,
        locale: locale.as_deref(),
        payload,
        expires_at: None,
    })
    .map(drop)
}

struct Recipient {
    address: String,
    /// What a template may say of them.
    person: Value,
}

/// The address of the account to the byte, where it is the one that is meant: what somebody has typed may be read as the same and
/// still lead elsewhere. What nobody has yet goes where it was typed to.
fn recipient(user_id: Option<Uuid>, email: &Email) -> Result<Recipient> {
    let known = known(user_id, email.key())?;
    let address = known.address.unwrap_or_else(|| email.address().to_string());
    let person = json!({"id": user_id, "email": address, "user_metadata": known.user_metadata});
    Ok(Recipient { address, person })
}

struct Known {
    /// The account's own, if it is of this key.
    address: Option<String>,
    /// An object, empty where there is no account.
    user_metadata: Value,
}

fn known(user_id: Option<Uuid>, address_key: &str) -> Result<Known> {
    static KNOWN: Query = Query::write(
        "select u.raw_user_meta_data, case when u.email_key = $2 then u.email end from auth.users as u where u.id = $1",
        &[Type::UUIDOID, Type::TEXTOID],
    );
    let known = KNOWN.first(&[user_id.map(to_pg).into(), address_key.into()], |row| {
        let JsonB(user_metadata) = row.required(1)?;
        Ok(Known { address: row.optional(2)?, user_metadata })
    })?;
    Ok(known.unwrap_or_else(|| Known { address: None, user_metadata: json!({}) }))
}

/// An object, empty where there is no account.
pub fn user_metadata(user_id: Option<Uuid>) -> Result<Value> {
    known(user_id, "").map(|known| known.user_metadata)
}

/// The language that a person reads.
pub fn locale_of(person: &Value) -> Option<&str> {
    person["user_metadata"]["locale"].as_str().filter(|locale| is_locale(locale) && !locale.is_empty())
}
