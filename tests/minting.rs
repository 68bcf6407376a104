//! What the tests of identity share: tokens made by hand, a table with a policy, and ways to ask who is asking.

use auth_harness::{Client, Database, GenericClient, Person, Refusal, postgres, refused, sign_up};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};
use uuid::Uuid;

pub const PASSWORD: &str = "correct horse battery";

pub fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn decoded(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// A token with any header and payload under an HMAC.
pub fn hmac_token(secret: &[u8], header: &str, payload: &str) -> String {
    let signed = format!("{}.{}", encoded(header), encoded(payload));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
    format!("{signed}.{}", encoded(tag))
}

/// A signing key of the database whose secret the test knows: only so can a token have a good signature and bad claims.
pub struct Mint {
    pub secret: [u8; 32],
    pub kid: String,
}

impl Mint {
    /// Imports the key, which then is the current one.
    pub fn install(database: &Database) -> Mint {
        let mint = Mint { secret: *b"0123456789abcdef0123456789abcdef", kid: format!("mint-{}", Uuid::new_v4()) };
        let jwk = json!({"kty": "oct", "alg": "HS256", "k": encoded(mint.secret), "kid": mint.kid});
        database.admin().execute("select auth.import_signing_key($1)", &[&jwk]).unwrap();
        mint
    }

    pub fn header(&self) -> String {
        json!({"alg": "HS256", "typ": "JWT", "kid": self.kid}).to_string()
    }

    pub fn token(&self, claims: &Value) -> String {
        self.token_of_text(&claims.to_string())
    }

    /// Claims as text, for JSON that serde_json would not write.
    pub fn token_of_text(&self, claims: &str) -> String {
        hmac_token(&self.secret, &self.header(), claims)
    }
}

/// The claims with some of them replaced; null removes one.
pub fn changed(claims: &Value, changes: Value) -> Value {
    let mut claims = claims.clone();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    claims
}

/// Seconds since 1970 by the server's clock.
pub fn server_seconds(client: &mut impl GenericClient) -> i64 {
    client.query_one("select floor(extract(epoch from clock_timestamp()))::bigint", &[]).unwrap().get(0)
}

pub fn alice_and_bob(database: &Database) -> (Person, Person) {
    let mut app = database.app();
    (sign_up(&mut app, "alice@example.org", PASSWORD), sign_up(&mut app, "bob@example.org", PASSWORD))
}

/// `auth.uid()` under whatever the connection carries.
pub fn uid(client: &mut impl GenericClient) -> Result<Option<Uuid>, postgres::Error> {
    client.query_one("select auth.uid()", &[]).map(|row| row.get(0))
}

pub fn text(client: &mut impl GenericClient, sql: &str) -> Option<String> {
    client.query_one(sql, &[]).unwrap().get(0)
}

pub fn count(client: &mut impl GenericClient, sql: &str) -> i64 {
    client.query_one(sql, &[]).unwrap().get(0)
}

/// Carries the token until the transaction ends, without the entry function that would judge it first.
pub fn carry(client: &mut impl GenericClient, token: &str) {
    client.execute("select set_config('auth.token', $1, true)", &[&token]).unwrap();
}

#[track_caller]
pub fn assert_refused<T>(result: Result<T, postgres::Error>, sqlstate: &str, code: &str, what: &str) -> Refusal {
    let refusal = refused(result);
    assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), (sqlstate, code), "{what}: {}", refusal.message);
    refusal
}

/// Every door that takes a token says the same: the entry function, the check without effect, and the bare setting.
#[track_caller]
pub fn refused_at_every_door(client: &mut Client, token: &str, code: &str, what: &str) {
    let verified = client.execute("select auth.verify_token($1)", &[&token]);
    assert_refused(verified, "28000", code, &format!("{what}, verify_token"));

    let mut transaction = client.transaction().unwrap();
    let entered = transaction.execute("select auth.authenticate($1)", &[&token]);
    assert_refused(entered, "28000", code, &format!("{what}, authenticate"));
    transaction.rollback().unwrap();

    let mut transaction = client.transaction().unwrap();
    carry(&mut transaction, token);
    assert_refused(uid(&mut transaction), "28000", code, &format!("{what}, auth.token"));
    transaction.rollback().unwrap();
}

/// A table as an app has it: everyone their own rows, one note of each person, one of nobody.
pub fn notes(database: &Database, people: &[&Person]) {
    let mut superuser = database.superuser();
    superuser
        .batch_execute(
            "create table notes (owner uuid default auth.uid(), body text);
            create index on notes (owner);
            insert into notes values (null, 'nobody''s');
            alter table notes enable row level security;
            create policy own on notes to authenticated
                using (auth.uid() = owner) with check (auth.uid() = owner);
            grant select, insert on notes to anon, authenticated, service_role",
        )
        .unwrap();
    for person in people {
        superuser.execute("insert into notes values ($1, $2)", &[&person.user_id, &person.email]).unwrap();
    }
}

/// The bodies of the notes that the connection sees.
pub fn seen(client: &mut impl GenericClient) -> Result<Vec<String>, postgres::Error> {
    let rows = client.query("select body from notes order by 1", &[])?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
