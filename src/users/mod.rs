//! Users: the account, its addresses and identities, and the object `user` that every answer carries.
//!
//! Promises: one account per address and audience, decided by a unique index and never by a check before it; no answer
//! holds a hash. Every look-up passes tenant and audience.

mod hint;
mod username;

use pgrx::prelude::*;
use pgrx::{JsonB, extension_sql_file};
use serde_json::{Map, Value};
use uuid::Uuid;

use auth_core::email::Email;
use auth_core::phone::Phone;

use crate::config;
use crate::email_rules;
use crate::hooks::{self, Event};
use crate::platform::backend::{self, from_pg, to_pg};
use crate::platform::error::{Answer, Error, Result};
use crate::platform::query::{Query, Type};
use crate::platform::relation::Relation;

pub use hint::{hint, hint_factor, hinted};
pub use username::{parse_username, public_metadata, set_username};

extension_sql_file!("users.sql", name = "users", requires = ["factors"]);

/// The one tenant and audience of an app's users; others come with organisations.
const INSTANCE: &str = "00000000-0000-0000-0000-000000000000";
pub const AUDIENCE: &str = "authenticated";

const METADATA_MAX_BYTES: usize = 16 * 1024;
const METADATA_MAX_DEPTH: usize = 8;

/// What a sign-in by address needs to know.
pub struct Account {
    pub id: Uuid,
    pub encrypted_password: Option<String>,
    pub is_email_confirmed: bool,
}

/// An account to be made. Whoever fills it has checked each part.
#[derive(Default)]
pub struct NewUser<'a> {
    /// None: a random one.
    pub id: Option<Uuid>,
    pub email: Option<&'a Email>,
    /// E.164 without the plus.
    pub phone: Option<String>,
    pub encrypted_password: Option<&'a str>,
    /// A row of auth.passkeys whose user_id is `id`.
    pub passkey: Option<&'a Value>,
    pub is_email_confirmed: bool,
    pub is_phone_confirmed: bool,
    /// None: authenticated.
    pub role: Option<&'a str>,
    /// Beside provider and providers, which say how the user signs in.
    pub app_metadata: Map<String, Value>,
    pub user_metadata: Map<String, Value>,
    pub is_anonymous: bool,
    pub is_invited: bool,
    /// An administrator makes or invites it: nobody has to approve it.
    pub is_approved: bool,
}

/// What a reader needs to know at every statement.
pub struct Standing {
    /// Microseconds since 2000-01-01.
    pub banned_until: Option<i64>,
    pub is_deleted: bool,
    /// It has an address and nobody has proved any.
    pub is_unconfirmed: bool,
    pub awaits_approval: bool,
}

static USERS: Relation = Relation::new(
    c"users",
    c"users_pkey",
    &[
        c"id",
        c"banned_until",
        c"deleted_at",
        c"email",
        c"email_confirmed_at",
        c"phone_confirmed_at",
        c"awaits_approval",
    ],
);

/// Whether the account may act now, whatever snapshot the caller holds; `None` if there is none.
pub fn standing(id: Uuid) -> Result<Option<Standing>> {
    USERS.find(id.as_bytes(), |row| {
        Some(Standing {
            banned_until: row.time(1),
            is_deleted: row.time(2).is_some(),
            is_unconfirmed: !row.is_null(3) && row.is_null(4) && row.is_null(5),
            awaits_approval: row.get::<bool>(6) == Some(true),
        })
    })
}

impl Standing {
    /// Also before it is approved; at a time in microseconds since 2000-01-01.
    pub fn is_banned(&self, at: i64) -> bool {
        self.awaits_approval || self.banned_until.is_some_and(|until| until > at)
    }
}

/// The account with this address.
pub fn find_by_email(email: &Email) -> Result<Option<Account>> {
    static FIND: Query = Query::write(
        "select id, encrypted_password, email_confirmed_at is not null from auth.users
        where instance_id = $1::uuid and aud = $2 and email_key = $3 and deleted_at is null",
        &[Type::TEXTOID, Type::TEXTOID, Type::TEXTOID],
    );
    FIND.first(&[INSTANCE.into(), AUDIENCE.into(), email.key().into()], |row| {
        Ok(Account {
            id: from_pg(row.required(1)?),
            encrypted_password: row.optional(2)?,
            is_email_confirmed: row.required(3)?,
        })
    })
}

