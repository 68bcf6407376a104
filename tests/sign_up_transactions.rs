//! Sign-up and the transaction it is in: the app's own rows, many at once, a client without durability.

use auth_harness::{Client, Cluster, Database, refused, sign_in, sign_up, storm_with, try_acting};

use crate::sign_up::row_counts;

const PASSWORD: &str = "correct horse battery";

/// An app's own table that its login may insert into, with a rule that a name may break.
fn with_profiles(database: &Database) -> Client {
    database
        .superuser()
        .batch_execute(
            "create table profiles (
                user_id uuid primary key references auth.users (id) on delete cascade,
                name text not null check (name <> 'forbidden')
            );
            grant insert, select on profiles to app",
        )
        .unwrap();
    database.app()
}

/// N01, F004: the app's first rows and the account commit or roll back together; a refused insert leaves no user,
/// identity, address or session, and what was handed out before is worth nothing.
#[test]
fn account_and_first_rows_are_one_transaction() {
    let database = Cluster::shared().database();
    let (mut app, mut superuser) = (with_profiles(&database), database.superuser());
    // The first key is made by a first use; the counts below are about people.
    sign_up(&mut app, "first@example.org", PASSWORD);
    let before = row_counts(&mut superuser);

    let mut transaction = app.transaction().unwrap();
    let person = sign_up(&mut transaction, "ada@example.org", PASSWORD);
    let seen: i64 = database.superuser().query_one("select count(*) from auth.users", &[]).unwrap().get(0);
    assert_eq!(seen, 1, "nobody sees the account before it is committed");
    let failed = transaction.execute("insert into profiles values ($1, 'forbidden')", &[&person.user_id]);
    assert_eq!(refused(failed).sqlstate, "23514");
    drop(transaction);
    assert_eq!(row_counts(&mut superuser), before);
    for (statement, token) in
        [("select auth.verify_token($1)", &person.access_token), ("select auth.refresh($1)", &person.refresh_token)]
    {
        assert_eq!(refused(app.execute(statement, &[token])).code, "session_not_found", "{statement}");
    }
    let refusal = refused(app.execute("select auth.sign_in($1, $2)", &[&person.email, &PASSWORD]));
    assert_eq!(refusal.code, "invalid_credentials");

    // A savepoint is enough, and what was outside it stays.
    let mut transaction = app.transaction().unwrap();
    let kept = sign_up(&mut transaction, "kept@example.org", PASSWORD);
    let mut savepoint = transaction.savepoint("s").unwrap();
    sign_up(&mut savepoint, "ada@example.org", PASSWORD);
    savepoint.rollback().unwrap();
    transaction.execute("insert into profiles values ($1, 'Kept')", &[&kept.user_id]).unwrap();
    transaction.commit().unwrap();
    let mut expected = before;
    for table in ["users", "email_addresses", "identities", "password_state", "sessions"] {
        *expected.get_mut(&format!("auth.{table}")).unwrap() += 1;
    }
    assert_eq!(row_counts(&mut superuser), expected);

    // The address is free, and the app's trigger may refuse as well as a constraint.
    superuser
        .batch_execute(
            "create function refuse() returns trigger language plpgsql as $$ begin raise 'too short'; end $$;
            create trigger refuse before insert on profiles for each row execute function refuse()",
        )
        .unwrap();
    let refusal = refused(app.batch_execute(&format!(
        "begin; select auth.sign_up('ada@example.org', '{PASSWORD}');
        insert into profiles select id, 'Ada' from auth.users; commit"
    )));
    assert_eq!(refusal.sqlstate, "42501", "the app cannot read auth.users");
    app.batch_execute("rollback").unwrap();
    let mut transaction = app.transaction().unwrap();
    let person = sign_up(&mut transaction, "ada@example.org", PASSWORD);
    let refusal = refused(transaction.execute("insert into profiles values ($1, 'Ada')", &[&person.user_id]));
    assert_eq!(refusal.message, "too short");
    transaction.rollback().unwrap();
    assert_eq!(row_counts(&mut superuser), expected);
    sign_up(&mut app, "ada@example.org", PASSWORD);
}

/// N40, F005: fifty sign-ups of one address at once, each in another spelling, make one user; all others are told so.
#[test]
fn one_address_signs_up_once() {
    const CALLERS: usize = 50;
    let database = Cluster::shared().database();
    let answers = storm_with(
        CALLERS,
        |index| {
            // The bits of the index choose the capitals.
            let email: String = "abcdef@bücher.example"
                .chars()
                .enumerate()
                .map(|(place, letter)| if index >> place & 1 == 1 { letter.to_ascii_uppercase() } else { letter })
                .collect();
            let email = if index % 7 == 0 { email.replace("bücher", "xn--bcher-kva") } else { email };
            (database.app(), email)
        },
        |_, (mut app, email)| app.execute("select auth.sign_up($1, $2)", &[&email, &PASSWORD]),
    );
    let (made, others): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(made.len(), 1);
    for other in others {
        let refusal = refused(other);
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("23505", "email_exists"));
    }
    let counts = row_counts(&mut database.superuser());
    for table in ["users", "email_addresses", "identities", "password_state", "sessions"] {
        assert_eq!(counts[&format!("auth.{table}")], 1, "{table}");
    }
    sign_in(&mut database.app(), "ABCDEF@BÜCHER.EXAMPLE", PASSWORD);
}

/// What is acknowledged survives a crash (design 11): a client's synchronous_commit = off does not hold in a transaction
/// that one of the flows has written in, and is the client's own again afterwards.
#[test]
fn a_client_cannot_switch_durability_off() {
    let database = Cluster::shared().database();
    let mut app = database.app();
    app.batch_execute("set synchronous_commit = off").unwrap();
    let shown = |client: &mut auth_harness::Transaction<'_>| -> String {
        client.query_one("select current_setting('synchronous_commit')", &[]).unwrap().get(0)
    };
    let mut transaction = app.transaction().unwrap();
    assert_eq!(shown(&mut transaction), "off");
    let person = sign_up(&mut transaction, "ada@example.org", PASSWORD);
    assert_eq!(shown(&mut transaction), "on", "after auth.sign_up");
    transaction.commit().unwrap();

    let mut transaction = app.transaction().unwrap();
    assert_eq!(shown(&mut transaction), "off", "in the next transaction");
    transaction.execute("select auth.sign_in($1, $2)", &[&person.email, &PASSWORD]).unwrap();
    assert_eq!(shown(&mut transaction), "on", "after auth.sign_in");
    transaction.rollback().unwrap();

    let mut transaction = app.transaction().unwrap();
    transaction.execute("select auth.refresh($1)", &[&person.refresh_token]).unwrap();
    assert_eq!(shown(&mut transaction), "on", "after auth.refresh");
    transaction.rollback().unwrap();

    for statement in
        ["select auth.update_user('{\"a\": 1}')", "select auth.revoke_sessions()", "select auth.sign_out()"]
    {
        let level = try_acting(&mut app, &person.access_token, |transaction| {
            assert_eq!(shown(transaction), "off");
            transaction.execute(statement, &[])?;
            Ok(shown(transaction))
        });
        assert_eq!(level.unwrap(), "on", "after {statement}");
    }
}
