//! Sign-in by address and password: who gets in, how the others are refused, and what a password is.

use auth_harness::{Client, Cluster, Refusal, acting, claims, json, refused, sign_in, sign_up, try_acting};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::sign_up::cheap_hashes;

const PASSWORD: &str = "correct horse battery";
/// bcrypt of `correct horse` and of 72 times `a`, made by Python's bcrypt.
const BCRYPT: &str = "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e";
const BCRYPT_OF_72: &str = "$2b$04$abcdefghijklmnopqrstuuBzzIgyKkz7xMWYSzkIjUSnxEQFQ0WNe";

fn try_sign_in(client: &mut Client, email: &str, password: &str) -> Result<Value, Refusal> {
    match client.query_one("select auth.sign_in($1, $2)", &[&email, &password]) {
        Ok(row) => Ok(row.get(0)),
        Err(error) => Err(refused::<()>(Err(error))),
    }
}

fn set_hash(superuser: &mut Client, user_id: Uuid, hash: Option<&str>) {
    superuser.execute("update auth.users set encrypted_password = $2 where id = $1", &[&user_id, &hash]).unwrap();
}

fn hash_of(superuser: &mut Client, user_id: Uuid) -> String {
    superuser.query_one("select encrypted_password from auth.users where id = $1", &[&user_id]).unwrap().get(0)
}

/// F018, XD7: the right password answers tokens and the user, for a session of its own each time; the session, token or
/// setting that the connection had before is not adopted.
#[test]
fn sign_in_opens_a_new_session() {
    let database = Cluster::shared().database();
    let mut app = database.app();
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    let eve = sign_up(&mut app, "eve@example.org", PASSWORD);
    let answer = try_sign_in(&mut app, "ada@example.org", PASSWORD).unwrap();
    assert_eq!(answer["user"]["id"], ada.user_id.to_string());
    assert_eq!((&answer["status"], &answer["token_type"]), (&json!("session"), &json!("bearer")));
    let token = claims(answer["access_token"].as_str().unwrap());
    assert_eq!(token["exp"].as_i64().unwrap() - token["iat"].as_i64().unwrap(), answer["expires_in"].as_i64().unwrap());
    assert_eq!(token["amr"][0]["method"], "password");
    assert_ne!(token["session_id"], ada.session_id.to_string());
    assert_ne!(answer["refresh_token"], ada.refresh_token);

    // Eve has left her token on the connection before Ada signs in on it.
    let ada_again = acting(&mut app, &eve.access_token, |transaction| {
        transaction
            .execute(
                "select set_config('request.jwt.claims', $1, true)",
                &[&json!({"session_id": eve.session_id.to_string()}).to_string()],
            )
            .unwrap();
        let ada_again = sign_in(transaction, "ada@example.org", PASSWORD);
        let still: Uuid = transaction.query_one("select auth.uid()", &[]).unwrap().get(0);
        assert_eq!(still, eve.user_id, "signing in is not acting");
        ada_again
    });
    assert_eq!(ada_again.user_id, ada.user_id);
    assert!(![eve.session_id, ada.session_id].contains(&ada_again.session_id));
    let sessions: Vec<Uuid> = database
        .superuser()
        .query("select id from auth.sessions where user_id = $1", &[&eve.user_id])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(sessions, [eve.session_id]);
    let refusal = refused(app.execute(
        "select auth.sign_in($1, $2, $3)",
        &[&ada.email, &PASSWORD, &json!({"session_id": eve.session_id.to_string()})],
    ));
    assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("22023", "validation_failed"), "unknown option");
}