/// The account with this number, proved or not.
pub fn find_by_phone(phone: &Phone) -> Result<Option<Uuid>> {
    static FIND: Query = Query::write(
        "select id from auth.users
        where instance_id = $1::uuid and aud = $2 and phone = $3 and deleted_at is null",
        &[Type::TEXTOID, Type::TEXTOID, Type::TEXTOID],
    );
    FIND.first(&[INSTANCE.into(), AUDIENCE.into(), phone.digits().into()], |row| row.required(1).map(from_pg))
}

/// Holds the account's row until the transaction ends. Whoever opens sessions and whoever ends them does, so that one of the two
/// sees what the other has done.
pub fn hold(id: Uuid) -> Result<()> {
    hold_with(id, None).map(drop)
}

/// As `hold`; whether this is still the account's password, if one is given. None: there is no account any more.
pub fn hold_with(id: Uuid, encrypted_password: Option<&str>) -> Result<Option<bool>> {
    static HOLD: Query = Query::write(
        "select $2 is null or u.encrypted_password is not distinct from $2 from auth.users as u where u.id = $1
        for no key update",
        &[Type::UUIDOID, Type::TEXTOID],
    );
    HOLD.first(&[to_pg(id).into(), encrypted_password.into()], |row| row.required(1))
}

/// What a signed-in user proves themselves by.
pub struct Credentials {
    pub email: Option<Email>,
    pub is_email_confirmed: bool,
    pub encrypted_password: Option<String>,
}

pub fn credentials(id: Uuid) -> Result<Option<Credentials>> {
    static CREDENTIALS: Query = Query::write(
        "select u.email, u.email_confirmed_at is not null, u.encrypted_password
        from auth.users as u
        where u.id = $1 and u.deleted_at is null",
        &[Type::UUIDOID],
    );
    CREDENTIALS.first(&[to_pg(id).into()], |row| {
        Ok(Credentials {
            email: row.optional::<String>(1)?.map(|email| parse_email(&email)).transpose()?,
            is_email_confirmed: row.required(2)?,
            encrypted_password: row.optional(3)?,
        })
    })
}

/// Whether it is a guest.
pub fn is_guest(id: Uuid) -> Result<bool> {
    static GUEST: Query = Query::write(
        "select 1 from auth.users as u where u.id = $1 and u.is_anonymous and u.deleted_at is null",
        &[Type::UUIDOID],
    );
    Ok(GUEST.first(&[to_pg(id).into()], |_| Ok(()))?.is_some())
}

/// Whether it still is one, and stays one until this transaction ends: its row is locked.
pub fn hold_guest(id: Uuid) -> Result<bool> {
    static HOLD: Query = Query::write(
        "select 1 from auth.users as u where u.id = $1 and u.is_anonymous and u.deleted_at is null for update",
        &[Type::UUIDOID],
    );
    Ok(HOLD.first(&[to_pg(id).into()], |_| Ok(()))?.is_some())
}

/// What the account's address is found by; none without an address.
pub fn address_key(id: Uuid) -> Result<Option<String>> {
    static KEY: Query = Query::write("select email_key from auth.users where id = $1", &[Type::UUIDOID]);
    Ok(KEY.first(&[to_pg(id).into()], |row| row.optional(1))?.flatten())
}

