//! Identity that somebody in between carries: PostgREST's headers, a trusted proxy's claims, a whole connection's token.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use auth_harness::{
    Client, Cluster, Database, Person, Transaction, claims, json, postgres, refused, sign_in, sign_up, try_acting,
    wait_until,
};
use serde_json::{Value, json};

use crate::minting::{PASSWORD, alice_and_bob, assert_refused, carry, changed, notes, seen, server_seconds, text, uid};

fn with_headers(transaction: &mut Transaction<'_>, headers: &Value) {
    transaction.execute("select set_config('request.headers', $1, true)", &[&headers.to_string()]).unwrap();
}

fn bearer(token: &str) -> Value {
    json!({"authorization": format!("Bearer {token}"), "accept": "*/*"})
}

/// N05: PostgREST hands on the raw bearer, and we verify it again; what it claims beside it counts for nothing.
#[test]
fn the_bearer_in_the_headers_is_verified() {
    let database = Cluster::shared().database();
    let (alice, bob) = alice_and_bob(&database);
    notes(&database, &[&alice, &bob]);
    let mut app = database.app();

    // As PostgREST does it: everything in one call, then the role.
    let mut transaction = app.transaction().unwrap();
    let lie = json!({"sub": alice.user_id.to_string(), "role": "authenticated"}).to_string();
    transaction
        .execute(
            "select set_config('role', 'authenticated', true), set_config('request.jwt.claims', $1, true),
                set_config('request.headers', $2, true)",
            &[&lie, &bearer(&bob.access_token).to_string()],
        )
        .unwrap();
    assert_eq!(uid(&mut transaction).unwrap(), Some(bob.user_id));
    assert_eq!(seen(&mut transaction).unwrap(), ["bob@example.org"]);
    assert_eq!(json(&mut transaction, "select auth.jwt()", &[]), claims(&bob.access_token));
    transaction.commit().unwrap();
    assert_eq!(uid(&mut app).unwrap(), None, "the next request starts as nobody");

    let (parts, other) = (bob.access_token.rsplit_once('.').unwrap(), alice.access_token.rsplit_once('.').unwrap());
    let forged = format!("{}.{}", other.0, parts.1);
    let refused_headers = [
        ("forged", bearer(&forged)),
        ("garbage", bearer("garbage")),
        ("a refresh token", bearer(&bob.refresh_token)),
        ("two tokens", bearer(&format!("{} {}", bob.access_token, bob.access_token))),
        ("no JSON object", json!("headers")),
    ];
    for (what, headers) in refused_headers {
        let mut transaction = app.transaction().unwrap();
        if headers.is_string() {
            transaction.batch_execute("set local request.headers = 'no json'").unwrap();
        } else {
            with_headers(&mut transaction, &headers);
        }
        assert_refused(uid(&mut transaction), "28000", "bad_jwt", what);
    }

    let nobody = [
        ("no bearer", json!({"accept": "*/*"})),
        ("another scheme", json!({"authorization": format!("Basic {}", bob.access_token)})),
        ("an empty bearer", json!({"authorization": "Bearer "})),
        ("another header", json!({"x-forwarded-authorization": format!("Bearer {}", bob.access_token)})),
    ];
    for (what, headers) in nobody {
        let mut transaction = app.transaction().unwrap();
        with_headers(&mut transaction, &headers);
        assert_eq!(uid(&mut transaction).unwrap(), None, "{what}");
    }

    // RFC 9110 section 11.1: the scheme's case does not matter. The setting of our own wins over the header.
    let mut transaction = app.transaction().unwrap();
    with_headers(&mut transaction, &json!({"authorization": format!("bearer {}", bob.access_token)}));
    assert_eq!(uid(&mut transaction).unwrap(), Some(bob.user_id));
    carry(&mut transaction, &alice.access_token);
    assert_eq!(uid(&mut transaction).unwrap(), Some(alice.user_id));
    transaction.rollback().unwrap();

    // Whoever asks to be anon is nobody, whatever the request came with.
    let mut transaction = app.transaction().unwrap();
    with_headers(&mut transaction, &bearer(&bob.access_token));
    transaction.execute("select auth.authenticate(null)", &[]).unwrap();
    assert_eq!(uid(&mut transaction).unwrap(), None, "authenticate(null) under a bearer");
    transaction.rollback().unwrap();

    database.superuser().execute("delete from auth.sessions where id = $1", &[&bob.session_id]).unwrap();
    let mut transaction = app.transaction().unwrap();
    with_headers(&mut transaction, &bearer(&bob.access_token));
    assert_refused(uid(&mut transaction), "28000", "session_not_found", "a bearer whose session was ended");
}

