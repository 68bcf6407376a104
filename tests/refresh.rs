//! Refresh: new tokens for a session that goes on, each refresh token good once; rotation and replay.

use auth_harness::{
    Client, Cluster, Database, Person, Refusal, canary, claims, json, refused, sign_in, sign_up, try_acting,
};
use serde_json::{Value, json};
use uuid::Uuid;

const PASSWORD: &str = "correct horse battery";

pub fn refresh(client: &mut impl auth_harness::GenericClient, token: &str) -> Result<Value, Refusal> {
    match client.query_one("select auth.refresh($1)", &[&token]) {
        Ok(row) => Ok(row.get(0)),
        Err(error) => Err(refused::<()>(Err(error))),
    }
}

#[track_caller]
pub fn refreshed(client: &mut impl auth_harness::GenericClient, token: &str) -> String {
    refresh(client, token).unwrap()["refresh_token"].as_str().unwrap().to_owned()
}

/// The code word that this refresh token is refused with.
#[track_caller]
pub fn refusal(client: &mut impl auth_harness::GenericClient, token: &str) -> String {
    refresh(client, token).expect_err("not refused").code
}

pub fn configure(database: &Database, settings: Value) {
    database.admin().execute("select auth.configure($1)", &[&settings]).unwrap();
}

/// What the access token of this session is refused with, if it is.
pub fn standing(client: &mut Client, person: &Person) -> Option<String> {
    try_acting(client, &person.access_token, |_| Ok(())).err().map(|error| refused::<()>(Err(error)).code)
}

pub fn counter(superuser: &mut Client, session_id: Uuid) -> i64 {
    superuser.query_one("select refresh_token_counter from auth.sessions where id = $1", &[&session_id]).unwrap().get(0)
}

/// F148, F149: new tokens for the same session and user; the old token is refused afterwards.
#[test]
fn a_refresh_continues_the_session() {
    let database = Cluster::shared().database();
    let (mut app, mut superuser) = (database.app(), database.superuser());
    let person = sign_up(&mut app, "ada@example.org", PASSWORD);
    let sessions = |superuser: &mut Client| -> String {
        superuser
            .query_one("select (to_jsonb(s) - '{refresh_token_counter,refreshed_at,updated_at}'::text[])::text from auth.sessions s", &[])
            .unwrap()
            .get(0)
    };
    let before = sessions(&mut superuser);
    let mut token = person.refresh_token.clone();
    let mut seen = vec![token.clone()];
    for round in 1..=5 {
        let answer = refresh(&mut app, &token).unwrap();
        assert_eq!(answer["status"], "session");
        let access_token = answer["access_token"].as_str().unwrap();
        let (old, new) = (claims(&person.access_token), claims(access_token));
        for claim in ["sub", "session_id", "role", "aal", "amr", "email", "aud", "iss"] {
            assert_eq!(new[claim], old[claim], "round {round}: claim {claim}");
        }
        assert_ne!(new["jti"], old["jti"]);
        assert_eq!(answer["user"]["id"], person.user_id.to_string());
        try_acting(&mut app, access_token, |_| Ok(())).unwrap();
        token = answer["refresh_token"].as_str().unwrap().to_owned();
        assert!(!seen.contains(&token), "every refresh token is another one");
        seen.push(token.clone());
    }
    assert_eq!(sessions(&mut superuser), before, "still the one session, changed in nothing else");
    assert_eq!(refusal(&mut app, &seen[4]), "refresh_token_already_used");
}

