//! The guard: what makes guessing slow although any client may roll back, and what makes floods cheap to refuse.
//!
//! Promises: a guess is counted before it is looked at, and no ROLLBACK, SAVEPOINT, cancel or disconnect uncounts it; of any
//! number at once exactly as many are looked at as the limit says; a locked account answers the same to everybody and to
//! right and wrong alike; failures and locks survive a restart. Threats: guessing from many connections, networks and
//! accounts; an attacker who fills the table to be forgotten, or who locks somebody out for ever.

mod at_end;
mod attempt;
mod network;
mod reload;
mod table;

use pgrx::prelude::*;
use pgrx::{JsonB, extension_sql_file};
use serde_json::{Value, json};

use auth_core::email::Email;

use at_end::AtEnd;
pub use attempt::{
    ADDRESS, Attempt, CODE, FACTOR, LINK, PASSKEY, PASSKEY_REGISTRATION, PASSWORD, SMS, attempt, is_spent,
};
pub use network::must_not_be_blocked;
pub use table::{COUNTERS, STATE};

use crate::audit::{self, Entry};
use crate::config::{self, Config, Limit};
use crate::events::RINGS;
use crate::platform::backend;
use crate::platform::error::{Answer, Error, Result};
use crate::platform::options::given;
use crate::users;
use table::{Key, Verdict};

extension_sql_file!("guard.sql", name = "guard", requires = ["audit"]);

/// Who is meant by an address, as the caller wrote it. Text that is no address is nobody's: a guess about it is counted like one
/// about an address, and it is not written down, because it may be a password.
pub struct Meant<'a> {
    text: &'a str,
    pub email: Option<Email>,
}

