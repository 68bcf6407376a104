//! Acting as a user: what `auth.authenticate` sets, what the readers answer, and what a policy makes of it.

use auth_harness::{Cluster, acting, claims, json, postgres, refused, sign_in, sign_up, try_acting, wait_until};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::minting::{
    Mint, PASSWORD, alice_and_bob, assert_refused, carry, changed, count, notes, refused_at_every_door, seen,
    server_seconds, text, uid,
};

/// F165, F166: the claims of an access token, as Supabase has them and ours beside them.
#[test]
fn an_access_token_has_the_claims() {
    let database = Cluster::shared().database();
    let mut app = database.app();
    let answer = json(&mut app, "select auth.sign_up('ada@example.org', $1, '{\"name\": \"Ada\"}')", &[&PASSWORD]);
    let token = answer["access_token"].as_str().unwrap();
    let claims_of_token = claims(token);
    let now = server_seconds(&mut app);
    let user_id = &answer["user"]["id"];
    let expected = json!({
        "sub": user_id, "user_id": user_id, "email": "ada@example.org", "phone": "", "role": "authenticated",
        "aud": "authenticated", "iss": "http://localhost:3000", "token_type": "access", "aal": "aal1",
        "is_anonymous": false, "user_metadata": {"name": "Ada"}, "sc": 0,
        "app_metadata": {"provider": "email", "providers": ["email"]},
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&claims_of_token[name], value, "{name}");
    }
    let issued_at = claims_of_token["iat"].as_i64().unwrap();
    assert!((now - 60..=now).contains(&issued_at), "issued now");
    assert_eq!(claims_of_token["exp"].as_i64().unwrap() - issued_at, 900, "fifteen minutes");
    assert_eq!(claims_of_token["exp"], answer["expires_at"]);
    assert_eq!(claims_of_token["amr"][0]["method"], "password");
    for id in ["session_id", "jti"] {
        assert!(claims_of_token[id].as_str().unwrap().parse::<Uuid>().is_ok(), "{id} is a uuid");
    }

    let mut admin = database.admin();
    admin.execute("select auth.configure('{\"claims_user_metadata\": false}')", &[]).unwrap();
    let again = sign_in(&mut app, "ada@example.org", PASSWORD);
    assert_eq!(claims(&again.access_token).get("user_metadata"), None, "left out where the setting says so");
}

/// N06, F180, F181: token, role and the settings that apps read last until the transaction ends, by COMMIT or ROLLBACK.
#[test]
fn identity_is_the_transactions() {
    let database = Cluster::shared().database();
    let mut app = database.app();
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    const FACTS: &str = "select jsonb_build_array(auth.uid(), auth.role(), auth.email(), auth.session_id(), auth.aal(),
        current_user::text, current_setting('app.user_id', true), current_setting('app.user_email', true),
        (nullif(current_setting('request.jwt.claims', true), '')::jsonb) ->> 'sub', auth.jwt() ->> 'sub')";
    let id = ada.user_id.to_string();
    let inside = json!([
        id,
        "authenticated",
        ada.email,
        ada.session_id.to_string(),
        "aal1",
        "authenticated",
        id,
        ada.email,
        id,
        id
    ]);
    for commit in [true, false, true] {
        let mut transaction = app.transaction().unwrap();
        let answered = json(&mut transaction, "select auth.authenticate($1)", &[&ada.access_token]);
        assert_eq!(answered, claims(&ada.access_token));
        assert_eq!(json(&mut transaction, FACTS, &[]), inside);
        if commit { transaction.commit() } else { transaction.rollback() }.unwrap();

        for facts in [json(&mut app, FACTS, &[]), json(&mut app.transaction().unwrap(), FACTS, &[])] {
            assert_eq!(facts[5], "app", "the role is the login's again");
            for (place, fact) in facts.as_array().unwrap().iter().enumerate().filter(|(place, _)| *place != 5) {
                assert!(fact.is_null() || fact == "", "fact {place} is left over: {fact}");
            }
        }
    }
}

/// N06: an id that was handed out stays what it was, although the identity changes inside the same row.
#[test]
fn an_answer_outlives_a_change_of_identity() {
    let database = Cluster::shared().database();
    let (alice, bob) = alice_and_bob(&database);
    let mut app = database.app();
    let mut transaction = app.transaction().unwrap();
    transaction.execute("select auth.authenticate($1)", &[&alice.access_token]).unwrap();
    let row = transaction
        .query_one("select auth.uid(), auth.authenticate($1) ->> 'sub', auth.uid()", &[&bob.access_token])
        .unwrap();
    let (before, between, after): (Uuid, String, Uuid) = (row.get(0), row.get(1), row.get(2));
    assert_eq!((before, between, after), (alice.user_id, bob.user_id.to_string(), bob.user_id));
}

