//! One guess at a secret, from before it is verified until its transaction has ended.
//!
//! It is counted first. A wrong one stays counted and is in the audit before the caller hears of it; a right one is taken
//! back only when its transaction commits, so that signing in and rolling back tells no more than a wrong guess costs. What
//! has no outcome (cancelled, disconnected, failed) stays counted.

use std::cell::{Cell, RefCell};

use pgrx::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::at_end;
use super::network::{self, Shared};
use super::reload;
use super::table::{self, Key, Locked, Verdict};
use crate::audit::{self, Entry};
use crate::config::{Config, Limit};
use crate::events::{self, Event};
use crate::platform::backend;
use crate::platform::error::{Error, Result};

/// How long an attempt waits for the outcome of others for the same account.
const LONGEST_WAIT_MICROSECONDS: i64 = 10_000_000;

/// A kind of secret that can be guessed.
pub struct Secret {
    /// What its counters are named after.
    pub name: &'static str,
    /// Event type of a failed guess.
    pub failure: &'static str,
    /// Event type of the lock that too many of them bring, where they lock the subject.
    pub locked: Option<&'static str>,
    /// Event type of what forgives them.
    pub success: &'static str,
    /// How many failures of one subject lock it, and for how long, in microseconds.
    lockout: fn(&Config) -> Option<(Limit, i64)>,
    /// What may be learnt by a refusal. Others say nothing about the secret.
    tells: fn(&Error) -> bool,
}

impl Secret {
    pub fn lockout(&self, config: &Config) -> Option<(Limit, i64)> {
        self.locked.and_then(|_| (self.lockout)(config))
    }
}

pub const PASSWORD: Secret = Secret {
    name: "password",
    failure: "login_failure",
    success: "login_success",
    locked: Some("account_locked"),
    lockout: |config| config.limits.lockout,
    tells: |error| {
        matches!(
            error,
            Error::InvalidCredentials | Error::CurrentPasswordInvalid | Error::UserBanned | Error::UserNotFound
        )
    },
};

/// A mailed code. Its lock outlasts every code that is out: five wrong ones kill the code, and a new one asked for meanwhile
/// is no new chance. The mailed link and the password go on.
pub const CODE: Secret = Secret {
    name: "code",
    failure: "otp_failure",
    success: "login_success",
    locked: Some("otp_locked"),
    lockout: |config| outlasting(config.mail.code_ttl, config),
    tells: is_about_a_token,
};

/// A code sent by SMS. Its subject is a number, and its lock outlasts every code that is out, as that of mailed ones.
pub const SMS: Secret = Secret {
    name: "sms",
    failure: "sms_failure",
    success: "login_success",
    locked: Some("sms_locked"),
    lockout: |config| outlasting(config.sms.code_ttl, config),
    tells: is_about_a_token,
};

/// The lock of codes that live so many seconds.
fn outlasting(seconds: i64, config: &Config) -> Option<(Limit, i64)> {
    let (limit, lock) = config.limits.lockout?;
    let lifetime = seconds * 1_000_000;
    Some((Limit { per: limit.per.max(lifetime), ..limit }, lock.max(lifetime)))
}

/// A code or an answer of a second factor, of whatever kind and in whatever challenge: one budget for the account, which a new challenge does
/// not make larger (NIST SP 800-63B section 3.2.2).
pub const FACTOR: Secret = Secret {
    name: "factor",
    failure: "mfa_failure",
    success: "mfa_success",
    locked: Some("mfa_locked"),
    lockout: |config| {
        // Also where accounts are never locked: six digits are few.
        let (limit, lock) = config
            .limits
            .lockout
            .unwrap_or((Limit { most: FACTOR_GUESSES, per: FACTOR_TIME, extends: true }, FACTOR_LOCK));
        Some((
            Limit { most: limit.most.min(FACTOR_GUESSES), per: limit.per.max(FACTOR_TIME), ..limit },
            lock.max(FACTOR_LOCK),
        ))
    },
    tells: |error| {
        matches!(
            error,
            Error::MfaVerificationFailed
                | Error::MfaVerificationRejected
                | Error::WebauthnCredentialExists
                | Error::MfaChallengeExpired
                | Error::UserBanned
                | Error::UserNotFound
        )
    },
};