impl<'a> Meant<'a> {
    pub fn by(text: &'a str) -> Meant<'a> {
        Meant { text, email: users::parse_email(text).ok() }
    }

    /// What guesses are counted against.
    pub fn subject(&self) -> &str {
        self.email.as_ref().map_or(self.text, Email::key)
    }

    /// What the audit says of it.
    pub fn data(&self) -> Value {
        let email = self.email.as_ref();
        json!({"email": email.map(Email::address), "subject": email.map(Email::key)})
    }
}

/// Counts a new account against the network that it comes from.
pub fn count_sign_up(config: &Config) -> Result<()> {
    let Some(network) = network::trusted().filter(|_| config.limits.are_enabled) else { return Ok(()) };
    count("signup", &network, &config.limits.signup)
}

/// Counts a guest against the network that it comes from, or the database where that is not known: one costs no hash.
pub fn count_guest(config: &Config) -> Result<()> {
    match (network::trusted(), config.limits.database.filter(|_| config.limits.are_enabled)) {
        (Some(_), _) => count_sign_up(config),
        (None, Some(limit)) => count("guest", "", &limit),
        (None, None) => Ok(()),
    }
}

/// Counts a ceremony that somebody begins against the network that it comes from: each leaves a row for some minutes.
pub fn count_ceremony(config: &Config) -> Result<()> {
    const LIMIT: Limit = Limit { most: 60, per: 300_000_000, extends: false };
    network::must_not_be_blocked()?;
    match network::trusted().filter(|_| config.limits.are_enabled) {
        Some(network) => count("ceremony", &network, &LIMIT),
        None => Ok(()),
    }
}

/// Counts a mail that somebody asks for by network or database.
pub fn count_mail_from(config: &Config) -> Result<()> {
    count_from("mail", &config.limits.mail, config).map_err(of_mail)
}

/// Counts a mail that somebody asks for, whoever has the address and whether anybody does: by kind and address not before
/// the interval is over and not more often than the limit within a link's lifetime.
pub fn count_mail_to(kind: &str, address: &str, lifetime: i64, config: &Config) -> Result<()> {
    count_to("mail", kind, address, lifetime, config).map_err(of_mail)
}

fn of_mail(error: Error) -> Error {
    match error {
        Error::OverRequestRateLimit { seconds } => Error::OverEmailSendRateLimit { seconds },
        other => other,
    }
}

/// That two have given different credentials for an address whose sign-up is not confirmed, one of them in vain. It is for as long as
/// what was mailed is good, and no ROLLBACK undoes it.
pub fn contest(address: &str, config: &Config) -> Result<()> {
    let limit = Limit { most: 1, per: config.mail.verification_ttl * 1_000_000, extends: true };
    table::add(contested(address)?, &limit, None).map(drop)
}

/// They were the same: takes one `contest` back.
pub fn agree(address: &str) -> Result<()> {
    table::take_back(contested(address)?)
}

pub fn is_contested(address: &str) -> Result<bool> {
    Ok(table::count_of(contested(address)?)? > 0)
}

/// The sign-up is confirmed; so once that is committed.
pub fn settle(address: &str) -> Result<()> {
    contested(address).map(|key| at_end::note(key, AtEnd::Clear))
}

fn contested(address: &str) -> Result<Key> {
    Key::new("contested", address, "")
}

/// How long the SMS that nobody has used are counted for a number, in seconds. A code lives too short a time to bound what
/// somebody's phone may be flooded with.
const SMS_SECONDS: i64 = 3600;

/// What SMS to a number are counted as: those that anybody may ask for, those of its own account's second step, those of an
/// account that enrols it, and those of one that is to get the number.
pub const SMS_OF_SIGN_IN: &str = "sign_in";
pub const SMS_OF_FACTOR: &str = "factor";
pub const SMS_OF_ENROLLMENT: &str = "enrollment";
pub const SMS_OF_CHANGE: &str = "change";

/// Counts an SMS that somebody asks for like a mail, and last against what the whole database may send: each costs money, and
/// whoever has many numbers and networks is held by nothing else. A ROLLBACK gives that back no more than the network's.
pub fn count_sms(kind: &str, phone: &str, config: &Config) -> Result<()> {
    let counted = count_from("sms", &config.limits.sms, config)
        .and_then(|()| count_to("sms", kind, phone, SMS_SECONDS, config))
        .and_then(|()| match config.limits.sms_budget.filter(|_| config.limits.are_enabled) {
            Some(budget) => count("sms budget", "", &budget),
            None => Ok(()),
        });
    counted.map_err(|error| match error {
        Error::OverRequestRateLimit { seconds } => Error::OverSmsSendRateLimit { seconds },
        other => other,
    })
}

fn count_from(channel: &str, from_network: &Limit, config: &Config) -> Result<()> {
    if !config.limits.are_enabled {
        return Ok(());
    }
    network::must_not_be_blocked()?;
    match (network::trusted(), config.limits.database) {
        (Some(network), _) => count(&format!("{channel} from"), &network, from_network),
        (None, Some(limit)) => count(&format!("{channel} from"), "", &limit),
        (None, None) => Ok(()),
    }
}

fn count_to(channel: &str, kind: &str, address: &str, lifetime: i64, config: &Config) -> Result<()> {
    if !config.limits.are_enabled {
        return Ok(());
    }
    let limit = |most: i64, seconds: i64| Limit { most: most as u32, per: seconds * 1_000_000, extends: false };
    if config.mail.resend_interval > 0 {
        count_if_committed(&format!("{channel} soon {kind}"), address, &limit(1, config.mail.resend_interval))?;
    }
    if let Some(most) = config.mail.resend_limit {
        count_if_committed(&format!("{channel} {kind}"), address, &limit(most + 1, lifetime))?;
    }
    Ok(())
}

/// One of the mails was used, so that the next one is a first one again.
pub fn forget_mails(kind: &str, address: &str) -> Result<()> {
    forget_messages("mail", kind, address)
}

/// A code was used: the next SMS to the number is a first one again. The network and the budget still count it.
pub fn forget_sms(kind: &str, phone: &str) -> Result<()> {
    forget_messages("sms", kind, phone)
}

fn forget_messages(channel: &str, kind: &str, address: &str) -> Result<()> {
    for bucket in [format!("{channel} soon {kind}"), format!("{channel} {kind}")] {
        table::clear(Key::new(&bucket, address, "counted")?)?;
    }
    Ok(())
}

/// Counts something of which a ROLLBACK leaves nothing, such as a mail: it is given back then. What is counted in somebody's open
/// transaction holds others up for a moment and no longer, or whoever never commits would leave nobody anything; network and
/// database bound what comes through so.
fn count_if_committed(bucket: &str, subject: &str, limit: &Limit) -> Result<()> {
    const PATIENCE_MICROSECONDS: i64 = 2_000_000;
    let key = Key::new(bucket, subject, "counted")?;
    let own = at_end::to_keep(key);
    match table::wait_for(PATIENCE_MICROSECONDS, || table::begin_revocable(key, limit, own))? {
        Verdict::Counted => {}
        Verdict::Refused(wait) => return Err(over_limit(wait)),
        Verdict::Undecided => table::begin_beyond(key, limit)?,
    }
    at_end::note(key, AtEnd::Keep);
    Ok(())
}

fn count(bucket: &str, subject: &str, limit: &Limit) -> Result<()> {
    let key = Key::new(bucket, subject, "counted")?;
    match table::begin(key, limit, 0)? {
        Verdict::Counted => table::end_failed(key, limit, None).map(drop),
        Verdict::Refused(wait) => Err(over_limit(wait)),
        Verdict::Undecided => Err(over_limit(1_000_000)),
    }
}

fn over_limit(wait: i64) -> Error {
    table::count_refusal();
    Error::OverRequestRateLimit { seconds: wait.div_euclid(1_000_000) + 1 }
}

#[pg_extern(sql = false)]
fn count_attempt(
    bucket: Option<&str>,
    subject: Option<&str>,
    attempts: Option<i32>,
    per: Option<Interval>,
) -> Answer<()> {
    let wrong = |what: &str| Error::invalid(what, "attempts is from 1 to 1,000,000, per from 1 second to 31 days");
    let most = given(attempts, "attempts")?;
    let per = given(per, "per")?.as_micros();
    if !(1..=1_000_000).contains(&most) {
        return Err(wrong("attempts is out of range").into());
    }
    if !(1_000_000..=31 * 86_400_000_000).contains(&per) {
        return Err(wrong("per is out of range").into());
    }
    let limit = Limit { most: most as u32, per: per as i64, extends: false };
    Ok(count(&format!("app {}", given(bucket, "bucket")?), given(subject, "subject")?, &limit)?)
}

#[pg_extern(sql = false)]
fn guard_status() -> Answer<JsonB> {
    // On a standby nothing is counted.
    if backend::must_write().is_ok() {
        reload::once(&*config::current()?)?;
    }
    let [slots, used, locked] = table::usage()?;
    let [refused, evicted] = table::totals()?;
    let rings = RINGS.require()?;
    let [written, dropped, waiting] =
        rings.find(backend::database()).map_or([0; 3], |place| rings.ring(place).counts());
    Ok(JsonB(json!({
        "slots": slots, "used": used, "locked": locked, "refused": refused, "evicted": evicted,
        "events_written": written, "events_waiting": waiting, "events_dropped": dropped,
    })))
}

#[pg_extern(sql = false)]
fn guard_reset(subject: Option<&str>) -> Answer<i64> {
    let given = given(subject, "subject")?;
    backend::must_write()?;
    // As the counters may name it: as it is, as the key of an address, as a number, as a network.
    let mut subjects = vec![given.to_string()];
    subjects.extend(users::parse_email(given).ok().map(|email| email.key().to_string()));
    subjects.extend(users::parse_phone(given).ok().map(|phone| phone.digits().to_string()));
    subjects.extend(given.parse::<std::net::IpAddr>().ok().map(network::network));
    subjects.dedup();
    reload::once(&*config::current()?)?;
    let entry = Entry { event_type: "guard_reset", code: None, user_id: None, session_id: None, data: json!({}) };
    let by = backend::session_user();
    let mut forgotten = 0;
    for subject in subjects {
        audit::record(&entry.but(json!({"subject": subject, "by": by})))?;
        forgotten += table::reset(Key::new("", &subject, "")?)?;
    }
    Ok(forgotten)
}
