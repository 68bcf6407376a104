//! Passkeys: registering, signing in, and looking after them.

use auth_harness::authenticator::{Algorithm, Assertion, Authenticator, BACKUP_ELIGIBLE, USER_PRESENT, decode};
use auth_harness::{
    Client, Cluster, Database, Person, Refusal, Transaction, acting, claims, json, refused, sign_up, try_acting,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::refresh::{configure, standing};

pub const ORIGIN: &str = "https://app.example.org";
pub const PASSWORD: &str = "correct horse battery";

/// A database whose relying party is app.example.org.
pub fn with_passkeys(cluster: &Cluster) -> Database {
    let database = cluster.database();
    configure(
        &database,
        json!({"enable_passkeys": true, "webauthn_rp_id": "app.example.org", "webauthn_rp_name": "App",
            "webauthn_rp_origins": [ORIGIN], "argon2_memory_kib": 8, "argon2_iterations": 1}),
    );
    database
}

/// The answer, or how it was refused.
pub fn answer<T: auth_harness::GenericClient>(
    client: &mut T,
    call: &str,
    arguments: &[&(dyn auth_harness::ToSql + Sync)],
) -> Result<Value, Refusal> {
    match client.query_one(&format!("select to_jsonb(auth.{call})"), arguments) {
        Ok(row) => Ok(row.get::<_, Option<Value>>(0).unwrap_or(Value::Null)),
        Err(error) => Err(refused::<()>(Err(error))),
    }
}

/// As a signed-in user.
pub fn ask(
    client: &mut Client,
    token: &str,
    call: &str,
    arguments: &[&(dyn auth_harness::ToSql + Sync)],
) -> Result<Value, Refusal> {
    try_acting(client, token, |transaction| {
        let row = transaction.query_one(&format!("select to_jsonb(auth.{call})"), arguments)?;
        Ok(row.get::<_, Option<Value>>(0).unwrap_or(Value::Null))
    })
    .map_err(|error| refused::<()>(Err(error)))
}

pub fn id(value: &Value) -> Uuid {
    value.as_str().unwrap().parse().unwrap()
}

pub fn start_registration(client: &mut Client, token: &str) -> Value {
    ask(client, token, "start_passkey_registration()", &[]).unwrap()
}

/// Registers the authenticator's passkey for the owner of the token.
pub fn register(client: &mut Client, token: &str, authenticator: &mut Authenticator) -> Result<Value, Refusal> {
    let started = start_registration(client, token);
    let credential = authenticator.create(&started["options"], ORIGIN).json();
    finish_registration(client, token, &started, &credential)
}

pub fn finish_registration(
    client: &mut Client,
    token: &str,
    started: &Value,
    credential: &Value,
) -> Result<Value, Refusal> {
    let call = "finish_passkey_registration($1, $2, 'my key')";
    ask(client, token, call, &[&id(&started["challenge_id"]), credential])
}

pub fn start_sign_in(client: &mut Client, email: Option<&str>) -> Value {
    json(client, "select auth.start_passkey_sign_in($1)", &[&email])
}

pub fn finish_sign_in(client: &mut Client, started: &Value, credential: &Value) -> Result<Value, Refusal> {
    answer(client, "finish_passkey_sign_in($1, $2)", &[&id(&started["challenge_id"]), credential])
}

/// Signs in without an address, after a change to what is signed.
pub fn sign_in_with(
    client: &mut Client,
    authenticator: &mut Authenticator,
    change: impl FnOnce(&mut Assertion),
) -> Result<Value, Refusal> {
    let started = start_sign_in(client, None);
    let mut assertion = authenticator.get(&started["options"], ORIGIN);
    change(&mut assertion);
    finish_sign_in(client, &started, &assertion.json(authenticator))
}

/// The code word of a refusal.
pub fn code<T: std::fmt::Debug>(result: Result<T, Refusal>) -> String {
    result.unwrap_err().code
}

/// An account with one passkey, whose authenticator verifies its user.
pub fn ada(database: &Database) -> (Person, Authenticator) {
    let mut app = database.app();
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    let mut authenticator = Authenticator::new(Algorithm::Es256);
    register(&mut app, &ada.access_token, &mut authenticator).unwrap();
    (ada, authenticator)
}

/// F066, F067, F068: a passkey of each algorithm is registered and signs in without an address; the row says what the
/// authenticator said.
#[test]
fn a_passkey_is_registered_and_signs_in() {
    let database = with_passkeys(Cluster::shared());
    let (mut app, mut superuser) = (database.app(), database.superuser());
    for (algorithm, flags) in
        [(Algorithm::Es256, 0), (Algorithm::EdDsa, BACKUP_ELIGIBLE), (Algorithm::Rs256, BACKUP_ELIGIBLE)]
    {
        let person = sign_up(&mut app, &format!("{algorithm:?}@example.org"), PASSWORD);
        let mut authenticator = Authenticator::new(algorithm);
        authenticator.flags |= flags;
        let started = start_registration(&mut app, &person.access_token);
        let options = &started["options"];
        assert_eq!(options["rp"], json!({"id": "app.example.org", "name": "App"}));
        assert_eq!(options["user"]["name"], person.email.to_lowercase());
        assert_eq!(decode(&options["user"]["id"]), person.user_id.as_bytes());
        assert_eq!(decode(&options["challenge"]).len(), 32);
        assert_eq!((&options["attestation"], &options["excludeCredentials"]), (&json!("none"), &json!([])));
        assert_eq!(options["authenticatorSelection"]["residentKey"], "required");
        let credential = authenticator.create(options, ORIGIN).json();
        let made = finish_registration(&mut app, &person.access_token, &started, &credential).unwrap();
        assert_eq!((&made["friendly_name"], &made["last_used_at"]), (&json!("my key"), &Value::Null));
        assert_eq!(made["transports"], json!(["hybrid", "internal"]));
        let row = superuser
            .query_one(
                "select credential_id, public_key, sign_count, uv, backup_eligible, backed_up, user_id
                from auth.passkeys where id = $1",
                &[&id(&made["id"])],
            )
            .unwrap();
        assert_eq!(
            (row.get::<_, Vec<u8>>(0), row.get(1)),
            (authenticator.credential_id.clone(), authenticator.cose_key())
        );
        assert_eq!((row.get::<_, i64>(2), row.get(3), row.get(4), row.get(5)), (1, true, flags != 0, false));
        assert_eq!(row.get::<_, Uuid>(6), person.user_id);

        let started = start_sign_in(&mut app, None);
        assert_eq!(
            (&started["options"]["allowCredentials"], &started["options"]["rpId"]),
            (&json!([]), &json!("app.example.org"))
        );
        let credential = authenticator.get(&started["options"], ORIGIN).json(&authenticator);
        let session = finish_sign_in(&mut app, &started, &credential).unwrap();
        assert_eq!(
            (&session["status"], &session["user"]["id"]),
            (&json!("session"), &json!(person.user_id.to_string()))
        );
        let inside = claims(session["access_token"].as_str().unwrap());
        assert_eq!((&inside["amr"][0]["method"], &inside["aal"]), (&json!("passkey"), &json!("aal2")));
        let row = superuser
            .query_one(
                "select sign_count, last_used_at is not null from auth.passkeys where id = $1",
                &[&id(&made["id"])],
            )
            .unwrap();
        assert_eq!((row.get::<_, i64>(0), row.get::<_, bool>(1)), (2, true));
        assert_eq!(code(finish_sign_in(&mut app, &started, &credential)), "webauthn_challenge_expired", "a replay");
    }
    let left: i64 = superuser.query_one("select count(*) from auth.webauthn_challenges", &[]).unwrap().get(0);
    assert_eq!(left, 0, "what was answered is gone");
}

/// XH6: an authenticator that only saw somebody there is one factor; where verification is required, none.
#[test]
fn presence_alone_is_one_factor() {
    let database = with_passkeys(Cluster::shared());
    let mut app = database.app();
    let (_, mut authenticator) = ada(&database);
    for (flags, expected) in [(0b101, "aal2"), (USER_PRESENT, "aal1")] {
        let session = sign_in_with(&mut app, &mut authenticator, |assertion| assertion.flags = flags).unwrap();
        assert_eq!(claims(session["access_token"].as_str().unwrap())["aal"], expected);
        let refreshed = json(&mut app, "select auth.refresh($1)", &[&session["refresh_token"].as_str()]);
        assert_eq!(claims(refreshed["access_token"].as_str().unwrap())["aal"], expected, "also after a refresh");
    }
    configure(&database, json!({"webauthn_user_verification": "required"}));
    assert_eq!(start_sign_in(&mut app, None)["options"]["userVerification"], "required");
    let refusal = sign_in_with(&mut app, &mut authenticator, |assertion| assertion.flags = USER_PRESENT);
    assert_eq!(code(refusal), "webauthn_verification_failed");
    sign_in_with(&mut app, &mut authenticator, |_| ()).unwrap();
}

/// F068, XH5: without an allow-list the user handle has to be there and the owner's; with one it may be missing, not wrong,
/// and the passkey has to be that account's.
#[test]
fn who_it_is_has_to_fit() {
    let database = with_passkeys(Cluster::shared());
    let mut app = database.app();
    let (ada, mut hers) = ada(&database);
    let bob = sign_up(&mut app, "bob@example.org", PASSWORD);
    let mut his = Authenticator::new(Algorithm::EdDsa);
    register(&mut app, &bob.access_token, &mut his).unwrap();
    let bobs = Some(bob.user_id.as_bytes().to_vec());
    for (email, handle, expected) in [
        (None, Some(ada.user_id.as_bytes().to_vec()), "session"),
        (None, None, "webauthn_verification_failed"),
        (None, bobs.clone(), "webauthn_verification_failed"),
        (None, Some(Vec::new()), "webauthn_verification_failed"),
        (Some("ADA@example.org"), Some(ada.user_id.as_bytes().to_vec()), "session"),
        (Some("ada@example.org"), None, "session"),
        (Some("ada@example.org"), bobs, "webauthn_verification_failed"),
        (Some("bob@example.org"), None, "webauthn_verification_failed"),
        (Some("nobody@example.org"), None, "webauthn_verification_failed"),
        (Some("nobody@example.org"), Some(ada.user_id.as_bytes().to_vec()), "webauthn_verification_failed"),
        (Some("no address"), None, "webauthn_verification_failed"),
    ] {
        let started = start_sign_in(&mut app, email);
        let mut assertion = hers.get(&started["options"], ORIGIN);
        assertion.user_handle = handle.clone();
        let said = match finish_sign_in(&mut app, &started, &assertion.json(&hers)) {
            Ok(session) => session["status"].as_str().unwrap().to_owned(),
            Err(refusal) => refusal.code,
        };
        assert_eq!(said, expected, "{email:?} {handle:?}");
    }
}

/// F067: with an address the answer has the same shape whether there is an account, and whether it has passkeys; what is made
/// up is the same at each time.
#[test]
fn the_start_does_not_tell() {
    let database = with_passkeys(Cluster::shared());
    let mut app = database.app();
    let (_, authenticator) = ada(&database);
    sign_up(&mut app, "bob@example.org", PASSWORD);
    let mut seen = Vec::new();
    for email in ["ada@example.org", "bob@example.org", "nobody@example.org", "no address"] {
        let [first, second] = [(), ()].map(|()| start_sign_in(&mut app, Some(email)));
        let allowed = &first["options"]["allowCredentials"];
        assert_eq!(allowed.as_array().unwrap().len(), 1, "{email}");
        assert_eq!(*allowed, second["options"]["allowCredentials"], "{email}");
        assert_ne!(first["options"]["challenge"], second["options"]["challenge"]);
        assert_eq!(allowed[0]["type"], "public-key");
        assert!([16, 20, 32].contains(&decode(&allowed[0]["id"]).len()), "{allowed}");
        assert!(allowed[0]["transports"].as_array().is_some_and(|all| !all.is_empty()));
        let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&first["options"]), keys(&start_sign_in(&mut app, None)["options"]));
        seen.push(decode(&allowed[0]["id"]));
    }
    assert_eq!(seen[0], authenticator.credential_id);
    seen.dedup();
    assert_eq!(seen.len(), 4, "each address has its own");
    assert_eq!(start_sign_in(&mut app, Some("NOBODY@example.org"))["options"]["allowCredentials"][0]["id"], {
        use base64::Engine;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&seen[2])
    });
}

