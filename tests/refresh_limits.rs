//! When a session ends without anybody ending it: ban, deletion, idle time, the absolute limit; always by the clock.

use auth_harness::{Client, Cluster, claims, sign_up};
use serde_json::json;

use crate::refresh::{configure, refresh, refreshed, standing};

const PASSWORD: &str = "correct horse battery";

/// XD9: a banned, soft-deleted or deleted user's session is not refreshed, and its access token is dead as well; a ban that
/// is over bans nobody.
#[test]
fn the_banned_and_the_deleted_do_not_refresh() {
    let database = Cluster::shared().database();
    let (mut app, mut superuser) = (database.app(), database.superuser());
    for (name, change, code) in [
        ("banned", "update auth.users set banned_until = clock_timestamp() + interval '1 h'", Some("user_banned")),
        ("forever", "update auth.users set banned_until = 'infinity'", Some("user_banned")),
        ("unbanned", "update auth.users set banned_until = clock_timestamp() - interval '1 ms'", None),
        ("soft", "update auth.users set deleted_at = clock_timestamp()", Some("session_not_found")),
        ("deleted", "delete from auth.users", Some("session_not_found")),
    ] {
        let person = sign_up(&mut app, &format!("{name}@example.org"), PASSWORD);
        superuser.execute(&format!("{change} where id = $1"), &[&person.user_id]).unwrap();
        match (refresh(&mut app, &person.refresh_token), code) {
            (Ok(_), None) => {}
            (Err(refusal), Some(code)) => {
                assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("28000", code), "{name}");
            }
            (answer, _) => panic!("{name}: {answer:?}"),
        }
        assert_eq!(standing(&mut app, &person).is_some(), code.is_some(), "{name}: the access token too");
    }
}

/// F147: 15 minutes and 7 days. Idle for seven days and a second is refused, a second less is not.
#[test]
fn idle_sessions_end() {
    let database = Cluster::shared().database();
    let (mut app, mut superuser) = (database.app(), database.superuser());
    let person = sign_up(&mut app, "ada@example.org", PASSWORD);
    let token = claims(&person.access_token);
    assert_eq!(token["exp"].as_i64().unwrap() - token["iat"].as_i64().unwrap(), 900);
    let idle = |superuser: &mut Client, time: &str| {
        superuser
            .execute(&format!("update auth.sessions set refreshed_at = clock_timestamp() - interval '{time}'"), &[])
            .unwrap()
    };
    idle(&mut superuser, "6 days 23 hours 59 minutes");
    let token = refreshed(&mut app, &person.refresh_token);
    idle(&mut superuser, "7 days 1 second");
    let refusal = refresh(&mut app, &token).unwrap_err();
    assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("28000", "session_expired"));
    // The operator may allow more, or all.
    configure(&database, json!({"refresh_token_ttl": null}));
    refreshed(&mut app, &token);
}

/// XD10: however often it is refreshed, a session ends at its absolute limit.
#[test]
fn a_refresh_does_not_move_the_absolute_limit() {
    let database = Cluster::shared().database();
    let (mut app, mut superuser) = (database.app(), database.superuser());
    let limit = |superuser: &mut Client| -> (i64, String) {
        let row = superuser
            .query_one(
                "select extract(epoch from not_after - created_at)::bigint, not_after::text from auth.sessions",
                &[],
            )
            .unwrap();
        (row.get(0), row.get(1))
    };
    let person = sign_up(&mut app, "ada@example.org", PASSWORD);
    let (length, before) = limit(&mut superuser);
    assert_eq!(length, 30 * 86_400);
    let mut token = person.refresh_token.clone();
    for _ in 0..4 {
        superuser.execute("update auth.sessions set refreshed_at = refreshed_at - interval '6 days'", &[]).unwrap();
        token = refreshed(&mut app, &token);
    }
    assert_eq!(limit(&mut superuser).1, before);
    superuser.execute("update auth.sessions set not_after = clock_timestamp()", &[]).unwrap();
    let refusal = refresh(&mut app, &token).unwrap_err();
    assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("28000", "session_expired"));
    assert_eq!(standing(&mut app, &person).as_deref(), Some("session_expired"));
}

/// N10: time goes on in an open transaction. A session whose end or idle limit came after the transaction began is refused,
/// although now() still says otherwise; so is a ban that began since, and one that ended since is over.
#[test]
fn an_open_transaction_does_not_hold_the_clock() {
    let database = Cluster::shared().database();
    let (mut app, mut superuser) = (database.app(), database.superuser());
    for (name, change, still_good, code) in [
        (
            "limit",
            "update auth.sessions set not_after = clock_timestamp() where user_id = $1 returning not_after",
            "now() < $1::text::timestamptz",
            Some("session_expired"),
        ),
        (
            "idle",
            "update auth.sessions set refreshed_at = clock_timestamp() - interval '7 days' where user_id = $1
            returning refreshed_at",
            "now() - $1::text::timestamptz < interval '7 days'",
            Some("session_expired"),
        ),
        (
            "unbanned",
            "update auth.users set banned_until = clock_timestamp() where id = $1 returning banned_until",
            "now() >= $1::text::timestamptz",
            None,
        ),
    ] {
        let person = sign_up(&mut app, &format!("{name}@example.org"), PASSWORD);
        let mut transaction = app.transaction().unwrap();
        transaction.execute("select now()", &[]).unwrap();
        let moment: String = superuser
            .query_one(&format!("with changed as ({change}) select c::text from changed as t (c)"), &[&person.user_id])
            .unwrap()
            .get(0);
        let by_transaction_time: bool =
            transaction.query_one(&format!("select {still_good}"), &[&moment]).unwrap().get(0);
        assert_eq!(by_transaction_time, code.is_some(), "{name}: now() has it the other way round");
        let answer = refresh(&mut transaction, &person.refresh_token);
        assert_eq!(answer.err().map(|refusal| refusal.code).as_deref(), code, "{name}");
    }
}
