//! Keys: project keys, signing keys made and imported, and the rotation of the keyring file.

use std::collections::HashSet;

use auth_harness::{Client, Cluster, Database, Person, acting, claims, json, refused, sign_in, sign_up};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json as object};
use uuid::Uuid;

const PASSWORD: &str = "correct horse battery";

fn uid(client: &mut Client, token: &str) -> Option<Uuid> {
    acting(client, token, |transaction| transaction.query_one("select auth.uid()", &[]).unwrap().get(0))
}

#[track_caller]
fn is_refused(client: &mut Client, token: &str, code: &str) {
    for call in ["select auth.verify_token($1)", "select auth.authenticate($1)"] {
        let mut transaction = client.transaction().unwrap();
        let refusal = refused(transaction.query_one(call, &[&token]));
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("28000", code), "{call}");
    }
    let mut transaction = client.transaction().unwrap();
    transaction.execute("select set_config('auth.token', $1, true)", &[&token]).unwrap();
    let refusal = refused(transaction.query_one("select auth.uid()", &[]));
    assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("28000", code), "auth.uid()");
}

fn published(client: &mut Client) -> Vec<Value> {
    json(client, "select auth.jwks()", &[])["keys"].as_array().unwrap().clone()
}

/// N31: a project key is a role without a user; it ends at its time, and at once when its row says so.
#[test]
fn a_project_key_is_a_role_without_a_user() {
    let database = Cluster::shared().database();
    let (mut admin, mut app) = (database.admin(), database.app());
    for role in ["anon", "service_role"] {
        let answer = json(&mut admin, "select auth.create_key($1)", &[&role]);
        let key = answer["key"].as_str().unwrap();
        let inside = claims(key);
        assert_eq!((inside["role"].as_str(), answer["role"].as_str()), (Some(role), Some(role)));
        assert_eq!(inside["token_type"], "key");
        assert_eq!(inside["exp"], answer["expires_at"]);
        assert!(inside["sub"].is_null() && inside["session_id"].is_null(), "a key has no user");
        let years = (inside["exp"].as_i64().unwrap() - inside["iat"].as_i64().unwrap()) / (365 * 86_400);
        assert_eq!(years, 10);
        assert_eq!(json(&mut app, "select auth.verify_token($1)", &[&key])["role"], role);
        let stored = database.superuser().query("select row_to_json(k)::text from auth.api_keys as k", &[]).unwrap();
        assert!(stored.iter().all(|row| !row.get::<_, String>(0).contains(key.rsplit('.').next().unwrap())));
    }
    let answer = json(&mut admin, "select auth.create_key('anon', '1 hour')", &[]);
    let (key, id) = (answer["key"].as_str().unwrap(), answer["id"].as_str().unwrap());
    assert_eq!(claims(key)["exp"].as_i64().unwrap() - claims(key)["iat"].as_i64().unwrap(), 3600);
    assert_eq!(uid(&mut app, key), None);
    // The app's login is no member of service_role, and a key for it changes nothing about that.
    let strong = json(&mut admin, "select auth.create_key('service_role')", &[]);
    let mut transaction = app.transaction().unwrap();
    let refusal = refused(transaction.query_one("select auth.authenticate($1)", &[&strong["key"].as_str()]));
    assert_eq!(refusal.sqlstate, "42501");
    drop(transaction);
    // A trusted back end is a member of service_role, and nothing but a transaction of its own makes it act as that.
    let mut service = database.service();
    service.batch_execute("set role service_role").unwrap();
    acting(&mut service, strong["key"].as_str().unwrap(), |transaction| {
        let row = transaction.query_one("select current_user::text, auth.uid(), auth.role()", &[]).unwrap();
        assert_eq!(row.get::<_, String>(0), "service_role");
        assert_eq!(row.get::<_, Option<Uuid>>(1), None);
        assert_eq!(row.get::<_, String>(2), "service_role");
    });

    let mut root = database.superuser();
    let mut change = |set: &str| {
        let sql = format!("update auth.api_keys set {set} where id = '{id}'");
        assert_eq!(root.execute(&sql, &[]).unwrap(), 1);
    };
    change("revoked_at = now()");
    is_refused(&mut app, key, "bad_jwt");
    change("revoked_at = null");
    assert_eq!(uid(&mut app, key), None, "not revoked any more");
    change("expires_at = now() - interval '1 second'");
    is_refused(&mut app, key, "session_expired");
    change("expires_at = null");
    assert_eq!(uid(&mut app, key), None);
    root.execute("delete from auth.api_keys", &[]).unwrap();
    is_refused(&mut app, key, "bad_jwt");
    // A revocation ends a transaction that runs already.
    let answer = json(&mut admin, "select auth.create_key('anon', '1 hour')", &[]);
    let mut transaction = app.transaction().unwrap();
    transaction.execute("select auth.authenticate($1)", &[&answer["key"].as_str()]).unwrap();
    transaction.query_one("select auth.role()", &[]).unwrap();
    root.execute("update auth.api_keys set revoked_at = now()", &[]).unwrap();
    assert_eq!(refused(transaction.query_one("select auth.role()", &[])).code, "bad_jwt");
}

