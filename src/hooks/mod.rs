//! Hooks: an app's own functions at fixed events, in the caller's transaction.
//!
//! Promises: a hook that raises undoes the whole flow; it runs as its own owner with `search_path = pg_catalog, pg_temp`.
//! Threats: run as `auth_owner`, an app's function could read every hash; run as a superuser, whoever may replace it would
//! be one. So a superuser's function is refused, when it is added and again at every call.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use pgrx::prelude::*;
use pgrx::{JsonB, extension_sql_file};
use serde_json::Value;

use crate::platform::backend;
use crate::platform::error::{Answer, Error, Result};
use crate::platform::options::given;
use crate::platform::query::{Query, Type};
use crate::platform::relation::{self, Relation};

extension_sql_file!("hooks.sql", name = "hooks", requires = ["keys"]);

#[derive(Clone, Copy)]
pub enum Event {
    BeforeUserCreated,
    AfterUserCreated,
    CustomAccessToken,
    MfaVerificationAttempt,
}

impl Event {
    const ALL: [Event; 4] =
        [Event::BeforeUserCreated, Event::AfterUserCreated, Event::CustomAccessToken, Event::MfaVerificationAttempt];

    fn name(self) -> &'static str {
        match self {
            Event::BeforeUserCreated => "before_user_created",
            Event::AfterUserCreated => "after_user_created",
            Event::CustomAccessToken => "custom_access_token",
            Event::MfaVerificationAttempt => "mfa_verification_attempt",
        }
    }
}

/// A function that may be a hook, as the catalog has it now.
struct Function {
    owner: pg_sys::Oid,
    call: String,
}

/// Runs the hook of this event, if there is one; what it returned, null as `None`.
///
/// An answer with a member `error`, as hooks of Supabase Auth give it, is a refusal like a raised one.
pub fn run(event: Event, payload: impl FnOnce() -> Value) -> Result<Option<Value>> {
    let Some(name) = registered(event)? else { return Ok(None) };
    let function = resolve(&name)?;
    let answer = as_owner(function.owner, || -> Result<Option<JsonB>> {
        Spi::connect_mut(|client| {
            let table = client.update(function.call.as_str(), Some(1), &[JsonB(payload()).into()])?;
            Ok(table.first().get_one::<JsonB>()?)
        })
    })?;
    match answer {
        Some(JsonB(answer)) => {
            if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
                let message = error.get("message").and_then(Value::as_str).unwrap_or("refused by a hook");
                return Err(Error::invalid(message, format!("hook {name} refused it")));
            }
            Ok(Some(answer))
        }
        None => Ok(None),
    }
}

static HOOKS: Relation = Relation::cached(c"hooks", c"hooks_pkey", &[c"event", c"function"]);

thread_local! {
    static KEPT: RefCell<(u64, Rc<HashMap<String, String>>)> = RefCell::new((0, Rc::default()));
}

/// The function of this event. Asked at every token, so a backend keeps the few rows there are.
fn registered(event: Event) -> Result<Option<String>> {
    HOOKS.table()?;
    let generation = relation::generation();
    let mut hooks = KEPT.with_borrow(|kept| (kept.0 == generation).then(|| kept.1.clone()));
    if hooks.is_none() {
        let mut found = HashMap::new();
        HOOKS.every(|row| {
            found.insert(row.get::<String>(0).unwrap_or_default(), row.get::<String>(1).unwrap_or_default());
            None::<()>
        })?;
        let found = Rc::new(found);
        KEPT.set((generation, found.clone()));
        hooks = Some(found);
    }
    Ok(hooks.and_then(|hooks| hooks.get(event.name()).cloned()))
}

/// Finds a function by the name that is stored; refuses one that a superuser owns.
fn resolve(name: &str) -> Result<Function> {
    static RESOLVE: Query = Query::read(
        "select p.proowner, format('select %I.%I($1)', n.nspname, p.proname), r.rolsuper or r.rolname = 'auth_owner'
        from pg_catalog.pg_proc as p
        join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
        join pg_catalog.pg_roles as r on r.oid = p.proowner
        where array[n.nspname::text, p.proname::text] = parse_ident($1)
            and p.pronargs = 1 and p.proargtypes[0] = 'jsonb'::regtype
            and p.prorettype = 'jsonb'::regtype and p.prokind = 'f' and not p.proretset",
        &[Type::TEXTOID],
    );
    let found = PgTryBuilder::new(|| {
        RESOLVE.first(&[name.into()], |row| {
            Ok((row.required::<pg_sys::Oid>(1)?, row.required::<String>(2)?, row.required::<bool>(3)?))
        })
    })
    .catch_when(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, |_| Ok(None))
    .execute()?;
    match found {
        Some((_, _, true)) => Err(Error::HookOfSuperuser(name.into())),
        Some((owner, call, false)) => Ok(Function { owner, call }),
        None => Err(Error::invalid(
            format!("hook {name} does not exist"),
            "create function your_schema.your_function(event jsonb) returns jsonb; and name it with its schema",
        )),
    }
}

/// Works as another role, as a SECURITY DEFINER function of that role would: SET ROLE is refused inside.
fn as_owner<T>(owner: pg_sys::Oid, work: impl FnOnce() -> Result<T>) -> Result<T> {
    // SAFETY: the user id is put back on the way out; after an ERROR the abort of the (sub)transaction does it.
    unsafe {
        let (mut user, mut context) = (pg_sys::Oid::INVALID, 0);
        pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
        pg_sys::SetUserIdAndSecContext(owner, context | pg_sys::SECURITY_LOCAL_USERID_CHANGE as i32);
        let result = backend::with_safe_path(work);
        pg_sys::SetUserIdAndSecContext(user, context);
        result
    }
}

fn known(event: &str) -> Result<Event> {
    Event::ALL.into_iter().find(|known| known.name() == event).ok_or_else(|| {
        let names = Event::ALL.map(Event::name).join(", ");
        Error::invalid("unknown event", format!("events are: {names}"))
    })
}

#[pg_extern(sql = false)]
fn add_hook(event: Option<&str>, function: Option<&str>) -> Answer<()> {
    static ADD: Query = Query::write(
        "insert into auth.hooks (event, function) values ($1, $2)
        on conflict (event) do update
        set function = excluded.function, created_by = excluded.created_by, created_at = excluded.created_at",
        &[Type::TEXTOID, Type::TEXTOID],
    );
    backend::must_write()?;
    let event = known(given(event, "event")?)?;
    let function = given(function, "function")?;
    resolve(function)?;
    ADD.execute(&[event.name().into(), function.into()])?;
    Ok(())
}

#[pg_extern(sql = false)]
fn remove_hook(event: Option<&str>) -> Answer<()> {
    static REMOVE: Query = Query::write("delete from auth.hooks where event = $1", &[Type::TEXTOID]);
    backend::must_write()?;
    let event = known(given(event, "event")?)?;
    match REMOVE.execute(&[event.name().into()])? {
        0 => Err(Error::invalid("no hook is set for this event", "auth.hooks lists them").into()),
        _ => Ok(()),
    }
}