/// F150: a token that is used twice ends every session of its user at once, and nobody else's; a wrong token ends none.
#[test]
fn a_replay_ends_every_session_of_the_user() {
    let database = Cluster::shared().database();
    let (mut app, mut other) = (database.app(), database.app());
    let phone = sign_up(&mut app, "ada@example.org", PASSWORD);
    let laptop = sign_in(&mut app, "ada@example.org", PASSWORD);
    let stranger = sign_up(&mut app, "eve@example.org", PASSWORD);
    let newest = refreshed(&mut app, &phone.refresh_token);

    let answer = refresh(&mut other, &phone.refresh_token).unwrap_err();
    assert_eq!((answer.sqlstate.as_str(), answer.code.as_str()), ("28000", "refresh_token_already_used"));
    for token in [&newest, &laptop.refresh_token, &phone.refresh_token] {
        assert_eq!(refusal(&mut app, token), "session_not_found");
    }
    for person in [&phone, &laptop] {
        assert_eq!(standing(&mut app, person).as_deref(), Some("session_not_found"), "access tokens die with them");
    }
    assert_eq!(standing(&mut app, &stranger), None);
    refreshed(&mut app, &stranger.refresh_token);
    // A new sign-in is a new beginning, also within the same second.
    let again = sign_in(&mut app, "ada@example.org", PASSWORD);
    assert_eq!(standing(&mut app, &again), None);
    refreshed(&mut app, &again.refresh_token);
}

/// F150: what a replay ends stays ended although whoever replayed rolls back, in a transaction or to a savepoint, and is
/// dead for everyone else before that.
#[test]
fn a_rolled_back_replay_still_ends_every_session() {
    for savepoint in [false, true] {
        let database = Cluster::shared().database();
        let (mut app, mut other) = (database.app(), database.app());
        let phone = sign_up(&mut app, "ada@example.org", PASSWORD);
        let laptop = sign_in(&mut app, "ada@example.org", PASSWORD);
        let newest = refreshed(&mut app, &phone.refresh_token);

        let mut transaction = app.transaction().unwrap();
        if savepoint {
            let mut inner = transaction.savepoint("s").unwrap();
            assert_eq!(refusal(&mut inner, &phone.refresh_token), "refresh_token_already_used");
            inner.rollback().unwrap();
        } else {
            assert_eq!(refusal(&mut transaction, &phone.refresh_token), "refresh_token_already_used");
        }
        assert_eq!(standing(&mut other, &laptop).as_deref(), Some("session_not_found"));
        transaction.rollback().unwrap();
        for token in [&newest, &laptop.refresh_token] {
            assert_eq!(refusal(&mut other, token), "session_not_found");
        }
        assert_eq!(standing(&mut other, &phone).as_deref(), Some("session_not_found"));
        let (scope, reason): (String, String) = {
            let row = database.superuser().query_one("select scope, reason from auth.revocations", &[]).unwrap();
            (row.get(0), row.get(1))
        };
        assert_eq!((scope.as_str(), reason.as_str()), ("user", "refresh_token_reuse"));
    }
}

/// F149: a refresh that is rolled back moved nothing: the old token still works once, what was handed out in between acts
/// for nobody, and the token ahead of the row moves the row forward, after which the older ones are replays.
#[test]
fn a_rolled_back_refresh_and_a_token_ahead_of_the_row() {
    let database = Cluster::shared().database();
    let (mut app, mut superuser) = (database.app(), database.superuser());
    let person = sign_up(&mut app, "ada@example.org", PASSWORD);
    let mut transaction = app.transaction().unwrap();
    let answer = refresh(&mut transaction, &person.refresh_token).unwrap();
    transaction.rollback().unwrap();
    let minted = answer["access_token"].as_str().unwrap();
    let refusal_of_minted = refused(try_acting(&mut app, minted, |_| Ok(())));
    assert_eq!(refusal_of_minted.sqlstate, "28000", "a rolled-back refresh mints nothing usable");
    assert_eq!(standing(&mut app, &person), None, "the session lives");
    assert_eq!(counter(&mut superuser, person.session_id), 0);

    // As after a failover: the row is behind the token that the client holds.
    let mut token = person.refresh_token.clone();
    let mut tokens = vec![token.clone()];
    for _ in 0..3 {
        token = refreshed(&mut app, &token);
        tokens.push(token.clone());
    }
    superuser.execute("update auth.sessions set refresh_token_counter = 1", &[]).unwrap();
    let successor = refreshed(&mut app, &tokens[3]);
    assert_eq!(counter(&mut superuser, person.session_id), 4);
    let last = refreshed(&mut app, &successor);
    assert_eq!(refusal(&mut app, &tokens[2]), "refresh_token_already_used");
    assert_eq!(refusal(&mut app, &last), "session_not_found");
}