/// F009, F019, F284, XC12: until the password is right every account, and none, is refused in the same bytes. Then a banned
/// one is told so.
#[test]
fn refusals_are_the_same_until_the_password_is_right() {
    let database = Cluster::shared().database().without_limits();
    cheap_hashes(&database);
    let (mut app, mut superuser) = (database.app(), database.superuser());
    let mut account = |name: &str, change: &str| {
        let person = sign_up(&mut app, &format!("{name}@example.org"), PASSWORD);
        superuser.batch_execute(&format!("update auth.users set {change} where id = '{}'", person.user_id)).unwrap();
    };
    account("known", "id = id");
    account("unconfirmed", "email_confirmed_at = null");
    account("confirmed", "email_confirmed_at = now()");
    account("banned", "banned_until = now() + interval '1 h'");
    account("unbanned", "banned_until = now() - interval '1 s'");
    account("deleted", "deleted_at = now()");
    account("bare", "encrypted_password = null");
    account("empty", "encrypted_password = ''");
    account("malformed", "encrypted_password = '$argon2id$v=19$m=19456,t=2,p=1$'");
    account("costly", "encrypted_password = replace(encrypted_password, 'm=64', 'm=4000000')");
    account("plain", &format!("encrypted_password = '{PASSWORD}'"));
    account("sso", "is_sso_user = true, encrypted_password = null");

    let expected = try_sign_in(&mut app, "known@example.org", "a wrong password").unwrap_err();
    assert_eq!((expected.sqlstate.as_str(), expected.code.as_str()), ("28P01", "invalid_credentials"));
    assert!(!format!("{expected:?}").contains("known"));
    // address, what the right password is answered with
    for (email, with_right_password) in [
        ("known@example.org", "session"),
        ("KNOWN@EXAMPLE.ORG", "session"),
        ("unconfirmed@example.org", "session"),
        ("confirmed@example.org", "session"),
        ("unbanned@example.org", "session"),
        ("banned@example.org", "user_banned"),
        ("deleted@example.org", "invalid_credentials"),
        ("bare@example.org", "invalid_credentials"),
        ("empty@example.org", "invalid_credentials"),
        ("malformed@example.org", "invalid_credentials"),
        ("costly@example.org", "invalid_credentials"),
        ("plain@example.org", "invalid_credentials"),
        ("sso@example.org", "invalid_credentials"),
        ("unknown@example.org", "invalid_credentials"),
        ("known@example.com", "invalid_credentials"),
        ("known", "invalid_credentials"),
        ("", "invalid_credentials"),
        ("known@example.org ", "invalid_credentials"),
        ("%@example.org", "invalid_credentials"),
        ("' or true --", "invalid_credentials"),
    ] {
        for wrong in ["a wrong password", ""] {
            assert_eq!(try_sign_in(&mut app, email, wrong), Err(expected.clone()), "{email} with {wrong:?}");
        }
        match try_sign_in(&mut app, email, PASSWORD) {
            Ok(answer) => assert_eq!(answer["status"], with_right_password, "{email}"),
            Err(refusal) if with_right_password == "user_banned" => {
                assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("28000", "user_banned"));
            }
            Err(refusal) => {
                assert_eq!(with_right_password, "invalid_credentials", "{email}");
                assert_eq!(refusal, expected, "{email}");
            }
        }
    }
    for statement in ["select auth.sign_in(null, 'x')", "select auth.sign_in('known@example.org', null)"] {
        let refusal = refused(app.execute(statement, &[]));
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("22023", "validation_failed"));
    }
    let sessions: i64 = superuser
        .query_one(
            "select count(*) from auth.sessions s join auth.users u on u.id = s.user_id
            where s.created_at > u.created_at + interval '1 h' or u.email !~ '^(known|unconfirmed|confirmed|unbanned)@'
                and (select count(*) from auth.sessions o where o.user_id = u.id) > 1",
            &[],
        )
        .unwrap()
        .get(0);
    assert_eq!(sessions, 0, "a refusal opens no session");
}

/// F019, XC11: whatever is refused costs exactly one hash, and so does what is accepted; only what no account can have and
/// what cannot be written costs none, for known and unknown alike.
#[test]
fn every_refusal_costs_one_hash() {
    // The counter is the server's, so this needs a server of its own.
    let cluster = Cluster::start();
    let database = cluster.database();
    let (mut app, mut admin, mut superuser) = (database.app(), database.admin(), database.superuser());
    let mut account = |name: &str, change: &str| {
        let person = sign_up(&mut app, &format!("{name}@example.org"), PASSWORD);
        superuser.batch_execute(&format!("update auth.users set {change} where id = '{}'", person.user_id)).unwrap();
    };
    account("known", "id = id");
    account("banned", "banned_until = now() + interval '1 h'");
    account("deleted", "deleted_at = now()");
    account("bare", "encrypted_password = null");
    account("empty", "encrypted_password = ''");
    account("malformed", "encrypted_password = '$argon2id$v=19$m=19456,t=2,p=1$'");
    account("costly", "encrypted_password = replace(encrypted_password, 'm=19456', 'm=4000000')");
    account("bcrypt", &format!("encrypted_password = '{BCRYPT}'"));
    account("old", "encrypted_password = replace(encrypted_password, 'm=19456', 'm=1024')");
    let mut hashes = move || json(&mut admin, "select auth.gate_status()", &[])["hashes"].as_u64().unwrap();
    let longest = "x".repeat(1024);
    let too_long = "x".repeat(1025);
    for (title, email, password, cost) in [
        ("XC11 wrong", "known@example.org", "a wrong password", 1),
        ("XC11 wrong and empty", "known@example.org", "", 1),
        ("XC11 wrong and long", "known@example.org", &longest, 1),
        ("XC11 unknown", "unknown@example.org", PASSWORD, 1),
        ("XC11 unknown and long", "unknown@example.org", &longest, 1),
        ("XC11 no address", "nonsense", PASSWORD, 1),
        ("XC11 no password", "bare@example.org", PASSWORD, 1),
        ("XC11 an empty stored hash", "empty@example.org", PASSWORD, 1),
        ("XC11 a malformed stored hash", "malformed@example.org", PASSWORD, 1),
        ("XC11 a stored hash that is too costly", "costly@example.org", PASSWORD, 1),
        ("XC11 an imported hash", "bcrypt@example.org", PASSWORD, 1),
        ("XC11 an imported hash, longer than it takes", "bcrypt@example.org", &longest, 1),
        ("XC11 a hash of other parameters", "old@example.org", PASSWORD, 1),
        ("XC11 banned, wrong", "banned@example.org", "a wrong password", 1),
        ("XC11 banned, right", "banned@example.org", PASSWORD, 1),
        ("XC11 deleted", "deleted@example.org", PASSWORD, 1),
        ("over the hard cap", "known@example.org", &too_long, 0),
        ("over the hard cap, unknown", "unknown@example.org", &too_long, 0),
    ] {
        let before = hashes();
        try_sign_in(&mut app, email, password).expect_err(title);
        assert_eq!(hashes() - before, cost, "{title}");
    }
    let before = hashes();
    try_sign_in(&mut app, "known@example.org", PASSWORD).unwrap();
    assert_eq!(hashes() - before, 1, "right");

    // What cannot be written is refused before it costs anything.
    app.batch_execute("set default_transaction_read_only = on").unwrap();
    for statement in [
        "select auth.sign_in('known@example.org', 'a wrong password')",
        "select auth.sign_up('new@example.org', 'correct horse battery')",
    ] {
        let before = hashes();
        let refusal = refused(app.execute(statement, &[]));
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("25006", "read_only_replica"));
        assert_eq!(hashes(), before, "{statement}");
    }
}