const FACTOR_GUESSES: u32 = 5;
const FACTOR_TIME: i64 = 5 * 60 * 1_000_000;
const FACTOR_LOCK: i64 = 15 * 60 * 1_000_000;

/// A mailed link, or another secret too long to be guessed: only the failures of a network are counted.
pub const LINK: Secret = Secret {
    name: "link",
    failure: "link_failure",
    success: "login_success",
    locked: None,
    lockout: |_| None,
    tells: is_about_a_token,
};

/// What an authenticator answers to a challenge: signed, so too long to be guessed.
pub const PASSKEY: Secret = Secret {
    name: "passkey",
    failure: "login_failure",
    success: "login_success",
    locked: None,
    lockout: |_| None,
    tells: |error| matches!(error, Error::UserBanned | Error::UserNotFound) || is_about_a_passkey(error),
};

/// The same for a new passkey: what is refused tells whether somebody has registered it.
pub const PASSKEY_REGISTRATION: Secret = Secret {
    name: "passkey registration",
    failure: "passkey_failure",
    success: "passkey_registered",
    locked: None,
    lockout: |_| None,
    tells: is_about_a_passkey,
};

fn is_about_a_passkey(error: &Error) -> bool {
    matches!(
        error,
        Error::WebauthnChallengeExpired | Error::WebauthnVerificationFailed | Error::WebauthnCredentialExists
    )
}

fn is_about_a_token(error: &Error) -> bool {
    matches!(
        error,
        Error::OtpExpired
            | Error::ReauthenticationNotValid
            | Error::FlowStateNotFound
            | Error::FlowStateExpired
            | Error::BadCodeVerifier
            | Error::MfaChallengeExpired
            | Error::UserBanned
            | Error::UserNotFound
    )
}

/// Whether an address has an account.
pub const ADDRESS: Secret = Secret {
    name: "address",
    failure: "signup_failure",
    success: "signup",
    locked: None,
    lockout: |_| None,
    tells: |error| matches!(error, Error::EmailExists),
};

/// Counters of an attempt: of the account, of the account from one network, and of the network or the database. The last
/// is shared with others, so it is open only until the secret was looked at.
#[derive(Clone, Default)]
struct Counters {
    account: Option<(Key, Limit, i64)>,
    login: Option<(Key, Limit)>,
    shared: Option<Shared>,
    /// That a one-time token was spent.
    spent: Option<(Key, Limit)>,
}

impl Counters {
    fn keys(&self) -> impl Iterator<Item = Key> {
        let account = self.account.map(|(key, ..)| key);
        [account, self.login.map(|(key, _)| key), self.spent.map(|(key, _)| key)].into_iter().flatten()
    }

    fn have(&self, key: Key) -> bool {
        self.keys().any(|own| own == key)
    }
}

struct Open {
    number: u64,
    subtransaction: pg_sys::SubTransactionId,
    counters: Counters,
    /// All its counters let it through: the secret may be looked at.
    is_let_through: bool,
    /// What others share is counted for this attempt, and it has no outcome yet.
    is_shared_open: bool,
    /// The guess was right; what is still missing may fail without being a guess.
    is_right: bool,
    has_succeeded: bool,
    /// The audit row of the failure that this becomes unless it commits.
    failure: Event,
    secret: &'static Secret,
}

/// Whether a one-time token was spent by a transaction that did not commit.
pub fn is_spent(token: Uuid) -> Result<bool> {
    Ok(table::count_of(Key::new(SPENT, &token.to_string(), "")?)? > 0)
}

/// What the counters of spent tokens are named after.
pub const SPENT: &str = "spent";

thread_local! {
    static OPEN: RefCell<Vec<Open>> = const { RefCell::new(Vec::new()) };
    static NEXT: Cell<u64> = const { Cell::new(1) };
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
}

/// A guess that was let through. Whoever holds it says how it ended.
#[must_use]
pub struct Attempt(u64);

