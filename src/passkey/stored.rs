//! The rows of passkeys.

use auth_core::base64url;
use auth_core::webauthn::Registered;
use pgrx::JsonB;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::platform::backend::{from_pg, to_pg};
use crate::platform::error::{Error, Result};
use crate::platform::query::{Query, Type};

/// What verifying a sign-in needs.
pub struct Passkey {
    pub id: Uuid,
    pub user_id: Uuid,
    pub public_key: Vec<u8>,
    pub is_backup_eligible: bool,
}

pub fn find(credential_id: &[u8]) -> Result<Option<Passkey>> {
    static FIND: Query = Query::write(
        "select p.id, p.user_id, p.public_key, p.backup_eligible from auth.passkeys as p where p.credential_id = $1",
        &[Type::BYTEAOID],
    );
    FIND.first(&[credential_id.into()], |row| {
        Ok(Passkey {
            id: from_pg(row.required(1)?),
            user_id: from_pg(row.required(2)?),
            public_key: row.required(3)?,
            is_backup_eligible: row.required(4)?,
        })
    })
}

/// The counter that a passkey was refused for: one that has been used already, so that there may be two of it.
pub struct RolledBack;

/// Notes a use; refused where the counter does not go on. An authenticator without one always says 0.
pub fn note_use(id: Uuid, sign_count: u32, is_backed_up: bool) -> Result<std::result::Result<(), RolledBack>> {
    static NOTE: Query = Query::write(
        "update auth.passkeys
        set sign_count = $2, backed_up = $3, last_used_at = clock_timestamp()
        where id = $1 and (sign_count < $2 or (sign_count = 0 and $2 = 0))",
        &[Type::UUIDOID, Type::INT8OID, Type::BOOLOID],
    );
    let noted = NOTE.execute(&[to_pg(id).into(), i64::from(sign_count).into(), is_backed_up.into()])?;
    Ok(if noted == 1 { Ok(()) } else { Err(RolledBack) })
}

/// Adds a passkey; none where anybody has one with this id.
pub fn add(user_id: Uuid, made: &Registered, name: Option<&str>) -> Result<Option<Uuid>> {
    static ADD: Query = Query::write(
        "insert into auth.passkeys
            (user_id, credential_id, public_key, sign_count, transports, aaguid, backup_eligible, backed_up, uv,
            friendly_name)
        select $1, $2, $3, $4, $5, nullif($6, '00000000-0000-0000-0000-000000000000'), $7, $8, $9, $10
        where not exists (select from auth.mfa_factors as f where f.credential_id = $2)
        on conflict (credential_id) do nothing
        returning id",
        &[
            Type::UUIDOID,
            Type::BYTEAOID,
            Type::BYTEAOID,
            Type::INT8OID,
            Type::TEXTARRAYOID,
            Type::UUIDOID,
            Type::BOOLOID,
            Type::BOOLOID,
            Type::BOOLOID,
            Type::TEXTOID,
        ],
    );
    let arguments = [
        to_pg(user_id).into(),
        made.credential_id.as_slice().into(),
        made.public_key.as_slice().into(),
        i64::from(made.sign_count).into(),
        made.transports.clone().into(),
        to_pg(Uuid::from_bytes(made.aaguid)).into(),
        made.is_backup_eligible.into(),
        made.is_backed_up.into(),
        made.user_is_verified.into(),
        name.into(),
    ];
    ADD.first(&arguments, |row| row.required(1).map(from_pg))
}

/// Takes back one that was added, as a row of JSON.
pub fn take_back(id: Uuid) -> Result<Value> {
    static TAKE_BACK: Query =
        Query::write("delete from auth.passkeys as p where p.id = $1 returning to_jsonb(p)", &[Type::UUIDOID]);
    let row = TAKE_BACK.first(&[to_pg(id).into()], |row| row.required::<JsonB>(1))?;
    row.map(|JsonB(row)| row).ok_or_else(|| Error::Internal("a new passkey is gone".into()))
}

pub fn count(user_id: Uuid) -> Result<i64> {
    static COUNT: Query =
        Query::write("select count(*) from auth.passkeys as p where p.user_id = $1", &[Type::UUIDOID]);
    Ok(COUNT.first(&[to_pg(user_id).into()], |row| row.required(1))?.unwrap_or(0))
}

/// As browsers are told of credentials (PublicKeyCredentialDescriptorJSON).
pub fn descriptors(user_id: Uuid) -> Result<Vec<Value>> {
    static ALL: Query = Query::write(
        "select p.credential_id, p.transports from auth.passkeys as p where p.user_id = $1 order by p.created_at, p.id",
        &[Type::UUIDOID],
    );
    let mut descriptors = Vec::new();
    ALL.each(&[to_pg(user_id).into()], |row| {
        let transports: Vec<String> = row.required(2)?;
        descriptors.push(descriptor(&row.required::<Vec<u8>>(1)?, &transports));
        Ok(())
    })?;
    Ok(descriptors)
}

pub fn descriptor(credential_id: &[u8], transports: &[impl AsRef<str>]) -> Value {
    let transports: Vec<&str> = transports.iter().map(AsRef::as_ref).collect();
    json!({"type": "public-key", "id": base64url::encode(credential_id), "transports": transports})
}

/// The passkeys of an account as callers see them; of one, if it is named.
pub fn objects(user_id: Uuid, only: Option<Uuid>) -> Result<Value> {
    static OBJECTS: Query = Query::write(
        "select coalesce(jsonb_agg(to_jsonb(p)
            || jsonb_build_object('created_at', auth.rfc3339(p.created_at), 'last_used_at', auth.rfc3339(p.last_used_at))
            order by p.created_at, p.id), '[]')
        from auth.passkeys_of($1) as p where $2 is null or p.id = $2",
        &[Type::UUIDOID, Type::UUIDOID],
    );
    let objects = OBJECTS.first(&[to_pg(user_id).into(), only.map(to_pg).into()], |row| row.required::<JsonB>(1))?;
    Ok(objects.map_or_else(|| json!([]), |JsonB(objects)| objects))
}

/// Renames one of the account's; whether it is there.
pub fn rename(user_id: Uuid, id: Uuid, name: Option<&str>) -> Result<bool> {
    static RENAME: Query = Query::write(
        "update auth.passkeys set friendly_name = $3 where id = $2 and user_id = $1",
        &[Type::UUIDOID, Type::UUIDOID, Type::TEXTOID],
    );
    Ok(RENAME.execute(&[to_pg(user_id).into(), to_pg(id).into(), name.into()])? == 1)
}

/// Deletes one of the account's; whether it was there.
pub fn remove(user_id: Uuid, id: Uuid) -> Result<bool> {
    static REMOVE: Query =
        Query::write("delete from auth.passkeys where id = $2 and user_id = $1", &[Type::UUIDOID, Type::UUIDOID]);
    Ok(REMOVE.execute(&[to_pg(user_id).into(), to_pg(id).into()])? == 1)
}