/// F071, F072, F073, XH2: only the origins that are set, exactly; also one of a local name, and an app's.
#[test]
fn only_our_origins() {
    let database = with_passkeys(Cluster::shared());
    let mut app = database.app();
    let (_, mut authenticator) = ada(&database);
    let android = "android:apk-key-hash:sYUC8p5I9SxqsernBPHmDxz_YVZXmVJdW8s-m3RTTqE";
    configure(&database, json!({"webauthn_rp_origins": [ORIGIN, "https://app.localhost", android]}));
    for (origin, is_ours) in [
        (ORIGIN, true),
        ("https://app.localhost", true),
        (android, true),
        ("https://badapp.example.org", false),
        ("https://app.example.org.evil.test", false),
        ("https://evil.test", false),
        ("http://app.example.org", false),
        ("https://app.example.org:8443", false),
        ("https://app.example.org/", false),
        ("https://APP.example.org", false),
        ("https://example.org", false),
        ("null", false),
        ("", false),
        ("android:apk-key-hash:sYUC8p5I9SxqsernBPHmDxz_YVZXmVJdW8s-m3RTTqF", false),
    ] {
        let said =
            sign_in_with(&mut app, &mut authenticator, |assertion| assertion.client_data["origin"] = json!(origin));
        match is_ours {
            true => assert_eq!(said.unwrap()["status"], "session", "{origin}"),
            false => assert_eq!(code(said), "webauthn_verification_failed", "{origin}"),
        }
    }
    configure(
        &database,
        json!({"webauthn_rp_origins": ["https://app.localhost:3000"], "webauthn_rp_id": "app.localhost"}),
    );
    let mut local = Authenticator::new(Algorithm::Es256);
    let bob = sign_up(&mut app, "bob@example.org", PASSWORD);
    let started = start_registration(&mut app, &bob.access_token);
    let credential = local.create(&started["options"], "https://app.localhost:3000").json();
    finish_registration(&mut app, &bob.access_token, &started, &credential).unwrap();
    let refusal = sign_in_with(&mut app, &mut authenticator, |_| ());
    assert_eq!(code(refusal), "webauthn_verification_failed", "of another relying party");
}