/// The object `user` of an answer, with what waits to be confirmed; that of tokens does without.
pub fn object(id: Uuid) -> Result<Option<Value>> {
    static OBJECT: Query = Query::read(
        "select u.object || p.object
        from auth.user_objects as u
        left join lateral (
            select jsonb_strip_nulls(jsonb_build_object(
                'confirmation_sent_at', auth.rfc3339(max(t.created_at) filter (where t.purpose = 'confirmation')),
                'recovery_sent_at', auth.rfc3339(max(t.created_at) filter (where t.purpose in ('recovery', 'magiclink'))),
                'reauthentication_sent_at', auth.rfc3339(max(t.created_at) filter (where t.purpose = 'reauthentication')),
                'email_change_sent_at', auth.rfc3339(max(t.created_at) filter (where t.purpose = 'email_change')),
                'phone_change_sent_at', auth.rfc3339(max(t.created_at) filter (where t.purpose = 'phone_change')),
                'new_phone', (array_agg(t.data ->> 'new_phone' order by t.created_at desc)
                    filter (where t.purpose = 'phone_change'))[1],
                'new_email', (array_agg(t.data ->> 'new_email' order by t.created_at desc)
                    filter (where t.purpose = 'email_change'))[1]
            )) as object
            from auth.one_time_tokens as t
            where t.user_id = u.id and t.expires_at > clock_timestamp()
        ) as p on true
        where u.id = $1 and u.deleted_at is null",
        &[Type::UUIDOID],
    );
    Ok(OBJECT.first(&[to_pg(id).into()], |row| row.required::<JsonB>(1))?.map(|JsonB(user)| user))
}

/// Makes an account; runs the hooks before and after.
pub fn create(new: NewUser<'_>) -> Result<Uuid> {
    static CREATE: Query = Query::write(
        include_str!("create.sql"),
        &[
            Type::UUIDOID,
            Type::TEXTOID,
            Type::TEXTOID,
            Type::TEXTOID,
            Type::TEXTOID,
            Type::TEXTOID,
            Type::TEXTOID,
            Type::JSONBOID,
            Type::JSONBOID,
            Type::BOOLOID,
            Type::BOOLOID,
            Type::BOOLOID,
            Type::BOOLOID,
            Type::BOOLOID,
            Type::JSONBOID,
        ],
    );
    new.email.map_or(Ok(()), check_address)?;
    let id = new.id.map_or_else(backend::uuid_v4, Ok)?;
    let email = new.email.map(Email::address);
    let phone = new.phone.as_deref();
    let role = new.role.unwrap_or("authenticated");
    let app_metadata = with_providers(email, phone, new.app_metadata.clone());
    let awaits_approval = config::current()?.require_approval && !new.is_approved;
    ask_before(id, &new)?;
    let arguments = [
        to_pg(id).into(),
        INSTANCE.into(),
        AUDIENCE.into(),
        role.into(),
        email.into(),
        phone.into(),
        new.encrypted_password.into(),
        JsonB(Value::Object(app_metadata)).into(),
        JsonB(Value::Object(new.user_metadata)).into(),
        new.is_email_confirmed.into(),
        new.is_phone_confirmed.into(),
        new.is_anonymous.into(),
        new.is_invited.into(),
        awaits_approval.into(),
        new.passkey.cloned().map(JsonB).into(),
    ];
    // The address may also be a second one of another account: that index speaks through an error.
    let created =
        PgTryBuilder::new(std::panic::AssertUnwindSafe(|| CREATE.first(&arguments, |row| row.required::<i32>(1))))
            .catch_when(PgSqlErrorCode::ERRCODE_UNIQUE_VIOLATION, |_| Err(Error::EmailExists))
            .execute()?;
    if created.is_none() {
        return Err(what_exists(id, new.email, phone)?);
    }
    let user = object(id)?;
    hooks::run(Event::AfterUserCreated, || {
        serde_json::json!({
            "metadata": {"name": "after-user-created", "time": backend::clock_seconds()},
            "user": user,
        })
    })?;
    Ok(id)
}

/// Runs the hook that may refuse an account; also for one that will not be made, where that must not show.
pub fn ask_before(id: Uuid, new: &NewUser<'_>) -> Result<()> {
    hooks::run(Event::BeforeUserCreated, || {
        let (email, phone) = (new.email.map(Email::address), new.phone.as_deref());
        serde_json::json!({
            "metadata": {"name": "before-user-created", "time": backend::clock_seconds()},
            "user": {
                "id": id, "aud": AUDIENCE, "role": new.role.unwrap_or("authenticated"), "email": email.unwrap_or(""),
                "phone": phone.unwrap_or(""), "app_metadata": with_providers(email, phone, new.app_metadata.clone()),
                "user_metadata": new.user_metadata, "is_anonymous": new.is_anonymous,
            },
        })
    })
    .map(drop)
}