/// F148, F151: what is no token of ours is not found, whatever it looks like, and ends nobody's session.
#[test]
fn forged_tokens_are_not_found() {
    let database = Cluster::shared().database();
    let mut app = database.app();
    let person = sign_up(&mut app, "ada@example.org", PASSWORD);
    let other = sign_up(&mut app, "eve@example.org", PASSWORD);
    let foreign = {
        // Made under the same root key, in another database.
        let elsewhere = Cluster::shared().database();
        sign_up(&mut elsewhere.app(), "ada@example.org", PASSWORD)
    };
    let token = &person.refresh_token;
    let flipped = |place: usize| {
        let mut letters: Vec<char> = token.chars().collect();
        letters[place] = if letters[place] == 'A' { 'B' } else { 'A' };
        letters.into_iter().collect::<String>()
    };
    // Session and counter of one token, MAC of another.
    let spliced = format!("{}{}", &token[..40], &other.refresh_token[40..]);
    let mut cases: Vec<(String, String)> =
        (0..token.len()).map(|place| (format!("letter {place}"), flipped(place))).collect();
    for (title, forged) in [
        ("empty", String::new()),
        ("spliced", spliced),
        ("cut", token[..59].to_owned()),
        ("longer", format!("{token}A")),
        ("padded", format!("{token}=")),
        ("a space", format!("{token} ")),
        ("an access token", person.access_token.clone()),
        ("long", "A".repeat(1 << 20)),
        ("a quote", "' or true --".to_owned()),
        ("not ascii", "ü".repeat(30)),
    ] {
        cases.push((title.to_owned(), forged));
    }
    for (title, forged) in cases {
        let refusal = refresh(&mut app, &forged).expect_err(&title);
        assert_eq!(
            (refusal.sqlstate.as_str(), refusal.code.as_str()),
            ("28000", "refresh_token_not_found"),
            "{title}: {}",
            refusal.message
        );
    }
    assert_eq!(refusal(&mut app, &foreign.refresh_token), "session_not_found");
    let null = refused(app.execute("select auth.refresh(null)", &[]));
    assert_eq!((null.sqlstate.as_str(), null.code.as_str()), ("22023", "validation_failed"));
    let option = refused(app.execute("select auth.refresh($1, '{\"scope\": \"x\"}')", &[token]));
    assert_eq!((option.sqlstate.as_str(), option.code.as_str()), ("22023", "validation_failed"));
    refreshed(&mut app, token);
    assert_eq!(standing(&mut app, &other), None);
}

/// F153: switched off, answers carry no refresh token and a refresh is refused, also with a token from before.
#[test]
fn refresh_tokens_can_be_switched_off() {
    let database = Cluster::shared().database();
    let mut app = database.app();
    let person = sign_up(&mut app, "ada@example.org", PASSWORD);
    configure(&database, json!({"refresh_tokens_enabled": false}));
    for statement in [
        "select auth.sign_up('eve@example.org', 'long enough!')",
        "select auth.sign_in('eve@example.org', 'long enough!')",
    ] {
        let answer = json(&mut app, statement, &[]);
        assert!(answer.get("refresh_token").is_none(), "{statement}");
        try_acting(&mut app, answer["access_token"].as_str().unwrap(), |_| Ok(())).unwrap();
    }
    let refusal = refresh(&mut app, &person.refresh_token).unwrap_err();
    assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("55000", "refresh_disabled"));
    configure(&database, json!({"refresh_tokens_enabled": true}));
    refreshed(&mut app, &person.refresh_token);
}