/// F074: nothing but looking and deleting goes where passkeys are switched off, as they are by default.
#[test]
fn switched_off() {
    let database = with_passkeys(Cluster::shared());
    let mut app = database.app();
    let (ada, mut authenticator) = ada(&database);
    let started = start_sign_in(&mut app, None);
    let credential = authenticator.get(&started["options"], ORIGIN).json(&authenticator);
    let session = sign_in_with(&mut app, &mut authenticator, |_| ()).unwrap();
    let token = session["access_token"].as_str().unwrap();
    configure(&database, json!({"enable_passkeys": null}));
    let passkey = ask(&mut app, token, "list_passkeys()", &[]).unwrap()["id"].clone();
    let nobody = Uuid::new_v4();
    for call in ["start_passkey_sign_in()", "start_passkey_sign_in('ada@example.org')"] {
        let refusal = answer(&mut app, call, &[]).unwrap_err();
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("55000", "passkey_disabled"), "{call}");
    }
    assert_eq!(code(finish_sign_in(&mut app, &started, &credential)), "passkey_disabled");
    assert_eq!(code(ask(&mut app, token, "start_passkey_registration()", &[])), "passkey_disabled");
    let call = "finish_passkey_registration($1, '{}')";
    assert_eq!(code(ask(&mut app, token, call, &[&nobody])), "passkey_disabled");
    assert_eq!(code(ask(&mut app, token, "rename_passkey($1, 'x')", &[&id(&passkey)])), "passkey_disabled");
    ask(&mut app, token, "delete_passkey($1)", &[&id(&passkey)]).unwrap();
    assert_eq!(standing(&mut app, &ada), None, "her other session goes on");
}