/// Counts a guess at somebody's secret, or refuses it without looking at the secret: the same for a right and a wrong one,
/// and for a subject that does not exist. `data` is what the audit says about who was meant.
pub fn attempt(secret: &'static Secret, subject: &str, data: Value, config: &Config) -> Result<Attempt> {
    let failure = Entry { event_type: secret.failure, code: None, user_id: None, session_id: None, data };
    let refuse = |error: Error| {
        table::count_refusal();
        audit::refusal(&Entry { code: Some(error.code()), data: failure.data.clone(), ..failure });
        error
    };
    network::must_not_be_blocked().map_err(refuse)?;
    let attempt = Attempt(NEXT.replace(NEXT.get() + 1));
    // Also where nothing is limited: what a rolled-back transaction has spent stays spent.
    reload::once(config)?;
    if config.limits.are_enabled
        && let Some(wait) = network::may_fail(config)?
    {
        return Err(refuse(over_limit(wait)));
    }
    // Known to the transaction before it waits for anything: an ERROR while it waits must not leave a counter open.
    attempt.open(secret, failure.event());
    if config.limits.are_enabled {
        attempt.count(secret, subject, config).map_err(|error| {
            if let Some(open) = attempt.take() {
                take_back(&open);
            }
            refuse(error)
        })?;
    }
    attempt.change(|open| open.is_let_through = true);
    Ok(attempt)
}

impl Attempt {
    fn open(&self, secret: &'static Secret, failure: Event) {
        follow_transactions();
        let open = Open {
            number: self.0,
            // SAFETY: reads the transaction's state.
            subtransaction: unsafe { pg_sys::GetCurrentSubTransactionId() },
            counters: Counters::default(),
            is_let_through: false,
            is_shared_open: false,
            is_right: false,
            has_succeeded: false,
            failure,
            secret,
        };
        OPEN.with_borrow_mut(|all| all.push(open));
    }

    fn count(&self, secret: &Secret, subject: &str, config: &Config) -> Result<()> {
        let limits = &config.limits;
        if let Some(network) = network::trusted().filter(|_| secret.locked.is_some()) {
            let key = Key::new(&format!("{} from", secret.name), subject, &network)?;
            match settled(key, &limits.login)? {
                Verdict::Counted => self.change(|open| open.counters.login = Some((key, limits.login))),
                Verdict::Refused(wait) => return Err(over_limit(wait)),
                Verdict::Undecided => return Err(over_limit(1_000_000)),
            }
        }
        if let Some((limit, lock)) = secret.lockout(config) {
            let key = Key::new(secret.name, subject, "")?;
            match settled(key, &limit)? {
                Verdict::Counted => self.change(|open| open.counters.account = Some((key, limit, lock))),
                Verdict::Refused(wait) => return Err(Error::AccountLocked { seconds: seconds(wait) }),
                Verdict::Undecided => return Err(over_limit(1_000_000)),
            }
        }
        // Last, because all wait for it.
        if let Some(shared) = network::shared(config)? {
            match settled(shared.key, &shared.limit)? {
                Verdict::Counted => self.change(|open| {
                    open.is_shared_open = true;
                    open.counters.shared = Some(shared);
                }),
                Verdict::Refused(wait) => return Err(over_limit(wait)),
                Verdict::Undecided => return Err(over_limit(1_000_000)),
            }
        }
        Ok(())
    }

    fn change(&self, change: impl FnOnce(&mut Open)) {
        OPEN.with_borrow_mut(|all| all.iter_mut().find(|open| open.number == self.0).map(change));
    }

    /// The guess was right. If what comes then fails, nobody has guessed wrong.
    pub fn is_right(&self) {
        self.release_shared();
        self.change(|open| open.is_right = true);
    }

    /// The work that others wait for is done. What comes now may wait for a row of somebody's open transaction, and what
    /// others share is not kept from them meanwhile.
    pub fn release_shared(&self) {
        self.change(|open| {
            if let Some(shared) = open.counters.shared.as_ref().filter(|_| std::mem::take(&mut open.is_shared_open)) {
                drop(table::take_back(shared.key));
            }
        });
    }