/// What the object of a new account with this address would be; of one that is not made.
pub fn made_up(id: Uuid, email: &Email, user_metadata: &Map<String, Value>) -> Result<Value> {
    static OBJECT: Query = Query::read(
        "select jsonb_build_object(
            'id', $1, 'aud', $2, 'role', 'authenticated', 'email', $3, 'phone', '',
            'app_metadata', '{\"provider\": \"email\", \"providers\": [\"email\"]}'::jsonb, 'user_metadata', $4,
            'is_anonymous', false, 'created_at', n.now, 'updated_at', n.now, 'confirmation_sent_at', n.now,
            'identities', jsonb_build_array(jsonb_build_object(
                'identity_id', gen_random_uuid(), 'id', $1::text, 'user_id', $1, 'provider', 'email', 'email', lower($3),
                'identity_data', jsonb_build_object(
                    'sub', $1, 'email', $3, 'email_verified', false, 'phone_verified', false),
                'last_sign_in_at', null, 'created_at', n.now, 'updated_at', n.now)))
        from auth.rfc3339(clock_timestamp()) as n (now)",
        &[Type::UUIDOID, Type::TEXTOID, Type::TEXTOID, Type::JSONBOID],
    );
    let metadata = JsonB(Value::Object(user_metadata.clone()));
    let arguments = [to_pg(id).into(), AUDIENCE.into(), email.address().into(), metadata.into()];
    OBJECT
        .first(&arguments, |row| row.required::<JsonB>(1))?
        .map(|JsonB(user)| user)
        .ok_or_else(|| Error::Internal("no made-up account".into()))
}

/// How the user signs in, as clients read it; what the caller gave stands above it.
fn with_providers(email: Option<&str>, phone: Option<&str>, given: Map<String, Value>) -> Map<String, Value> {
    let providers: Vec<&str> = email.map(|_| "email").into_iter().chain(phone.map(|_| "phone")).collect();
    let mut app_metadata = Map::new();
    if let Some(first) = providers.first() {
        app_metadata.insert("provider".into(), (*first).into());
        app_metadata.insert("providers".into(), providers.into());
    }
    app_metadata.extend(given);
    app_metadata
}

/// Which unique index refused a row: asked only then, because they all decide together.
fn what_exists(id: Uuid, email: Option<&Email>, phone: Option<&str>) -> Result<Error> {
    static EXISTS: Query = Query::write(
        "select
            exists (select from auth.users
                where instance_id = $1::uuid and aud = $2 and email_key = $3 and deleted_at is null),
            exists (select from auth.users
                where instance_id = $1::uuid and aud = $2 and phone = $4 and deleted_at is null),
            exists (select from auth.users where id = $5)",
        &[Type::TEXTOID, Type::TEXTOID, Type::TEXTOID, Type::TEXTOID, Type::UUIDOID],
    );
    let arguments = [INSTANCE.into(), AUDIENCE.into(), email.map(Email::key).into(), phone.into(), to_pg(id).into()];
    let found = EXISTS
        .first(&arguments, |row| Ok((row.required::<bool>(1)?, row.required::<bool>(2)?, row.required::<bool>(3)?)))?;
    Ok(match found {
        Some((true, ..)) => Error::EmailExists,
        Some((_, true, _)) => Error::PhoneExists,
        Some((.., true)) => Error::UserAlreadyExists,
        // It was there and is gone again.
        _ if email.is_some() => Error::EmailExists,
        _ => Error::PhoneExists,
    })
}

/// Whether the account has one of these roles: its own, or as app_metadata says.
pub fn has_role_of(id: Uuid, roles: &[String]) -> Result<bool> {
    static HAS: Query = Query::write(
        "select from auth.users as u
        where u.id = $1 and (u.role = any ($2) or u.raw_app_meta_data ->> 'role' = any ($2) or u.raw_app_meta_data -> 'roles' ?| $2)",
        &[Type::UUIDOID, Type::TEXTARRAYOID],
    );
    if roles.is_empty() {
        return Ok(false);
    }
    Ok(HAS.first(&[to_pg(id).into(), roles.to_vec().into()], |_| Ok(()))?.is_some())
}

