//! Signing keys: the current one, those that still verify, rotation and import.

use std::cell::RefCell;
use std::rc::Rc;

use auth_core::jwk::{Algorithm, ImportedKey, KeyError, SigningKey, VerifyingKey, import, thumbprint};
use auth_core::seal::Place;
use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::Value;

use super::root::{Root, root};
use crate::platform::backend;
use crate::platform::error::{Answer, Error, Result};
use crate::platform::options::{self, JsonArgument, given};
use crate::platform::query::{Query, Type};
use crate::platform::relation::{self, Relation};

/// The key that signs now.
pub struct Signing {
    pub kid: String,
    pub key: SigningKey,
}

/// A key that verifies.
pub struct Verifying {
    pub kid: String,
    pub key: VerifyingKey,
    /// Tokens issued after this moment (seconds since 1970) are refused: the key had stopped signing.
    pub retired_at: Option<i64>,
}

#[derive(Default)]
struct Kept {
    generation: u64,
    signing: Option<Rc<Signing>>,
    verifying: Vec<Rc<Verifying>>,
}

thread_local! {
    static KEPT: RefCell<Kept> = RefCell::new(Kept::default());
}

static SIGNING_KEYS: Relation = Relation::cached(
    c"signing_keys",
    c"signing_keys_pkey",
    &[c"kid", c"alg", c"status", c"public_jwk", c"private_sealed", c"retired_at"],
);

fn with_kept<T>(use_kept: impl FnOnce(&mut Kept) -> T) -> Result<T> {
    SIGNING_KEYS.table()?;
    let generation = relation::generation();
    Ok(KEPT.with_borrow_mut(|kept| {
        if kept.generation != generation {
            *kept = Kept { generation, ..Kept::default() };
        }
        use_kept(kept)
    }))
}

/// The key that verifies tokens with this kid. Reads without SPI: on standbys, in parallel workers, as any role.
pub fn verifying(kid: &str) -> Result<Option<Rc<Verifying>>> {
    let kept = with_kept(|kept| kept.verifying.iter().find(|known| known.kid == kid).cloned())?;
    if kept.is_some() {
        return Ok(kept);
    }
    let found = SIGNING_KEYS.every(|row| {
        (row.get::<&str>(0) == Some(kid)).then(|| {
            Ok::<_, Error>((
                algorithm(row.get::<&str>(1).unwrap_or_default())?,
                row.get::<String>(2).unwrap_or_default(),
                row.get::<JsonB>(3).map(|jwk| jwk.0).unwrap_or_default(),
                row.get::<Vec<u8>>(4),
                row.time(5).map(backend::unix_seconds),
            ))
        })
    })?;
    let Some(found) = found else { return Ok(None) };
    let (algorithm, status, public_jwk, private_sealed, retired_at) = found?;
    if status == "revoked" {
        return Ok(None);
    }
    let key = match algorithm {
        Algorithm::Hs256 => {
            let sealed = private_sealed.ok_or_else(|| Error::Internal(format!("key {kid} has no secret")))?;
            VerifyingKey::from_secret(&Root::unchecked()?.open(&place(kid), &sealed)?)
        }
        _ => VerifyingKey::from_jwk(algorithm, &public_jwk),
    };
    let key = Rc::new(Verifying { kid: kid.to_string(), key: key.map_err(unusable)?, retired_at });
    with_kept(|kept| kept.verifying.push(key.clone()))?;
    Ok(Some(key))
}

/// The key that signs; the first is made here, by whoever comes first.
pub fn current() -> Result<Rc<Signing>> {
    static CURRENT: Query =
        Query::write("select kid, alg, private_sealed from auth.signing_keys where status = 'current'", &[]);
    // Taken anew at every use: a keyring that was swapped is noticed even while the key is kept.
    let root = root()?;
    if let Some(signing) = with_kept(|kept| kept.signing.clone())? {
        return Ok(signing);
    }
    let read = || {
        CURRENT.first(&[], |row| {
            let kid: String = row.required(1)?;
            let algorithm = algorithm(&row.required::<String>(2)?)?;
            let private = root.open(&place(&kid), &row.required::<Vec<u8>>(3)?)?;
            Ok(Signing { key: SigningKey::from_private_bytes(algorithm, &private).map_err(unusable)?, kid })
        })
    };
    let mut found = read()?;
    if found.is_none() && super::First::SigningKey.is_made_by_the_worker() {
        found = read()?;
    }
    let signing = match found {
        Some(signing) => signing,
        None => {
            let key = SigningKey::generate(Algorithm::Es256, &backend::random_source()).map_err(unusable)?;
            let kid = new_kid(&key)?;
            insert(&root, &kid, &key.public_jwk(&kid), key.algorithm(), "current", Some(&key))?;
            // Another session may have been first; then its key is the one.
            read()?.ok_or_else(|| Error::Internal("the first signing key cannot be seen; try again".into()))?
        }
    };
    let signing = Rc::new(signing);
    // What an old snapshot shows is good for its transaction only.
    if !backend::snapshot_is_fixed() {
        with_kept(|kept| kept.signing = Some(signing.clone()))?;
    }
    Ok(signing)
}