/// XB1, XB8, XB2: every byte of a password counts: long ones to the end, case, white space; only Unicode's two ways to write
/// one letter are the same. A NUL is no character at all.
#[test]
fn every_byte_of_a_password_counts() {
    let database = Cluster::shared().database().without_limits();
    let mut app = database.app();
    let lenient = "select auth.configure('{\"password_max_length\": 1024, \"password_prevent_common\": false}')";
    database.admin().execute(lenient, &[]).unwrap();
    let long: String = (0..200).map(|place| char::from(b'a' + place % 26)).collect();
    let changed = |place: usize| {
        let mut bytes = long.clone().into_bytes();
        bytes[place - 1] ^= 1;
        String::from_utf8(bytes).unwrap()
    };
    let whole = "x".repeat(1024);
    let cases: [(&str, &str, Vec<String>); 6] = [
        (
            "XB1",
            &long,
            vec![
                changed(1),
                changed(72),
                changed(73),
                changed(200),
                long[..199].to_owned(),
                format!("{long}x"),
                long[..72].to_owned(),
            ],
        ),
        ("XB1 at the hard cap", &whole, vec![whole[..1023].to_owned(), format!("{whole}x"), format!("{whole}{whole}")]),
        (
            "XB8 white space",
            " pass word ",
            ["pass word", " pass word", "pass word ", " pass  word ", "\u{a0}pass word\u{a0}"]
                .map(str::to_owned)
                .into(),
        ),
        ("XB8 case", "PassWord1", ["password1", "PASSWORD1", "PassWord1 "].map(str::to_owned).into()),
        ("XB8 look-alikes", "passwort-ſK", ["passwort-sK", "passwort-ſk", "ｐasswort-ſK"].map(str::to_owned).into()),
        ("XB8 line ends", "two\nlines", ["two\r\nlines", "two lines", "two\nlines\n"].map(str::to_owned).into()),
    ];
    for (number, (title, password, others)) in cases.iter().enumerate() {
        let email = format!("user{number}@example.org");
        sign_up(&mut app, &email, password);
        for other in others {
            let refusal = try_sign_in(&mut app, &email, other).expect_err(title);
            assert_eq!(refusal.code, "invalid_credentials", "{title}: {other:?}");
        }
        sign_in(&mut app, &email, password);
    }
    let refusal = refused(app.execute("select auth.sign_up('long@example.org', $1)", &[&format!("{whole}x")]));
    assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("22023", "password_too_long"));

    // Typed on a Mac and on Windows: one letter of two code points, and one of one.
    sign_up(&mut app, "zoe@example.org", "Zoe\u{308} was here");
    sign_in(&mut app, "zoe@example.org", "Zo\u{eb} was here");

    for statement in ["select auth.sign_up('nul@example.org', $1)", "select auth.sign_in('zoe@example.org', $1)"] {
        let refusal = refused(app.execute(statement, &[&"Zo\u{eb} was here\0and not here"]));
        assert_eq!(refusal.sqlstate, "22021", "XB2: {statement}");
    }
}