    /// Spends a one-time token, or what else is good once and has an id, that ends at a time in microseconds since 2000-01-01: by one caller only, at once for all
    /// others, and for good unless the attempt is taken back. Of those who come while it is undecided none waits.
    pub fn spend(&self, token: Uuid, expires_at: i64) -> Result<()> {
        let limit = Limit { most: 1, per: expires_at.saturating_sub(backend::clock()).max(1_000_000), extends: false };
        let key = Key::new(SPENT, &token.to_string(), "")?;
        match table::begin(key, &limit, 0)? {
            Verdict::Counted => {
                self.change(|open| {
                    open.counters.spent = Some((key, limit));
                    open.failure.row["event_data"]["token"] = json!(token);
                    open.failure.row["event_data"]["token_ends"] = json!(backend::iso8601(expires_at));
                });
                Ok(())
            }
            Verdict::Refused(_) | Verdict::Undecided => Err(Error::OtpExpired),
        }
    }

    /// How it ended; `user_id` is the account that was meant. A right guess is forgiven, with all the failures before it,
    /// when the transaction commits. A wrong one is counted and in the audit for good before this returns. Errors that say
    /// nothing about the secret take the attempt back.
    pub fn end<T>(self, result: Result<T>, user_id: Option<Uuid>) -> Result<T> {
        match result {
            Ok(answer) => {
                self.succeeded(user_id);
                Ok(answer)
            }
            Err(error) => Err(self.refused(error, user_id)),
        }
    }

    fn succeeded(self, user_id: Option<Uuid>) {
        self.release_shared();
        self.change(|open| {
            open.has_succeeded = true;
            open.failure.row["user_id"] = json!(user_id);
        });
    }

    fn refused(self, error: Error, user_id: Option<Uuid>) -> Error {
        let Some(mut open) = self.take() else { return error };
        if !(open.secret.tells)(&error) {
            take_back(&open);
            return error;
        }
        // Of whoever was deleted meanwhile no row is left.
        if user_id.is_some() && !matches!(error, Error::UserNotFound) {
            open.failure.row["user_id"] = json!(user_id);
        }
        let events = fail(&open, error.code());
        events::write_durably(&events).err().unwrap_or(error)
    }

    fn take(&self) -> Option<Open> {
        OPEN.with_borrow_mut(|all| {
            let place = all.iter().position(|open| open.number == self.0)?;
            Some(all.swap_remove(place))
        })
    }
}

/// As long as only attempts under way keep a counter at its limit, their outcome is waited for: many right passwords at
/// once all get in, of many wrong ones exactly as many as the limit says are looked at.
fn settled(key: Key, limit: &Limit) -> Result<Verdict> {
    let own = OPEN.with_borrow(|all| all.iter().filter(|open| open.has_succeeded && open.counters.have(key)).count());
    match table::begin(key, limit, own as u32)? {
        Verdict::Undecided => table::wait_for(LONGEST_WAIT_MICROSECONDS, || table::begin(key, limit, own as u32)),
        verdict => Ok(verdict),
    }
}

fn over_limit(wait: i64) -> Error {
    Error::OverRequestRateLimit { seconds: seconds(wait) }
}

fn seconds(microseconds: i64) -> i64 {
    microseconds.div_euclid(1_000_000) + 1
}

fn take_back(open: &Open) {
    let shared = open.counters.shared.iter().filter(|_| open.is_shared_open).map(|shared| shared.key);
    // Nothing but a library that is not preloaded fails here, and then there is no counter.
    open.counters.keys().chain(shared).for_each(|key| drop(table::take_back(key)));
}

fn forgive(counters: &Counters) {
    counters.keys().for_each(|key| drop(table::clear(key)));
}