fn insert(
    root: &Root,
    kid: &str,
    public_jwk: &Value,
    algorithm: Algorithm,
    status: &str,
    private: Option<&SigningKey>,
) -> Result<bool> {
    static INSERT: Query = Query::write(
        "insert into auth.signing_keys (kid, alg, status, public_jwk, private_sealed)
        values ($1, $2, $3, $4, $5) on conflict do nothing",
        &[Type::TEXTOID, Type::TEXTOID, Type::TEXTOID, Type::JSONBOID, Type::BYTEAOID],
    );
    let sealed = private.map(|key| root.seal(&place(kid), key.private_bytes())).transpose()?;
    let inserted = INSERT.execute(&[
        kid.into(),
        algorithm.name().into(),
        status.into(),
        JsonB(public_jwk.clone()).into(),
        sealed.into(),
    ])?;
    Ok(inserted == 1)
}

fn retire_current() -> Result<()> {
    static RETIRE: Query = Query::write(
        "update auth.signing_keys set status = 'previous', retired_at = clock_timestamp() where status = 'current'",
        &[],
    );
    RETIRE.execute(&[]).map(drop)
}

fn place(kid: &str) -> Place<'_> {
    Place { table: "signing_keys", column: "private_sealed", row: kid.as_bytes() }
}

/// RFC 7638 thumbprint; for a symmetric key it would tell about the secret, so that gets a random one.
fn new_kid(key: &SigningKey) -> Result<String> {
    match key.algorithm() {
        Algorithm::Hs256 => Ok(auth_core::base64url::encode(&backend::random::<16>()?)),
        _ => thumbprint(&key.public_jwk("")).ok_or_else(|| Error::Internal("a key has no thumbprint".into())),
    }
}

fn algorithm(name: &str) -> Result<Algorithm> {
    Algorithm::parse(name).ok_or_else(|| Error::Internal(format!("unknown algorithm {name}")))
}

fn unusable(error: KeyError) -> Error {
    match error {
        KeyError::WeakSecret => Error::invalid(
            "the HS256 secret is too short",
            "at least 32 bytes (RFC 7518 section 3.2): head -c 32 /dev/urandom | base64",
        ),
        other => Error::invalid("the key cannot be used", other.to_string()),
    }
}

/// Whether the shared secret with this kid is one that may be guessed; null where there is none, or it does not open.
#[pg_extern(sql = false, stable)]
fn is_weak_key(kid: &str) -> Answer<Option<bool>> {
    static SECRET: Query = Query::read(
        "select private_sealed from auth.signing_keys where kid = $1 and alg = 'HS256' and private_sealed is not null",
        &[Type::TEXTOID],
    );
    let sealed = SECRET.first(&[kid.into()], |row| row.required::<Vec<u8>>(1))?;
    let opened = sealed.and_then(|sealed| Root::unchecked().ok()?.open(&place(kid), &sealed).ok());
    Ok(opened.map(|secret| auth_core::strength::is_weak(&secret)))
}

#[pg_extern(sql = false)]
fn rotate_signing_key(alg: Option<&str>) -> Answer<JsonB> {
    backend::must_write()?;
    let algorithm = match alg.unwrap_or("ES256") {
        "ES256" => Algorithm::Es256,
        "EdDSA" => Algorithm::EdDsa,
        _ => return Err(Error::invalid("no new key of this algorithm", "algorithms are: ES256, EdDSA").into()),
    };
    let root = root()?;
    let key = SigningKey::generate(algorithm, &backend::random_source()).map_err(unusable)?;
    let kid = new_kid(&key)?;
    let public_jwk = key.public_jwk(&kid);
    retire_current()?;
    insert(&root, &kid, &public_jwk, algorithm, "current", Some(&key))?;
    Ok(JsonB(public_jwk))
}

#[pg_extern(sql = false)]
fn import_signing_key(jwk: JsonArgument) -> Answer<JsonB> {
    crate::platform::silence::call_is_secret();
    backend::must_write()?;
    let ImportedKey { algorithm, kid, public_jwk, signing } =
        import(&given(options::json(jwk)?, "jwk")?).map_err(unusable)?;
    let kid = match (kid, &signing) {
        (Some(kid), _) => kid,
        (None, Some(key)) => new_kid(key)?,
        (None, None) => {
            thumbprint(&public_jwk).ok_or_else(|| Error::invalid("the key has no thumbprint", "give it a kid"))?
        }
    };
    let mut public_jwk = public_jwk;
    public_jwk["kid"] = kid.clone().into();
    let status = if signing.is_some() { "current" } else { "previous" };
    let root = root()?;
    if signing.is_some() {
        retire_current()?;
    }
    if !insert(&root, &kid, &public_jwk, algorithm, status, signing.as_ref())? {
        return Err(Error::invalid("a key with this kid is here already", "give the key another kid").into());
    }
    Ok(JsonB(public_jwk))
}