/// F070, XH9: a user lists, renames and deletes their own passkeys; another's is not found; a deleted one signs nobody in.
#[test]
fn looking_after_ones_own() {
    let database = with_passkeys(Cluster::shared());
    let mut app = database.app();
    let (ada, mut authenticator) = ada(&database);
    let session = sign_in_with(&mut app, &mut authenticator, |_| ()).unwrap();
    let token = session["access_token"].as_str().unwrap();
    let bob = sign_up(&mut app, "bob@example.org", PASSWORD);
    let list = |app: &mut Client, token: &str| -> Vec<(Uuid, Option<String>)> {
        acting(app, token, |transaction: &mut Transaction<'_>| {
            let rows = transaction.query("select id, friendly_name from auth.list_passkeys()", &[]).unwrap();
            rows.iter().map(|row| (row.get(0), row.get(1))).collect()
        })
    };
    let [(passkey, _)] = list(&mut app, token)[..] else { panic!("one") };
    assert_eq!(list(&mut app, &bob.access_token), []);
    let markup = "<img src=x onerror=alert(1)> 'é' \"&\"";
    let renamed = ask(&mut app, token, "rename_passkey($1, $2)", &[&passkey, &markup]).unwrap();
    assert_eq!(renamed["friendly_name"], markup, "as data");
    assert_eq!(list(&mut app, token), [(passkey, Some(markup.to_owned()))]);
    for name in ["", "a\u{7}b", "a\nb", &"x".repeat(121)] {
        let refusal = ask(&mut app, token, "rename_passkey($1, $2)", &[&passkey, &name]);
        assert_eq!(code(refusal), "validation_failed", "{name:?}");
    }
    for other in [passkey, Uuid::new_v4()] {
        for call in ["rename_passkey($1, 'x')", "delete_passkey($1)"] {
            let refusal = ask(&mut app, &bob.access_token, call, &[&other]).unwrap_err();
            assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("02000", "webauthn_credential_not_found"));
        }
    }
    for call in ["list_passkeys()", "start_passkey_registration()"] {
        assert_eq!(code(answer(&mut database.sidecar(), call, &[])), "no_authorization", "{call}");
    }
    ask(&mut app, token, "delete_passkey($1)", &[&passkey]).unwrap();
    assert_eq!(list(&mut app, token), []);
    assert_eq!(code(sign_in_with(&mut app, &mut authenticator, |_| ())), "webauthn_verification_failed");
    let events: Vec<String> = database
        .superuser()
        .query(
            "select event_type from auth.audit_log where user_id = $1 and success order by created_at",
            &[&ada.user_id],
        )
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(events, ["signup", "passkey_registered", "login_success", "passkey_deleted"]);
}