/// N06: outside a transaction block nothing would last, so it is refused instead of silently forgotten.
#[test]
fn authenticate_needs_a_transaction() {
    let database = Cluster::shared().database();
    let mut app = database.app();
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    for token in [Some(&ada.access_token), None] {
        let refusal = refused(app.execute("select auth.authenticate($1)", &[&token]));
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("25P01", "no_transaction"));
        assert_eq!(refusal.hint.as_deref(), Some("begin"));
    }
    assert_eq!(uid(&mut app).unwrap(), None);
    // Several statements sent as one are a transaction.
    let messages = app
        .simple_query(&format!("select auth.authenticate('{}'); select auth.uid() as id", ada.access_token))
        .unwrap();
    let last = messages.iter().rev().find_map(|message| match message {
        postgres::SimpleQueryMessage::Row(row) => row.get("id").map(str::to_owned),
        _ => None,
    });
    assert_eq!(last, Some(ada.user_id.to_string()));
    assert_eq!(uid(&mut app).unwrap(), None);
}

/// F181: without a token a request is anon, also after it was somebody.
#[test]
fn authenticate_null_is_anon() {
    let database = Cluster::shared().database();
    let mut app = database.app();
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    notes(&database, &[&ada]);
    let mut transaction = app.transaction().unwrap();
    transaction.execute("select auth.authenticate($1)", &[&ada.access_token]).unwrap();
    assert_eq!(seen(&mut transaction).unwrap(), [ada.email.as_str()]);
    let answered = json(&mut transaction, "select auth.authenticate(null)", &[]);
    assert_eq!(answered, json!({"role": "anon"}));
    assert_eq!(uid(&mut transaction).unwrap(), None);
    assert_eq!(text(&mut transaction, "select current_user::text").as_deref(), Some("anon"));
    for setting in ["app.user_id", "app.user_email", "request.jwt.claims"] {
        let value = text(&mut transaction, &format!("select current_setting('{setting}', true)"));
        assert_eq!(value.as_deref(), Some(""), "{setting}");
    }
    assert!(seen(&mut transaction).unwrap().is_empty());
}

/// F179, F184: a policy as every tutorial has it; a token that is not good sees no row and gets 28000.
#[test]
fn a_policy_shows_everyone_their_own() {
    let database = Cluster::shared().database();
    let (alice, bob) = alice_and_bob(&database);
    notes(&database, &[&alice, &bob]);
    let mut app = database.app();
    for person in [&alice, &bob, &alice] {
        let rows = acting(&mut app, &person.access_token, |transaction| seen(transaction).unwrap());
        assert_eq!(rows, [person.email.as_str()]);
    }
    acting(&mut app, &bob.access_token, |transaction| {
        transaction.execute("insert into notes (body) values ('mine by default')", &[]).unwrap();
        assert_eq!(seen(transaction).unwrap(), ["bob@example.org", "mine by default"]);
    });
    let stolen = try_acting(&mut app, &bob.access_token, |transaction| {
        transaction.execute("insert into notes values ($1, 'planted')", &[&alice.user_id])
    });
    assert_refused(stolen, "42501", "", "a row in somebody else's name");

    let forged = format!("{}x", alice.access_token);
    let entered = try_acting(&mut app, &forged, |transaction| seen(transaction));
    assert_refused(entered, "28000", "bad_jwt", "a forged token");
    let mut transaction = app.transaction().unwrap();
    transaction.batch_execute("set local role authenticated").unwrap();
    carry(&mut transaction, &forged);
    assert_refused(seen(&mut transaction), "28000", "bad_jwt", "a forged token in the setting");
    transaction.rollback().unwrap();

    // Nobody is nobody: no error, no row; and a policy for nobody opens only to nobody.
    let mut transaction = app.transaction().unwrap();
    transaction.batch_execute("set local role authenticated").unwrap();
    assert!(seen(&mut transaction).unwrap().is_empty());
}