/// N31: no other role, no end in the past, nobody but an administrator.
#[test]
fn a_project_key_is_refused_for_other_roles_and_times() {
    let database = Cluster::shared().database();
    let mut admin = database.admin();
    for role in ["authenticated", "auth_owner", "auth_admin", "auth_sidecar", "postgres", "", "Anon", "anon ", "nobody"]
    {
        let refusal = refused(admin.query_one("select auth.create_key($1)", &[&role]));
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("22023", "validation_failed"), "{role}");
    }
    for interval in ["0", "-1 second", "-1 month", "1 month -31 days", "110 years", "0.5 seconds", "178000000 years"] {
        let refusal = refused(admin.query_one(&format!("select auth.create_key('anon', '{interval}')"), &[]));
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("22023", "validation_failed"), "{interval}");
    }
    assert_eq!(refused(admin.query_one("select auth.create_key(null)", &[])).code, "validation_failed");
    for login in ["app", "service", "sidecar"] {
        let refusal = refused(database.connect(login).query_one("select auth.create_key('anon')", &[]));
        assert_eq!(refusal.sqlstate, "42501", "{login}");
    }
    let made: i64 = database.superuser().query_one("select count(*) from auth.api_keys", &[]).unwrap().get(0);
    assert_eq!(made, 0);
}

fn rs256_public() -> Value {
    // RFC 7515, appendix A.2.
    object!({"kty": "RSA", "alg": "RS256", "kid": "rsa", "e": "AQAB", "n":
        "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMs\
        D1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdV\
        MTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"})
}