/// F182: PostgREST sends a project key as the bearer of a request without a user: a role and nobody.
#[test]
fn a_project_key_as_bearer_is_a_role_and_nobody() {
    let database = Cluster::shared().database();
    let key = json(&mut database.admin(), "select auth.create_key('anon')", &[])["key"].as_str().unwrap().to_owned();
    let mut app = database.app();
    let mut transaction = app.transaction().unwrap();
    with_headers(&mut transaction, &bearer(&key));
    assert_eq!(uid(&mut transaction).unwrap(), None);
    assert_eq!(text(&mut transaction, "select auth.role()").as_deref(), Some("anon"));
    transaction.rollback().unwrap();
    database.superuser().batch_execute("update auth.api_keys set revoked_at = now()").unwrap();
    let mut transaction = app.transaction().unwrap();
    with_headers(&mut transaction, &bearer(&key));
    assert_refused(uid(&mut transaction), "28000", "bad_jwt", "a revoked project key");
}

/// A cluster where the login `proxy` is believed, for all tests that run at the moment.
fn proxied() -> Arc<Cluster> {
    static CLUSTER: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
    let mut kept = CLUSTER.lock().unwrap_or_else(PoisonError::into_inner);
    kept.upgrade().unwrap_or_else(|| {
        let cluster = Arc::new(Cluster::builder().setting("auth.trusted_proxies", "somebody, proxy").start());
        cluster.maintain(
            "create role proxy login noinherit in role anon, authenticated;
            create role proxy2 login noinherit in role anon, authenticated",
        );
        *kept = Arc::downgrade(&cluster);
        cluster
    })
}

/// What `auth.uid()` says to a login that sets these claims.
fn asked_with_claims(client: &mut Client, claims: &str) -> Result<Option<uuid::Uuid>, postgres::Error> {
    let mut transaction = client.transaction()?;
    transaction.execute("select set_config('request.jwt.claims', $1, true)", &[&claims])?;
    uid(&mut transaction)
}

fn proxied_database() -> (Database, Person, Client) {
    let database = proxied().database();
    let ada = sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    let proxy = database.connect("proxy");
    (database, ada, proxy)
}