/// F163, N10: expiry goes by the statement's time. An open transaction, whose now() stands still, ends nobody's expiry;
/// a refresh gives a good token.
#[test]
fn a_token_expires_inside_an_open_transaction() {
    let database = Cluster::shared().database();
    let mint = Mint::install(&database);
    let mut app = database.app();
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    let expires_at = server_seconds(&mut app) + 3;
    let token = mint.token(&changed(&claims(&ada.access_token), json!({"exp": expires_at})));

    let mut transaction = app.transaction().unwrap();
    transaction.execute("select auth.authenticate($1)", &[&token]).unwrap();
    assert_eq!(uid(&mut transaction).unwrap(), Some(ada.user_id));
    assert_eq!(
        count(&mut transaction, "select extract(epoch from now())::bigint").cmp(&expires_at),
        std::cmp::Ordering::Less
    );
    let mut refusal = None;
    wait_until("the token to expire", || {
        let mut savepoint = transaction.transaction().unwrap();
        match uid(&mut savepoint) {
            Ok(_) => false,
            Err(error) => {
                refusal = Some(refused(Err::<(), _>(error)));
                savepoint.rollback().unwrap();
                true
            }
        }
    });
    let refusal = refusal.unwrap();
    assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("28000", "session_expired"));
    assert!(
        count(&mut transaction, "select floor(extract(epoch from now()))::bigint") < expires_at,
        "now() stood still"
    );
    transaction.rollback().unwrap();
    refused_at_every_door(&mut app, &token, "session_expired", "past exp");

    let answer = json(&mut app, "select auth.refresh($1)", &[&ada.refresh_token]);
    let fresh_token = answer["access_token"].as_str().unwrap();
    acting(&mut app, fresh_token, |transaction| assert_eq!(uid(transaction).unwrap(), Some(ada.user_id)));
}

/// F164: who is asking comes from the claims, what the account is now from the table; the session is asked for each time.
#[test]
fn readers_tell_claims_and_get_user_tells_the_account() {
    let database = Cluster::shared().database();
    let mut app = database.app();
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    let mut superuser = database.superuser();
    superuser.execute("update auth.users set email = 'new@example.org' where id = $1", &[&ada.user_id]).unwrap();
    acting(&mut app, &ada.access_token, |transaction| {
        assert_eq!(text(transaction, "select auth.email()").as_deref(), Some("ada@example.org"));
        assert_eq!(json(transaction, "select auth.get_user()", &[])["email"], "new@example.org");
    });
    superuser.execute("delete from auth.sessions where id = $1", &[&ada.session_id]).unwrap();
    refused_at_every_door(&mut app, &ada.access_token, "session_not_found", "a session without a row");
}

/// F181: a user's database role is the one in auth.users, and only one that the login may take.
#[test]
fn the_role_is_one_that_the_login_may_take() {
    let database = Cluster::shared().database();
    let mut app = database.app();
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    database.superuser().execute("update auth.users set role = 'service_role' where id = $1", &[&ada.user_id]).unwrap();
    let stronger = sign_in(&mut app, "ada@example.org", PASSWORD);
    assert_eq!(claims(&stronger.access_token)["role"], "service_role");
    let entered = try_acting(&mut app, &stronger.access_token, |transaction| uid(transaction));
    assert_refused(entered, "42501", "", "a role that the login is no member of");
    assert_eq!(text(&mut app, "select current_user::text").as_deref(), Some("app"));
    assert_eq!(uid(&mut app).unwrap(), None);
}

/// N12, F141, B035, B036: policies see how and when somebody signed in.
#[test]
fn fresh_and_aal_stand_in_policies() {
    let database = Cluster::shared().database();
    let mint = Mint::install(&database);
    let (alice, _) = alice_and_bob(&database);
    notes(&database, &[&alice]);
    database
        .superuser()
        .batch_execute(
            "drop policy own on notes;
            create policy careful on notes to authenticated
                using (owner = auth.uid() and auth.fresh('10 min') and auth.aal() = 'aal2')",
        )
        .unwrap();
    database.superuser().batch_execute("update auth.sessions set aal = 'aal2'").unwrap();
    let mut app = database.app();
    let now = server_seconds(&mut app);
    let proved = |seconds_ago: i64, aal: &str| {
        let methods = json!([{"method": "password", "timestamp": now - 86_400}, {"method": "totp", "timestamp": now - seconds_ago}]);
        mint.token(&changed(&claims(&alice.access_token), json!({"aal": aal, "amr": methods})))
    };
    let cases = [
        ("fresh and strong", proved(60, "aal2"), 1, true),
        ("old", proved(700, "aal2"), 0, true),
        ("weak", proved(60, "aal1"), 0, false),
        (
            "without a method",
            mint.token(&changed(&claims(&alice.access_token), json!({"aal": "aal2", "amr": []}))),
            0,
            true,
        ),
    ];
    for (what, token, rows, strong) in cases {
        acting(&mut app, &token, |transaction| assert_eq!(seen(transaction).unwrap().len(), rows, "{what}"));
        let raised = try_acting(&mut app, &token, |transaction| transaction.execute("select auth.require_aal2()", &[]));
        if strong {
            assert_eq!(raised.unwrap(), 1, "{what}");
        } else {
            assert_refused(raised, "28000", "insufficient_aal", what);
        }
    }
    assert_eq!(json(&mut app, "select to_jsonb(auth.fresh('10 years'))", &[]), Value::Bool(false));
    let null_age = acting(&mut app, &proved(1, "aal2"), |tx| json(tx, "select to_jsonb(auth.fresh(null))", &[]));
    assert_eq!(null_age, Value::Bool(false));
}