/// Remembers when the user last signed in, and by which identity.
pub fn note_sign_in(id: Uuid, provider: &str) -> Result<()> {
    static NOTE: Query = Query::write(
        "with identity as (
            update auth.identities set last_sign_in_at = clock_timestamp() where user_id = $1 and provider = $2
        )
        update auth.users set last_sign_in_at = clock_timestamp() where id = $1",
        &[Type::UUIDOID, Type::TEXTOID],
    );
    NOTE.execute(&[to_pg(id).into(), provider.into()]).map(drop)
}

/// The two kinds of facts about a user that an app keeps with us.
#[derive(Clone, Copy)]
pub enum Metadata {
    /// What the user sets.
    User,
    /// What only the back end sets.
    App,
}

/// Merges into metadata: a key set, a null removed (RFC 7396 at the top level).
pub fn merge_metadata(id: Uuid, kind: Metadata, changes: Map<String, Value>) -> Result<()> {
    static READ_USER: Query =
        Query::write("select raw_user_meta_data from auth.users where id = $1 for update", &[Type::UUIDOID]);
    static WRITE_USER: Query =
        Query::write("update auth.users set raw_user_meta_data = $2 where id = $1", &[Type::UUIDOID, Type::JSONBOID]);
    static READ_APP: Query =
        Query::write("select raw_app_meta_data from auth.users where id = $1 for update", &[Type::UUIDOID]);
    static WRITE_APP: Query =
        Query::write("update auth.users set raw_app_meta_data = $2 where id = $1", &[Type::UUIDOID, Type::JSONBOID]);
    let (read, write) = match kind {
        Metadata::User => (&READ_USER, &WRITE_USER),
        Metadata::App => (&READ_APP, &WRITE_APP),
    };
    let stored = read.first(&[to_pg(id).into()], |row| row.required::<JsonB>(1))?.ok_or(Error::SessionNotFound)?;
    let mut metadata = match stored {
        JsonB(Value::Object(metadata)) => metadata,
        JsonB(_) => Map::new(),
    };
    for (key, value) in changes {
        match value {
            Value::Null => metadata.remove(&key),
            value => metadata.insert(key, value),
        };
    }
    let metadata = check_metadata(Some(Value::Object(metadata)))?;
    write.execute(&[to_pg(id).into(), JsonB(Value::Object(metadata)).into()]).map(drop)
}

/// Metadata as a client may give it: an object, at most 16 kB and 8 levels deep.
pub fn check_metadata(data: Option<Value>) -> Result<Map<String, Value>> {
    fn depth(value: &Value) -> usize {
        match value {
            Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
            Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
            _ => 0,
        }
    }
    let data = match data {
        None => return Ok(Map::new()),
        Some(data @ Value::Object(_)) => data,
        Some(_) => return Err(Error::invalid("data is not a JSON object", "data is an object such as {}")),
    };
    if depth(&data) > METADATA_MAX_DEPTH {
        return Err(Error::invalid("data is nested too deeply", format!("at most {METADATA_MAX_DEPTH} levels")));
    }
    if data.to_string().len() > METADATA_MAX_BYTES {
        return Err(Error::invalid("data is too large", "metadata is at most 16 kB; keep more in a table of yours"));
    }
    match data {
        Value::Object(data) => Ok(data),
        _ => Ok(Map::new()),
    }
}

#[pg_extern(sql = false, immutable, parallel_safe)]
fn email_key(email: &str) -> Answer<String> {
    Ok(parse_email(email)?.key().to_string())
}

/// The one place where an address becomes one.
pub fn parse_email(text: &str) -> Result<Email> {
    Email::parse(text).map_err(|reason| Error::EmailAddressInvalid(format!("the address {reason}")))
}

/// The one place where a number becomes one.
pub fn parse_phone(text: &str) -> Result<Phone> {
    Phone::parse(text)
        .map_err(|reason| Error::invalid(format!("the phone number {reason}"), "E.164, such as +4915112345678"))
}

/// Refuses an address that no account may take here. Asked again when it is taken, so that no way in forgets it; a flow asks
/// before it spends a hash or a mail.
pub fn check_address(email: &Email) -> Result<()> {
    email_rules::check(email)
}