/// XD5, F150: within the interval the token before the current one gets the same successor while that is unused; the
/// grandparent is a replay at once, and so is the parent once the interval is over.
#[test]
fn the_reuse_interval_is_for_the_parent_only() {
    let database = Cluster::shared().database();
    let (mut app, mut superuser) = (database.app(), database.superuser());
    configure(&database, json!({"refresh_reuse_interval": 10}));
    let start = |app: &mut Client, name: &str| -> (Person, String, String) {
        let person = sign_up(app, &format!("{name}@example.org"), PASSWORD);
        let first = refreshed(app, &person.refresh_token);
        let second = refreshed(app, &first);
        (person, first, second)
    };

    let (person, parent, successor) = start(&mut app, "parent");
    for _ in 0..3 {
        assert_eq!(refreshed(&mut app, &parent), successor, "the parent gets the same successor");
    }
    let third = refreshed(&mut app, &successor);
    assert_eq!(refusal(&mut app, &parent), "refresh_token_already_used", "its successor was used by now");
    assert_eq!(refusal(&mut app, &third), "session_not_found");
    assert_eq!(standing(&mut app, &person).as_deref(), Some("session_not_found"));

    let (person, _, successor) = start(&mut app, "grandparent");
    assert_eq!(refusal(&mut app, &person.refresh_token), "refresh_token_already_used");
    assert_eq!(refusal(&mut app, &successor), "session_not_found");

    let (_, parent, successor) = start(&mut app, "late");
    superuser.execute("update auth.sessions set refreshed_at = refreshed_at - interval '11 s'", &[]).unwrap();
    assert_eq!(refusal(&mut app, &parent), "refresh_token_already_used");
    assert_eq!(refusal(&mut app, &successor), "session_not_found");

    // Asking again and again does not stretch the interval.
    let (_, parent, successor) = start(&mut app, "often");
    superuser.execute("update auth.sessions set refreshed_at = refreshed_at - interval '5 s'", &[]).unwrap();
    assert_eq!(refreshed(&mut app, &parent), successor);
    superuser.execute("update auth.sessions set refreshed_at = refreshed_at - interval '6 s'", &[]).unwrap();
    assert_eq!(refusal(&mut app, &parent), "refresh_token_already_used");
}

/// F150: with scope session a replay ends its own session and no other.
#[test]
fn the_reuse_scope_may_be_the_session() {
    let database = Cluster::shared().database();
    let mut app = database.app();
    configure(&database, json!({"refresh_reuse_scope": "session"}));
    let phone = sign_up(&mut app, "ada@example.org", PASSWORD);
    let laptop = sign_in(&mut app, "ada@example.org", PASSWORD);
    let newest = refreshed(&mut app, &phone.refresh_token);
    let mut transaction = app.transaction().unwrap();
    assert_eq!(refusal(&mut transaction, &phone.refresh_token), "refresh_token_already_used");
    transaction.rollback().unwrap();
    assert_eq!(refusal(&mut app, &newest), "session_not_found");
    assert_eq!(standing(&mut app, &phone).as_deref(), Some("session_not_found"));
    assert_eq!(standing(&mut app, &laptop), None);
    refreshed(&mut app, &laptop.refresh_token);
}

/// F172: there is no secret of refresh tokens to configure, and none to leak: they are made under the root key, so a setting
/// of that kind is unknown. People who look for theirs are told so.
#[test]
fn there_is_no_refresh_secret_to_configure() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/sessions.md");
    assert!(std::fs::read_to_string(page).unwrap().contains("AUTH_REFRESH_TOKEN_SECRET"));
    let database = Cluster::shared().database();
    let secret = canary();
    for name in ["refresh_token_secret", "AUTH_REFRESH_TOKEN_SECRET"] {
        let mut settings = serde_json::Map::new();
        settings.insert(name.to_owned(), json!(secret));
        let refusal = refused(database.admin().execute("select auth.configure($1)", &[&Value::Object(settings)]));
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("22023", "validation_failed"));
    }
    let mut app = database.app();
    let person = sign_up(&mut app, "ada@example.org", PASSWORD);
    refreshed(&mut app, &person.refresh_token);
}