/// N12: without a user the require functions refuse instead of answering null.
#[test]
fn require_refuses_nobody() {
    let database = Cluster::shared().database();
    let mut app = database.app();
    for call in ["select auth.require_uid()", "select auth.require_aal2()"] {
        assert_refused(app.execute(call, &[]), "28000", "no_authorization", call);
    }
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    let id: Uuid =
        acting(&mut app, &ada.access_token, |tx| tx.query_one("select auth.require_uid()", &[]).unwrap().get(0));
    assert_eq!(id, ada.user_id);
}

/// F175 (SQL half): the claims of a token that would be accepted, and no effect.
#[test]
fn verify_token_tells_and_changes_nothing() {
    let database = Cluster::shared().database();
    let mut app = database.app();
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    let mut transaction = app.transaction().unwrap();
    let told = json(&mut transaction, "select auth.verify_token($1)", &[&ada.access_token]);
    assert_eq!(told, claims(&ada.access_token));
    assert_eq!(uid(&mut transaction).unwrap(), None);
    assert_eq!(text(&mut transaction, "select current_user::text").as_deref(), Some("app"));
    assert_refused(transaction.execute("select auth.verify_token(null)", &[]), "22023", "validation_failed", "null");
}

/// N20: an app's own tests act as a user without a password: superusers only, in a transaction, never in production.
#[test]
fn test_as_is_for_tests() {
    let database = Cluster::shared().database();
    let (alice, bob) = alice_and_bob(&database);
    notes(&database, &[&alice, &bob]);
    let mut superuser = database.superuser();
    for person in [&alice, &bob] {
        let mut transaction = superuser.transaction().unwrap();
        transaction.execute("select auth.test_as($1)", &[&person.email]).unwrap();
        assert_eq!(uid(&mut transaction).unwrap(), Some(person.user_id));
        assert_eq!(text(&mut transaction, "select current_user::text").as_deref(), Some("authenticated"));
        assert_eq!(seen(&mut transaction).unwrap(), [person.email.as_str()]);
        transaction.rollback().unwrap();
    }
    let mut transaction = superuser.transaction().unwrap();
    transaction.execute("select auth.test_as(null)", &[]).unwrap();
    assert_eq!(text(&mut transaction, "select current_user::text").as_deref(), Some("anon"));
    assert!(seen(&mut transaction).unwrap().is_empty());
    transaction.rollback().unwrap();
    assert_eq!(count(&mut superuser, "select count(*) from auth.sessions where amr @> '[{\"method\": \"test\"}]'"), 0);

    assert_refused(superuser.execute("select auth.test_as($1)", &[&alice.email]), "25P01", "no_transaction", "alone");
    let mut transaction = superuser.transaction().unwrap();
    let unknown = transaction.execute("select auth.test_as('nobody@example.org')", &[]);
    assert_refused(unknown, "02000", "user_not_found", "nobody's address");
    transaction.rollback().unwrap();

    for mut client in [database.app(), database.service(), database.admin(), database.sidecar()] {
        let mut transaction = client.transaction().unwrap();
        let refusal = refused(transaction.execute("select auth.test_as($1)", &[&alice.email]));
        assert_eq!(refusal.sqlstate, "42501", "only superusers");
    }
    // Not even where somebody granted it.
    superuser.batch_execute("grant execute on function auth.test_as(text) to app").unwrap();
    let mut app = database.app();
    let mut transaction = app.transaction().unwrap();
    assert_eq!(refused(transaction.execute("select auth.test_as($1)", &[&alice.email])).sqlstate, "42501");
    transaction.rollback().unwrap();

    database.admin().execute("select auth.configure('{\"environment\": \"production\"}')", &[]).unwrap();
    let mut transaction = superuser.transaction().unwrap();
    let refusal = refused(transaction.execute("select auth.test_as($1)", &[&alice.email]));
    assert_eq!(refusal.sqlstate, "55000", "not in production");
}