/// N31: a private key that comes in becomes the one that signs; a public one, and RSA always, only verifies; a
/// symmetric one is never published; a second key with the same kid is refused.
#[test]
fn imported_keys_sign_or_only_verify() {
    let database = Cluster::shared().database();
    let (mut admin, mut app) = (database.admin(), database.app());
    json(&mut admin, "select auth.configure('{\"max_active_sessions\": null}')", &[]);
    let before = sign_up(&mut app, "ada@example.org", PASSWORD);
    let kid_of = |token: &str| -> Value {
        serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap()).unwrap()
    };
    let made_here = kid_of(&before.access_token);
    assert_eq!(made_here["alg"], "ES256");

    let mut import =
        |jwk: &Value| admin.query_one("select auth.import_signing_key($1)", &[jwk]).map(|row| row.get::<_, Value>(0));
    let public = import(&rs256_public()).unwrap();
    assert_eq!(public["kid"], "rsa");
    assert_eq!(kid_of(&sign_in(&mut app, &before.email, PASSWORD).access_token), made_here, "RSA does not sign");

    let private = object!({"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "imported",
        "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});
    let public = import(&private).unwrap();
    assert!(public["d"].is_null(), "the answer is the public part");
    let signed = sign_in(&mut app, &before.email, PASSWORD);
    assert_eq!(kid_of(&signed.access_token)["kid"], "imported");
    let refusal = refused(import(&private));
    assert_eq!(
        (refusal.sqlstate.as_str(), refusal.code.as_str()),
        ("22023", "validation_failed"),
        "the same kid again"
    );
    assert_eq!(
        kid_of(&sign_in(&mut app, &before.email, PASSWORD).access_token)["kid"],
        "imported",
        "and it still signs"
    );

    let secret = [7; 32];
    let symmetric = object!({"kty": "oct", "alg": "HS256", "kid": "legacy", "k": URL_SAFE_NO_PAD.encode(secret)});
    let answer = import(&symmetric).unwrap();
    assert!(!answer.to_string().contains(&URL_SAFE_NO_PAD.encode(secret)));
    let legacy = sign_in(&mut app, &before.email, PASSWORD);
    assert_eq!(kid_of(&legacy.access_token)["alg"], "HS256");
    assert_eq!(uid(&mut app, &legacy.access_token), Some(before.user_id));

    for (what, jwk) in [
        ("31 bytes", object!({"kty": "oct", "alg": "HS256", "kid": "w", "k": URL_SAFE_NO_PAD.encode([7; 31])})),
        ("no bytes", object!({"kty": "oct", "alg": "HS256", "kid": "w", "k": ""})),
        (
            "the kid of an imported key",
            object!({"kty": "oct", "alg": "HS256", "kid": "rsa", "k": URL_SAFE_NO_PAD.encode([8; 32])}),
        ),
        (
            "the kid of the first key",
            object!({"kty": "oct", "alg": "HS256", "kid": made_here["kid"], "k": URL_SAFE_NO_PAD.encode([8; 32])}),
        ),
        (
            "no algorithm of ours",
            object!({"kty": "oct", "alg": "HS512", "kid": "w", "k": URL_SAFE_NO_PAD.encode([7; 64])}),
        ),
        ("none", object!({"kty": "oct", "alg": "none", "kid": "w", "k": URL_SAFE_NO_PAD.encode([7; 32])})),
        ("another curve", object!({"kty": "EC", "crv": "P-384", "kid": "w", "x": "AA", "y": "AA"})),
        (
            "a point off the curve",
            object!({"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "w",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"}),
        ),
        (
            "halves of two keys",
            object!({"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "w",
            "d": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}),
        ),
        (
            "a small modulus",
            object!({"kty": "RSA", "alg": "RS256", "kid": "w", "e": "AQAB", "n": URL_SAFE_NO_PAD.encode([0xc1; 128])}),
        ),
        (
            "an RSA key as HMAC",
            object!({"kty": "RSA", "alg": "HS256", "kid": "w", "e": "AQAB", "n": rs256_public()["n"]}),
        ),
        ("no object", object!("text")),
        ("an array", object!([])),
        ("nothing", object!({})),
        ("a number as kid", object!({"kty": "oct", "alg": "HS256", "kid": 5, "k": URL_SAFE_NO_PAD.encode([7; 32])})),
    ] {
        let refusal = refused(import(&jwk));
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("22023", "validation_failed"), "{what}");
        let said = format!("{} {}", refusal.message, refusal.hint.unwrap_or_default());
        assert!(!said.contains(&URL_SAFE_NO_PAD.encode([7; 31])), "{what}: {said}");
    }
    assert_eq!(
        kid_of(&sign_in(&mut app, &before.email, PASSWORD).access_token)["kid"],
        "legacy",
        "no failure retired it"
    );

    let keys = published(&mut app);
    let mut kids: Vec<&str> = keys.iter().map(|key| key["kid"].as_str().unwrap()).collect();
    kids.sort_unstable();
    let mut expected = vec![made_here["kid"].as_str().unwrap(), "imported", "rsa"];
    expected.sort_unstable();
    assert_eq!(kids, expected, "all that verify, but no symmetric one");
    for key in &keys {
        for private in ["d", "k", "p", "q", "dp", "dq", "qi", "oth"] {
            assert!(key[private].is_null(), "{private} is published");
        }
    }
    // Whoever was signed in stays so.
    for token in [&before.access_token, &signed.access_token, &legacy.access_token] {
        assert_eq!(uid(&mut app, token), Some(before.user_id));
    }
}

/// N31: a rotation logs nobody out, a removal is felt at the next statement, in every backend.
#[test]
fn rotation_keeps_tokens_and_removal_ends_them() {
    let database = Cluster::shared().database();
    let (mut admin, mut app, mut other) = (database.admin(), database.app(), database.app());
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    assert_eq!(uid(&mut other, &ada.access_token), Some(ada.user_id));
    for algorithm in ["EdDSA", "ES256", "EdDSA"] {
        let public = json(&mut admin, "select auth.rotate_signing_key($1)", &[&algorithm]);
        let person = sign_in(&mut app, &ada.email, PASSWORD);
        assert_eq!(public["alg"], algorithm);
        for client in [&mut app, &mut other] {
            assert_eq!(uid(client, &ada.access_token), Some(ada.user_id));
            assert_eq!(uid(client, &person.access_token), Some(ada.user_id));
        }
    }
    let mut root = database.superuser();
    let statuses: Vec<String> = root
        .query("select status from auth.signing_keys order by created_at", &[])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(statuses, ["previous", "previous", "previous", "current"]);
    for algorithm in ["RS256", "HS256", "none", "es256", "", "ES384"] {
        let refusal = refused(admin.query_one("select auth.rotate_signing_key($1)", &[&algorithm]));
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("22023", "validation_failed"), "{algorithm}");
    }
    // A rotation that is rolled back never was.
    let before = published(&mut app);
    let mut transaction = admin.transaction().unwrap();
    transaction.query_one("select auth.rotate_signing_key()", &[]).unwrap();
    transaction.rollback().unwrap();
    assert_eq!(published(&mut app), before);
    sign_in(&mut app, &ada.email, PASSWORD);

    root.execute("update auth.signing_keys set status = 'revoked' where status = 'previous'", &[]).unwrap();
    for client in [&mut app, &mut other] {
        is_refused(client, &ada.access_token, "bad_jwt");
    }
    assert_eq!(published(&mut app).len(), 1);
    let person = sign_in(&mut app, &ada.email, PASSWORD);
    assert_eq!(uid(&mut other, &person.access_token), Some(ada.user_id));
    root.batch_execute("delete from auth.signing_keys").unwrap();
    is_refused(&mut other, &person.access_token, "bad_jwt");
    // The next key is made at its first use.
    assert_eq!(uid(&mut other, &sign_in(&mut app, &ada.email, PASSWORD).access_token), Some(ada.user_id));
}