/// Leaves the attempt counted; what the audit says of it, and of the locks that begin.
fn fail(open: &Open, code: &str) -> Vec<Event> {
    let mut events = vec![event(open, |row| {
        row["success"] = json!(false);
        row["code"] = json!(code);
    })];
    for (key, limit) in open.counters.login.iter().chain(&open.counters.spent) {
        drop(table::end_failed(*key, limit, None));
    }
    if let Some((key, limit, lock)) = &open.counters.account
        && let Ok(Some(locked)) = table::end_failed(*key, limit, Some(*lock))
    {
        events.push(lock_event(open, open.secret.locked.unwrap_or_default(), None, locked));
    }
    if let Some(shared) = &open.counters.shared {
        let end = if open.is_shared_open { table::end_failed } else { table::add };
        if let Ok(Some(locked)) = end(shared.key, &shared.limit, shared.first_block) {
            events.push(lock_event(open, "network_blocked", shared.network.as_deref(), locked));
        }
    }
    events
}

fn event(open: &Open, change: impl FnOnce(&mut Value)) -> Event {
    let mut row = open.failure.row.clone();
    change(&mut row);
    Event { table: open.failure.table, row }
}

fn lock_event(open: &Open, event_type: &str, network: Option<&str>, locked: Locked) -> Event {
    event(open, |row| {
        row["event_type"] = json!(event_type);
        row["success"] = json!(true);
        row["code"] = Value::Null;
        if let Some(network) = network {
            row["event_data"] = json!({"network": network});
            row["user_id"] = Value::Null;
        }
        row["event_data"]["seconds"] = json!(locked.microseconds / 1_000_000);
        row["event_data"]["locks"] = json!(locked.locks);
    })
}

/// Its transaction did not commit: what was learnt is not unlearnt by that.
fn lose(open: Open) {
    if !open.is_let_through {
        return take_back(&open);
    }
    if open.is_right && !open.has_succeeded {
        take_back(&open);
        return events::write_soon(&event(&open, |row| {
            row["success"] = json!(false);
            row["code"] = json!("interrupted");
        }));
    }
    fail(&open, if open.has_succeeded { "rolled_back" } else { "aborted" }).iter().for_each(events::write_soon);
}

pub(super) fn follow_transactions() {
    if !REGISTERED.replace(true) {
        // SAFETY: the callbacks below keep to what one may do there.
        unsafe {
            pg_sys::RegisterXactCallback(Some(on_transaction), std::ptr::null_mut());
            pg_sys::RegisterSubXactCallback(Some(on_subtransaction), std::ptr::null_mut());
        }
    }
}

/// Called where nothing may fail any more: only shared memory, a lightweight lock and latches.
unsafe extern "C-unwind" fn on_transaction(event: pg_sys::XactEvent::Type, _argument: *mut std::ffi::c_void) {
    use pg_sys::XactEvent as E;
    let is_commit = match event {
        E::XACT_EVENT_COMMIT => true,
        // Prepared is not committed: ROLLBACK PREPARED would undo it where nobody looks any more.
        E::XACT_EVENT_ABORT | E::XACT_EVENT_PREPARE => false,
        _ => return,
    };
    at_end::transaction_ends(is_commit);
    for open in OPEN.take() {
        if is_commit && open.has_succeeded {
            forgive(&open.counters);
        } else {
            lose(open);
        }
    }
}

unsafe extern "C-unwind" fn on_subtransaction(
    event: pg_sys::SubXactEvent::Type,
    current: pg_sys::SubTransactionId,
    parent: pg_sys::SubTransactionId,
    _argument: *mut std::ffi::c_void,
) {
    use pg_sys::SubXactEvent as E;
    match event {
        E::SUBXACT_EVENT_COMMIT_SUB => {
            OPEN.with_borrow_mut(|all| {
                all.iter_mut()
                    .filter(|open| open.subtransaction == current)
                    .for_each(|open| open.subtransaction = parent);
            });
            at_end::subtransaction_commits(current, parent);
        }
        E::SUBXACT_EVENT_ABORT_SUB => {
            at_end::subtransaction_aborts(current);
            let all = OPEN.take();
            let (lost, kept): (Vec<Open>, Vec<Open>) = all.into_iter().partition(|open| open.subtransaction == current);
            OPEN.set(kept);
            lost.into_iter().for_each(lose);
        }
        _ => {}
    }
}