/// N05: claims without a signature are believed from a login that a superuser named, and from no other.
#[test]
fn claims_are_believed_from_trusted_proxies_only() {
    let (database, ada, mut proxy) = proxied_database();
    let given = claims(&ada.access_token).to_string();
    assert_eq!(asked_with_claims(&mut proxy, &given).unwrap(), Some(ada.user_id));
    assert_eq!(uid(&mut proxy).unwrap(), None, "until the transaction ends");
    proxy.execute("select set_config('request.jwt.claims', $1, false)", &[&given]).unwrap();
    assert_eq!(uid(&mut proxy).unwrap(), None, "not a value of an earlier transaction");
    assert_eq!(asked_with_claims(&mut proxy, "").unwrap(), None);
    assert_eq!(asked_with_claims(&mut proxy, "{}").unwrap(), None);
    assert_eq!(asked_with_claims(&mut proxy, r#"{"role": "anon"}"#).unwrap(), None);

    // The login counts, not the role it plays.
    let mut transaction = proxy.transaction().unwrap();
    transaction.batch_execute("set local role authenticated").unwrap();
    transaction.execute("select set_config('request.jwt.claims', $1, true)", &[&given]).unwrap();
    assert_eq!(uid(&mut transaction).unwrap(), Some(ada.user_id));
    // A token of ours says more than anybody's word.
    let bob = sign_up(&mut database.app(), "bob@example.org", PASSWORD);
    with_headers(&mut transaction, &bearer(&bob.access_token));
    assert_eq!(uid(&mut transaction).unwrap(), Some(bob.user_id));
    with_headers(&mut transaction, &bearer("forged"));
    assert_refused(uid(&mut transaction), "28000", "bad_jwt", "a forged bearer beside claims");
    transaction.rollback().unwrap();

    for login in ["app", "service", "admin", "proxy2", "postgres"] {
        let mut client = database.connect(login);
        assert_eq!(asked_with_claims(&mut client, &given).unwrap(), None, "{login}");
    }
    let mut app = database.app();
    assert_eq!(refused(app.batch_execute("set session authorization proxy")).sqlstate, "42501");
    assert_eq!(refused(app.batch_execute("set auth.trusted_proxies = 'app'")).sqlstate, "55P02");
    assert_eq!(refused(app.batch_execute("alter role app set auth.trusted_proxies = 'app'")).sqlstate, "55P02");
    let option = database.cluster().try_connect(database.name(), "app", "-c auth.trusted_proxies=app").map(drop);
    assert_eq!(refused(option).sqlstate, "55P02");
}

/// N05, N13: a proxy's claims are judged as a token's are, all but the signature.
#[test]
fn claims_of_a_proxy_are_judged() {
    let (database, ada, mut proxy) = proxied_database();
    let good = claims(&ada.access_token);
    let now = server_seconds(&mut proxy);
    let cases = [
        ("no JSON", "garbage".to_owned(), "bad_jwt"),
        ("no object", "[]".to_owned(), "bad_jwt"),
        ("no uuid", changed(&good, json!({"sub": "ada"})).to_string(), "bad_jwt"),
        ("a number", changed(&good, json!({"sub": 1})).to_string(), "bad_jwt"),
        ("nobody's", changed(&good, json!({"sub": uuid::Uuid::new_v4().to_string()})).to_string(), "session_not_found"),
        ("expired", changed(&good, json!({"exp": now - 1})).to_string(), "session_expired"),
        ("not yet", changed(&good, json!({"nbf": now + 600})).to_string(), "bad_jwt"),
    ];
    for (what, given, code) in cases {
        assert_refused(asked_with_claims(&mut proxy, &given), "28000", code, what);
    }
    let mut superuser = database.superuser();
    let ban = "update auth.users set banned_until = now() + interval '1 hour'";
    superuser.batch_execute(ban).unwrap();
    assert_refused(asked_with_claims(&mut proxy, &good.to_string()), "28000", "user_banned", "banned");
    superuser.batch_execute("update auth.users set banned_until = null, deleted_at = now()").unwrap();
    assert_refused(asked_with_claims(&mut proxy, &good.to_string()), "28000", "session_not_found", "deleted");
}

/// XF5: an exp or nbf of a wrong type does not count as absent, in a proxy's claims either.
#[test]
fn claims_of_a_proxy_have_times_of_the_right_type() {
    let (_database, ada, mut proxy) = proxied_database();
    let good = claims(&ada.access_token);
    for (name, value) in [("exp", json!("1")), ("exp", json!([])), ("exp", json!(true)), ("nbf", json!("9999999999"))] {
        let given = changed(&good, json!({name: value}));
        // Also where the claims are a foreign issuer's, who knows nothing of our kinds and sessions.
        let foreign = changed(&given, json!({"token_type": null, "session_id": null, "sc": null, "jti": null}));
        for given in [given.to_string(), foreign.to_string()] {
            assert_refused(asked_with_claims(&mut proxy, &given), "28000", "bad_jwt", &given);
        }
    }
    let foreign = json!({"sub": ada.user_id.to_string(), "role": "authenticated", "exp": good["exp"]}).to_string();
    assert_eq!(asked_with_claims(&mut proxy, &foreign).unwrap(), Some(ada.user_id));
}

/// XD6: a proxy that verifies our own tokens sees a session end as everybody does.
#[test]
fn claims_of_an_ended_session_are_refused() {
    let (database, ada, mut proxy) = proxied_database();
    let given = claims(&ada.access_token).to_string();
    database.superuser().execute("delete from auth.sessions where id = $1", &[&ada.session_id]).unwrap();
    assert_refused(asked_with_claims(&mut proxy, &given), "28000", "session_not_found", "a session that was ended");
}

/// Design 4: a restricted token is nobody, also when a proxy has verified it.
#[test]
fn claims_of_a_restricted_token_are_nobody() {
    let (database, ada, mut proxy) = proxied_database();
    database.superuser().batch_execute("update auth.sessions set restricted = 'mfa'").unwrap();
    let answer = json(&mut database.app(), "select auth.refresh($1)", &[&ada.refresh_token]);
    let given = claims(answer["access_token"].as_str().unwrap());
    assert_eq!(given["token_type"], "restricted");
    assert_eq!(asked_with_claims(&mut proxy, &given.to_string()).unwrap(), None);
}

/// N05: the list of proxies is the server's, and a reload changes it for open connections.
#[test]
fn trust_ends_with_a_reload() {
    let cluster = Cluster::start();
    cluster.maintain("create role proxy login noinherit in role anon, authenticated");
    let database = cluster.database();
    let ada = sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    let given = claims(&ada.access_token).to_string();
    let mut proxy = database.connect("proxy");
    assert_eq!(asked_with_claims(&mut proxy, &given).unwrap(), None);
    for (list, expected) in [("proxy", Some(ada.user_id)), ("proxy2", None), ("prox", None), ("", None)] {
        cluster.maintain(&format!("alter system set auth.trusted_proxies = '{list}'"));
        cluster.maintain("select pg_reload_conf()");
        let mut superuser = database.superuser();
        wait_until("the reload", || text(&mut superuser, "show auth.trusted_proxies").as_deref() == Some(list));
        wait_until("the proxy's own backend to follow", || asked_with_claims(&mut proxy, &given).unwrap() == expected);
    }
}

/// N06: identity for a whole connection is refused unless a superuser allowed it; no client can allow it to itself.
#[test]
fn identity_for_a_connection_has_to_be_allowed() {
    let database = Cluster::shared().database();
    let ada = sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    let mut app = database.app();
    for token in [Some(&ada.access_token), None] {
        let tried = app.execute("select auth.authenticate_session($1)", &[&token]);
        assert_refused(tried, "55000", "no_authorization", "switched off");
    }
    assert_eq!(refused(app.batch_execute("set auth.session_identity = on")).sqlstate, "42501");
    assert_eq!(refused(app.batch_execute("set local auth.session_identity = on")).sqlstate, "42501");
    let option = Cluster::shared().try_connect(database.name(), "app", "-c auth.session_identity=on").map(drop);
    assert_eq!(refused(option).sqlstate, "42501");
    assert_eq!(refused(app.batch_execute("alter role app set auth.session_identity = on")).sqlstate, "42501");
    assert_eq!(uid(&mut app).unwrap(), None);
}

/// N06: identity for a whole connection holds across transactions, yields to one of a transaction, and is judged at every
/// statement.
#[test]
fn identity_for_a_connection() {
    let database = Cluster::shared().database();
    let (alice, bob) = alice_and_bob(&database);
    notes(&database, &[&alice, &bob]);
    let name = database.name();
    database
        .superuser()
        .batch_execute(&format!("alter role app in database {name} set auth.session_identity = on"))
        .unwrap();
    let mut app = database.app();
    let act = |app: &mut Client, token: Option<&str>| app.execute("select auth.authenticate_session($1)", &[&token]);

    assert_refused(act(&mut app, Some("garbage")), "28000", "bad_jwt", "garbage");
    assert_eq!(uid(&mut app).unwrap(), None);
    act(&mut app, Some(&alice.access_token)).unwrap();
    for _ in 0..3 {
        assert_eq!(uid(&mut app).unwrap(), Some(alice.user_id));
        assert_eq!(seen(&mut app).unwrap(), ["alice@example.org"]);
        assert_eq!(text(&mut app, "select current_user::text").as_deref(), Some("authenticated"));
        assert_eq!(text(&mut app, "select current_setting('app.user_id')"), Some(alice.user_id.to_string()));
        let rows = try_acting(&mut app, &bob.access_token, |transaction| seen(transaction)).unwrap();
        assert_eq!(rows, ["bob@example.org"]);
    }

    let mut transaction = app.transaction().unwrap();
    transaction.execute("select auth.authenticate_session($1)", &[&bob.access_token]).unwrap();
    assert_eq!(uid(&mut transaction).unwrap(), Some(bob.user_id));
    transaction.rollback().unwrap();
    assert_eq!(uid(&mut app).unwrap(), Some(alice.user_id), "rolled back");

    // A value that the client sets by itself is the transaction's, as ever.
    app.batch_execute(&format!("set auth.token = '{}'", bob.access_token)).unwrap();
    assert_eq!(uid(&mut app).unwrap(), None);
    act(&mut app, Some(&alice.access_token)).unwrap();
    assert_eq!(uid(&mut app).unwrap(), Some(alice.user_id));

    act(&mut app, None).unwrap();
    assert_eq!(uid(&mut app).unwrap(), None);
    assert_eq!(text(&mut app, "select current_user::text").as_deref(), Some("anon"));
    act(&mut app, Some(&alice.access_token)).unwrap();
    app.batch_execute("discard all").unwrap();
    assert_eq!(uid(&mut app).unwrap(), None);
    assert_eq!(text(&mut app, "select current_user::text").as_deref(), Some("app"));

    act(&mut app, Some(&alice.access_token)).unwrap();
    app.batch_execute("select auth.sign_out()").unwrap();
    assert_refused(uid(&mut app), "28000", "session_not_found", "signed out");
    let again = sign_in(&mut database.app(), &alice.email, PASSWORD);
    act(&mut app, Some(&again.access_token)).unwrap();
    assert_eq!(uid(&mut app).unwrap(), Some(alice.user_id));
}