/// Two rotations at once: one key signs afterwards, and the tokens of both stay good.
#[test]
fn rotations_at_once_leave_one_current_key() {
    let database = Cluster::shared().database();
    let person = sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    let answers = auth_harness::storm_with(
        4,
        |_| database.admin(),
        |_, mut admin| admin.query_one("select auth.rotate_signing_key()", &[]).map(drop),
    );
    assert!(answers.iter().any(Result::is_ok));
    for answer in answers {
        if answer.is_err() {
            let sqlstate = refused(answer).sqlstate;
            assert!(["22023", "23505", "40001"].contains(&sqlstate.as_str()), "{sqlstate}");
        }
    }
    let current = "select count(*) from auth.signing_keys where status = 'current'";
    assert_eq!(database.superuser().query_one(current, &[]).unwrap().get::<_, i64>(0), 1);
    assert_eq!(uid(&mut database.app(), &person.access_token), Some(person.user_id));
    sign_in(&mut database.app(), &person.email, PASSWORD);
}

fn sealed(database: &Database) -> Vec<Vec<u8>> {
    let sql = "select private_sealed from auth.signing_keys where private_sealed is not null";
    database.superuser().query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect()
}

/// XF18, N30: version, key id and nonce stand before the ciphertext, and no nonce comes twice, in whatever backend.
#[test]
fn no_two_sealed_values_share_a_nonce() {
    let database = Cluster::shared().database();
    auth_harness::storm_with(
        4,
        |_| (),
        |_, ()| {
            // New backends: a generator that was copied by a fork would begin alike in each.
            for _ in 0..12 {
                let mut admin = database.admin();
                for _ in 0..6 {
                    let _ = admin.query_one("select auth.rotate_signing_key('EdDSA')", &[]);
                }
            }
        },
    );
    // The same secret again and again, under the same kid: only the nonce can make the difference.
    let (mut admin, mut root) = (database.admin(), database.superuser());
    let jwk = object!({"kty": "oct", "alg": "HS256", "kid": "same", "k": URL_SAFE_NO_PAD.encode([7; 32])});
    let mut values = sealed(&database);
    assert!(values.len() > 100, "{} keys", values.len());
    for _ in 0..20 {
        json(&mut admin, "select auth.import_signing_key($1)", &[&jwk]);
        let value = root.query_one("delete from auth.signing_keys where kid = 'same' returning private_sealed", &[]);
        values.push(value.unwrap().get(0));
    }
    let mut nonces = HashSet::new();
    let mut bodies = HashSet::new();
    for value in &values {
        assert_eq!(value[..5], [1, 0, 0, 0, 1], "version and key id");
        assert!(value.len() >= 5 + 12 + 32 + 16);
        assert!(nonces.insert(value[5..17].to_vec()), "a nonce came twice");
        assert!(bodies.insert(value[17..].to_vec()), "a ciphertext came twice");
    }
    // Random, not counted: no byte of it stays the same.
    for place in 0..12 {
        let different: HashSet<u8> = nonces.iter().map(|nonce| nonce[place]).collect();
        assert!(different.len() > 20, "byte {place} of the nonce has {} values", different.len());
    }
}