/// F031, XB1: an imported bcrypt hash lets its owner in and is Argon2id from then on; a password that bcrypt would have cut
/// is refused.
#[test]
fn imported_hashes_are_verified_and_replaced() {
    let database = Cluster::shared().database().without_limits();
    let (mut app, mut superuser) = (database.app(), database.superuser());
    let person = sign_up(&mut app, "ada@example.org", PASSWORD);
    for form in ["$2a$", "$2b$", "$2y$"] {
        let imported = BCRYPT.replacen("$2b$", form, 1);
        set_hash(&mut superuser, person.user_id, Some(&imported));
        for wrong in [PASSWORD, "correct hors", "correct horse ", "Correct horse", &imported] {
            assert_eq!(try_sign_in(&mut app, "ada@example.org", wrong).unwrap_err().code, "invalid_credentials");
            assert_eq!(hash_of(&mut superuser, person.user_id), imported, "a wrong password replaces nothing");
        }
        sign_in(&mut app, "ada@example.org", "correct horse");
        let replaced = hash_of(&mut superuser, person.user_id);
        assert!(replaced.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{replaced}");
        sign_in(&mut app, "ada@example.org", "correct horse");
        assert_eq!(hash_of(&mut superuser, person.user_id), replaced, "once is enough");
    }

    set_hash(&mut superuser, person.user_id, Some(BCRYPT_OF_72));
    for length in [73, 100, 71, 0] {
        assert_eq!(
            try_sign_in(&mut app, "ada@example.org", &"a".repeat(length)).unwrap_err().code,
            "invalid_credentials"
        );
        assert_eq!(hash_of(&mut superuser, person.user_id), BCRYPT_OF_72, "{length}");
    }
    sign_in(&mut app, "ada@example.org", &"a".repeat(72));
    assert!(hash_of(&mut superuser, person.user_id).starts_with("$argon2id$"));
    assert_eq!(try_sign_in(&mut app, "ada@example.org", &"a".repeat(73)).unwrap_err().code, "invalid_credentials");

    // A banned user's hash is left alone: nobody has come in.
    set_hash(&mut superuser, person.user_id, Some(BCRYPT));
    superuser.execute("update auth.users set banned_until = 'infinity'", &[]).unwrap();
    assert_eq!(try_sign_in(&mut app, "ada@example.org", "correct horse").unwrap_err().code, "user_banned");
    assert_eq!(hash_of(&mut superuser, person.user_id), BCRYPT);
}

/// F031: the parameters of new hashes are settings, and a hash of other ones is replaced at the next sign-in, unless that
/// is rolled back.
#[test]
fn hash_parameters_are_settings() {
    let database = Cluster::shared().database();
    let (mut app, mut superuser) = (database.app(), database.superuser());
    let person = sign_up(&mut app, "ada@example.org", PASSWORD);
    let first = hash_of(&mut superuser, person.user_id);
    assert!(first.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{first}");
    for (settings, prefix) in [
        (json!({"argon2_memory_kib": 20000}), "$argon2id$v=19$m=20000,t=2,p=1$"),
        (
            json!({"argon2_memory_kib": 8192, "argon2_iterations": 3, "argon2_parallelism": 2}),
            "$argon2id$v=19$m=8192,t=3,p=2$",
        ),
    ] {
        database.admin().execute("select auth.configure($1)", &[&settings]).unwrap();
        let before = hash_of(&mut superuser, person.user_id);
        let mut transaction = app.transaction().unwrap();
        sign_in(&mut transaction, "ada@example.org", PASSWORD);
        transaction.rollback().unwrap();
        assert_eq!(hash_of(&mut superuser, person.user_id), before);
        sign_in(&mut app, "ada@example.org", PASSWORD);
        let after = hash_of(&mut superuser, person.user_id);
        assert!(after.starts_with(prefix), "{after}");
        sign_in(&mut app, "ada@example.org", PASSWORD);
        assert_eq!(hash_of(&mut superuser, person.user_id), after);
        assert_eq!(
            try_sign_in(&mut app, "ada@example.org", "a wrong password").unwrap_err().code,
            "invalid_credentials"
        );
    }
    let other = sign_up(&mut app, "eve@example.org", PASSWORD);
    let (mine, hers) = (hash_of(&mut superuser, person.user_id), hash_of(&mut superuser, other.user_id));
    assert!(hers.starts_with("$argon2id$v=19$m=8192,t=3,p=2$"));
    assert_ne!(mine, hers, "one password, two salts");
    try_acting(&mut app, &person.access_token, |_| Ok(())).expect("a new hash of the same password ends no session");
}