/// XE17: a session of one factor neither adds nor removes a passkey where the account has one that verifies its user.
#[test]
fn a_stolen_session_changes_no_passkey() {
    let database = with_passkeys(Cluster::shared());
    let mut app = database.app();
    let (ada, mut authenticator) = ada(&database);
    let passkey: Uuid = database.superuser().query_one("select id from auth.passkeys", &[]).unwrap().get(0);
    let stolen = &ada.access_token;
    assert_eq!(code(ask(&mut app, stolen, "start_passkey_registration()", &[])), "insufficient_aal");
    assert_eq!(code(ask(&mut app, stolen, "delete_passkey($1)", &[&passkey])), "insufficient_aal");
    let session = sign_in_with(&mut app, &mut authenticator, |_| ()).unwrap();
    let token = session["access_token"].as_str().unwrap();
    register(&mut app, token, &mut Authenticator::new(Algorithm::EdDsa)).unwrap();
    ask(&mut app, token, "delete_passkey($1)", &[&passkey]).unwrap();
}

/// F070, B035: sessions that are aal2 by a passkey are not any more once it is deleted, also with the token that says so; those
/// by another passkey are.
#[test]
fn a_deleted_passkey_raises_nothing() {
    let database = with_passkeys(Cluster::shared());
    let mut app = database.app();
    let (_, mut first) = ada(&database);
    let by_first = sign_in_with(&mut app, &mut first, |_| ()).unwrap();
    let by_first = by_first["access_token"].as_str().unwrap();
    let mut second = Authenticator::new(Algorithm::EdDsa);
    let passkey = register(&mut app, by_first, &mut second).unwrap();
    let by_second = sign_in_with(&mut app, &mut second, |_| ()).unwrap();
    let by_second = by_second["access_token"].as_str().unwrap();
    let level = |token: &str| acting(&mut database.app(), token, |tx| json(tx, "select to_jsonb(auth.aal())", &[]));
    assert_eq!((level(by_first), level(by_second)), (json!("aal2"), json!("aal2")));
    ask(&mut app, by_first, "delete_passkey($1)", &[&id(&passkey["id"])]).unwrap();
    assert_eq!((level(by_first), level(by_second)), (json!("aal2"), json!("aal1")));
    assert_eq!(code(ask(&mut app, by_second, "start_passkey_registration()", &[])), "insufficient_aal");
}

