//! Which addresses may have an account: domains that are blocked, domains that alone are allowed, and what the settings say of
//! disposable domains and sub-addresses.
//!
//! Promises: the same rules for every way that an address comes in, asked before a hash or a mail is spent on it. Threats:
//! a domain written in another way than the rule; a rule that reaches further than it says.

use pgrx::extension_sql_file;
use pgrx::prelude::*;

use auth_core::disposable::is_disposable;
use auth_core::email::Email;

use crate::config;
use crate::platform::backend;
use crate::platform::error::{Answer, Error, Result};
use crate::platform::options::given;
use crate::platform::query::{Query, Type};

extension_sql_file!("email_rules.sql", name = "email_rules", requires = ["hooks"]);

const LONGEST_REASON: usize = 1000;

/// Refuses an address that no new account may have. A block counts whatever allows it.
pub fn check(email: &Email) -> Result<()> {
    static RULES: Query = Query::write(
        "select
            coalesce(bool_or(r.action = 'block'), false),
            coalesce(bool_or(r.action = 'allow'), false),
            exists (select from auth.email_rules as a where a.action = 'allow')
        from auth.email_rules as r
        where r.domain = any ($1)",
        &[Type::TEXTARRAYOID],
    );
    let rules = RULES.first(&[patterns(email.domain()).into()], |row| {
        Ok((row.required::<bool>(1)?, row.required::<bool>(2)?, row.required::<bool>(3)?))
    })?;
    let (is_blocked, is_allowed, only_allowed) = rules.unwrap_or_default();
    let config = config::current()?;
    let is_welcome = !is_blocked
        && (is_allowed || !only_allowed)
        && (is_allowed || !config.blocks_disposable || !is_disposable(email.domain()))
        && (!config.blocks_subaddress || !email.has_subaddress());
    if is_welcome { Ok(()) } else { Err(Error::EmailAddressNotAuthorized) }
}

/// The rules that would name a domain: itself, and everything below each of its parents.
fn patterns(domain: &str) -> Vec<String> {
    let parents = domain.match_indices('.').map(|(at, _)| format!("*{}", &domain[at..]));
    std::iter::once(domain.to_string()).chain(parents).collect()
}

/// A domain as rules name it: the same as in the key of an address.
fn normal(domain: &str) -> Result<String> {
    let (prefix, rest) = domain.strip_prefix("*.").map_or(("", domain), |rest| ("*.", rest));
    // A domain of one label, as in *.test, has a dot only where something stands before it.
    let (probe, cut) = if prefix.is_empty() { (format!("x@{rest}"), 0) } else { (format!("x@x.{rest}"), 2) };
    match Email::parse(&probe) {
        Ok(email) => Ok(format!("{prefix}{}", &email.domain()[cut..])),
        Err(_) => Err(Error::invalid("domain is no domain", "such as example.org, or *.example.org for all below it")),
    }
}

#[pg_extern(sql = false)]
fn add_email_rule(domain: Option<&str>, action: Option<&str>, reason: Option<&str>) -> Answer<()> {
    static ADD: Query = Query::write(
        "insert into auth.email_rules (domain, action, reason) values ($1, $2, $3)
        on conflict (domain) do update
        set action = excluded.action, reason = excluded.reason, created_at = excluded.created_at",
        &[Type::TEXTOID, Type::TEXTOID, Type::TEXTOID],
    );
    backend::must_write()?;
    let domain = normal(given(domain, "domain")?)?;
    let action = given(action, "action")?;
    if !["allow", "block"].contains(&action) {
        return Err(Error::invalid("unknown action", "actions are: allow, block").into());
    }
    if reason.is_some_and(|reason| reason.len() > LONGEST_REASON) {
        return Err(Error::invalid("reason is too long", format!("at most {LONGEST_REASON} bytes")).into());
    }
    ADD.execute(&[domain.into(), action.into(), reason.into()])?;
    Ok(())
}

#[pg_extern(sql = false)]
fn remove_email_rule(domain: Option<&str>) -> Answer<()> {
    static REMOVE: Query = Query::write("delete from auth.email_rules where domain = $1", &[Type::TEXTOID]);
    backend::must_write()?;
    let domain = normal(given(domain, "domain")?)?;
    match REMOVE.execute(&[domain.into()])? {
        0 => Err(Error::invalid("no rule names this domain", "auth.email_rules lists them").into()),
        _ => Ok(()),
    }
}
