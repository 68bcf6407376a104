//! What nearly every test does with a connection.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use postgres::types::ToSql;
use postgres::{Client, GenericClient, Transaction};
use serde_json::Value;
use uuid::Uuid;

/// How the server said no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub sqlstate: String,
    /// The stable code word, which travels in DETAIL; empty where PostgreSQL itself refused.
    pub code: String,
    pub message: String,
    pub hint: Option<String>,
}

/// The refusal that this must have been; panics if it was answered, or failed on the way.
#[track_caller]
pub fn refused<T>(result: Result<T, postgres::Error>) -> Refusal {
    let error = match result {
        Ok(_) => panic!("not refused: it was answered with a {}", std::any::type_name::<T>()),
        Err(error) => error,
    };
    match error.as_db_error() {
        Some(refusal) => Refusal {
            sqlstate: refusal.code().code().to_owned(),
            code: refusal.detail().unwrap_or_default().to_owned(),
            message: refusal.message().to_owned(),
            hint: refusal.hint().map(str::to_owned),
        },
        None => panic!("not refused by the server, but failed: {error}"),
    }
}

/// The first column of the only row, which is json or jsonb; SQL NULL is `Value::Null`.
#[track_caller]
pub fn json(client: &mut impl GenericClient, sql: &str, args: &[&(dyn ToSql + Sync)]) -> Value {
    match client.query_one(sql, args) {
        Ok(row) => row.get::<_, Option<Value>>(0).unwrap_or(Value::Null),
        Err(error) => panic!("{sql}: {}", described(&error)),
    }
}

/// Someone with an account and a session.
#[derive(Clone)]
pub struct Person {
    pub email: String,
    pub password: String,
    pub user_id: Uuid,
    pub access_token: String,
    pub refresh_token: String,
    pub session_id: Uuid,
}

#[track_caller]
pub fn sign_up(client: &mut impl GenericClient, email: &str, password: &str) -> Person {
    let answer = json(client, "select auth.sign_up($1, $2)", &[&email, &password]);
    person(email, password, &answer)
}

#[track_caller]
pub fn sign_in(client: &mut impl GenericClient, email: &str, password: &str) -> Person {
    let answer = json(client, "select auth.sign_in($1, $2)", &[&email, &password]);
    person(email, password, &answer)
}

/// Runs one transaction as the owner of the token, and commits it.
#[track_caller]
pub fn acting<T>(client: &mut Client, token: &str, act: impl FnOnce(&mut Transaction<'_>) -> T) -> T {
    match try_acting(client, token, |transaction| Ok(act(transaction))) {
        Ok(answer) => answer,
        Err(error) => panic!("acting with a token: {}", described(&error)),
    }
}

/// As `acting`, for where the token, the act or the commit may be refused; a refused act is rolled back.
pub fn try_acting<T>(
    client: &mut Client,
    token: &str,
    act: impl FnOnce(&mut Transaction<'_>) -> Result<T, postgres::Error>,
) -> Result<T, postgres::Error> {
    let mut transaction = client.transaction()?;
    transaction.execute("select auth.authenticate($1)", &[&token])?;
    let answer = act(&mut transaction)?;
    transaction.commit()?;
    Ok(answer)
}

/// The claims of a token, unverified: for tests that compare, never for one that trusts.
#[track_caller]
pub fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("a token has three parts");
    let payload = URL_SAFE_NO_PAD.decode(payload).expect("a token's payload is base64url");
    serde_json::from_slice(&payload).expect("a token's payload is json")
}

#[track_caller]
fn person(email: &str, password: &str, answer: &Value) -> Person {
    assert_eq!(answer["status"], "session", "{email} was answered without a session");
    let text = |value: &Value, what: &str| match value.as_str() {
        Some(text) => text.to_owned(),
        None => panic!("the session answer has no {what}"),
    };
    let id = |value: &Value, what: &str| text(value, what).parse().expect("an id is a uuid");
    let access_token = text(&answer["access_token"], "access_token");
    Person {
        email: email.to_owned(),
        password: password.to_owned(),
        user_id: id(&answer["user"]["id"], "user.id"),
        session_id: id(&claims(&access_token)["session_id"], "session_id in its token"),
        refresh_token: text(&answer["refresh_token"], "refresh_token"),
        access_token,
    }
}

/// An error of the driver says little more than `db error`; this is what the server said.
pub(crate) fn described(error: &postgres::Error) -> String {
    match error.as_db_error() {
        Some(refusal) => {
            format!("{} {} ({})", refusal.code().code(), refusal.message(), refusal.detail().unwrap_or("no detail"),)
        }
        None => error.to_string(),
    }
}