/// B014: an account has ten passkeys at most; a guest has none.
#[test]
fn ten_and_no_guests() {
    let database = with_passkeys(Cluster::shared());
    let mut app = database.app();
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    let token = &ada.access_token;
    let present = || {
        let mut authenticator = Authenticator::new(Algorithm::EdDsa);
        authenticator.flags = USER_PRESENT;
        authenticator
    };
    let early = start_registration(&mut app, token);
    for number in 0..10 {
        let started = start_registration(&mut app, token);
        assert_eq!(started["options"]["excludeCredentials"].as_array().unwrap().len(), number);
        let credential = present().create(&started["options"], ORIGIN).json();
        finish_registration(&mut app, token, &started, &credential).unwrap();
    }
    assert_eq!(code(ask(&mut app, token, "start_passkey_registration()", &[])), "too_many_passkeys");
    let credential = present().create(&early["options"], ORIGIN).json();
    assert_eq!(code(finish_registration(&mut app, token, &early, &credential)), "too_many_passkeys");
    let guest = json(&mut app, "select auth.sign_in_anonymously()", &[]);
    let call = "start_passkey_registration()";
    let refusal = ask(&mut app, guest["access_token"].as_str().unwrap(), call, &[]).unwrap_err();
    // A guest acts as anon, who may not even call it.
    assert_eq!(refusal.sqlstate, "42501");
    configure(&database, json!({"anonymous_role": "authenticated"}));
    let guest = json(&mut app, "select auth.sign_in_anonymously()", &[]);
    assert_eq!(code(ask(&mut app, guest["access_token"].as_str().unwrap(), call, &[])), "validation_failed");
}

/// XH4: an id that somebody has registered is nobody else's, and not a second one of the same account.
#[test]
fn a_credential_has_one_owner() {
    let database = with_passkeys(Cluster::shared());
    let mut app = database.app();
    let (_, hers) = ada(&database);
    let bob = sign_up(&mut app, "bob@example.org", PASSWORD);
    let mut his = Authenticator::new(Algorithm::Es256);
    his.credential_id = hers.credential_id.clone();
    let refusal = register(&mut app, &bob.access_token, &mut his).unwrap_err();
    assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("23505", "webauthn_credential_exists"));
    his.credential_id = vec![7; 32];
    his.flags = USER_PRESENT;
    register(&mut app, &bob.access_token, &mut his).unwrap();
    assert_eq!(code(register(&mut app, &bob.access_token, &mut his)), "webauthn_credential_exists");
    assert_eq!(sign_in_with(&mut app, &mut his, |_| ()).unwrap()["user"]["id"], json!(bob.user_id.to_string()));
}

/// How many sessions there are.
pub fn standing_count(database: &Database) -> i64 {
    database.superuser().query_one("select count(*) from auth.sessions", &[]).unwrap().get(0)
}