/// N30: a sealed value opens in its own row only.
#[test]
fn a_sealed_value_moved_to_another_row_does_not_open() {
    let database = Cluster::shared().database();
    let (mut admin, mut app) = (database.admin(), database.app());
    let person = sign_up(&mut app, "ada@example.org", PASSWORD);
    json(&mut admin, "select auth.rotate_signing_key()", &[]);
    let tamper = |sql: &str| {
        let mut root = database.superuser();
        root.batch_execute("create temporary table kept as select * from auth.signing_keys").unwrap();
        root.batch_execute(sql).unwrap();
        let refusal = refused(database.app().query_one("select auth.sign_in($1, $2)", &[&person.email, &PASSWORD]));
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("55000", "root_key_mismatch"), "{sql}");
        root.batch_execute(
            "update auth.signing_keys as k set private_sealed = kept.private_sealed from kept where kept.kid = k.kid",
        )
        .unwrap();
        sign_in(&mut database.app(), &person.email, PASSWORD);
    };
    tamper(
        "update auth.signing_keys set private_sealed = (select private_sealed from kept where status = 'previous')
        where status = 'current'",
    );
    for (place, what) in
        [(0, "the version"), (4, "the key id"), (5, "the nonce"), (17, "the ciphertext"), (-1, "the tag")]
    {
        let place = if place < 0 { "octet_length(private_sealed) - 1".to_owned() } else { place.to_string() };
        let flip = format!("set_byte(private_sealed, {place}, get_byte(private_sealed, {place}) # 1)");
        tamper(&format!("/* {what} */ update auth.signing_keys set private_sealed = {flip} where status = 'current'"));
    }
    tamper("update auth.signing_keys set private_sealed = '\\x' where status = 'current'");
    tamper("update auth.signing_keys set private_sealed = substr(private_sealed, 1, 20) where status = 'current'");
}

/// N30, D7: a new first key in the keyring file is used from then on, without a restart; what was sealed and issued under
/// the old one still works while it is there.
#[test]
fn the_keyring_is_rotated_by_a_new_first_line() {
    let line = |id: u32, byte: u8| format!("{id} {}\n", STANDARD.encode([byte; 32]));
    let cluster = Cluster::builder().root_key(&line(1, 1)).start();
    let database = cluster.database();
    let (mut app, mut admin) = (database.app(), database.admin());
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    let bob = sign_up(&mut app, "bob@example.org", PASSWORD);
    let write = |text: String| std::fs::write(cluster.root_key_path(), text).unwrap();
    write(format!("# the new one first\n{}{}", line(7, 7), line(1, 1)));

    assert_eq!(key_id(&ada.refresh_token), 1);
    let mut signed: Option<Person> = None;
    // In a connection that has read the old file, and in a new one.
    for mut client in [app, database.app()] {
        let person = sign_in(&mut client, &ada.email, PASSWORD);
        assert_eq!(key_id(&person.refresh_token), 7, "new tokens are under the new key");
        assert_eq!(uid(&mut client, &ada.access_token), Some(ada.user_id));
        signed = Some(person);
    }
    let mut app = database.app();
    let answer = json(&mut app, "select auth.refresh($1)", &[&ada.refresh_token]);
    assert_eq!(key_id(answer["refresh_token"].as_str().unwrap()), 7);
    json(&mut admin, "select auth.rotate_signing_key()", &[]);
    let ids: HashSet<u8> = sealed(&database).iter().map(|value| value[4]).collect();
    assert_eq!(
        ids,
        HashSet::from([1, 7]),
        "the old signing key is sealed under the old root key, the new under the new"
    );
    let again = sign_in(&mut app, &bob.email, PASSWORD);
    assert_eq!(uid(&mut app, &again.access_token), Some(bob.user_id));
    let known = "select string_agg(key_id::text, ' ' order by key_id) from auth.key_check";
    assert_eq!(database.superuser().query_one(known, &[]).unwrap().get::<_, String>(0), "1 7");

    // Without the old one: nothing current needs it, and what was issued under it is told apart.
    write(line(7, 7));
    let mut app = database.app();
    sign_in(&mut app, &bob.email, PASSWORD);
    assert_eq!(json(&mut app, "select auth.refresh($1)", &[&signed.unwrap().refresh_token])["status"], "session");
    refused(app.query_one("select auth.refresh($1)", &[&bob.refresh_token]));
    // The old first line with other bytes is not the key that this database knows.
    write(format!("{}{}", line(1, 9), line(7, 7)));
    for mut client in [app, database.app()] {
        let refusal = refused(client.query_one("select auth.sign_in($1, $2)", &[&bob.email, &PASSWORD]));
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("55000", "root_key_mismatch"));
    }
    write(format!("{}{}", line(7, 7), line(1, 1)));
    assert_eq!(json(&mut database.app(), "select auth.refresh($1)", &[&bob.refresh_token])["status"], "session");
}

/// The key id that a refresh token names (docs/formats.md: version, then four bytes).
fn key_id(token: &str) -> u8 {
    URL_SAFE_NO_PAD.decode(token).unwrap()[4]
}
