//! Refresh under stress: a hundred at once, an old snapshot, a backend that dies in the middle.

use auth_harness::{Client, Cluster, Database, Refusal, sign_in, sign_up, storm_with, wait_until};
use serde_json::{Value, json};

use crate::refresh::{configure, counter, refresh, refreshed, refusal, standing};

const PASSWORD: &str = "correct horse battery";

/// F150, N41, XD1: a hundred refreshes of one token at once. Without an interval one is answered, and because all others
/// are replays every session of the user is dead; under the supabase profile all hundred get the same successor.
#[test]
fn a_hundred_refreshes_at_once() {
    const CALLERS: usize = 100;
    let database = Cluster::shared().database();
    let (mut app, mut superuser) = (database.app(), database.superuser());
    for profile in ["default", "supabase"] {
        database.admin().execute("select auth.apply_profile($1)", &[&profile]).unwrap();
        database.admin().execute("select auth.configure('{\"signup_mode\": \"immediate\"}')", &[]).unwrap();
        let phone = sign_up(&mut app, &format!("{profile}@example.org"), PASSWORD);
        let laptop = sign_in(&mut app, &phone.email, PASSWORD);
        let answers = storm_with(
            CALLERS,
            |_| {
                let mut client = database.app();
                // Plans and caches are warm, so that the race is about the row.
                assert_eq!(refusal(&mut client, "nonsense"), "refresh_token_not_found");
                client
            },
            |_, mut client| refresh(&mut client, &phone.refresh_token),
        );
        let answered: Vec<&Value> = answers.iter().flatten().map(|answer| &answer["refresh_token"]).collect();
        let refusals: Vec<&Refusal> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
        if profile == "default" {
            assert_eq!(answered.len(), 1, "{refusals:?}");
            for refusal in &refusals {
                assert!(
                    ["refresh_token_already_used", "session_not_found"].contains(&refusal.code.as_str()),
                    "{refusal:?}"
                );
            }
            assert!(refusals.iter().any(|refusal| refusal.code == "refresh_token_already_used"));
            for token in [answered[0].as_str().unwrap(), &laptop.refresh_token] {
                assert_eq!(refusal(&mut app, token), "session_not_found");
            }
            for person in [&phone, &laptop] {
                assert_eq!(standing(&mut app, person).as_deref(), Some("session_not_found"));
            }
        } else {
            assert_eq!(answered.len(), CALLERS, "{refusals:?}");
            assert!(answered.iter().all(|token| *token == answered[0]), "one successor for all");
            assert_eq!(counter(&mut superuser, phone.session_id), 1, "one step, not a hundred");
            refreshed(&mut app, answered[0].as_str().unwrap());
            assert_eq!(standing(&mut app, &laptop), None);
        }
    }
}

/// XD1, XD9, N41: a refresh that meets an open change of its session waits for it and then judges what was committed: after
/// a commit it is a replay or has no session or user any more, after a rollback it is as if nothing had been.
#[test]
fn a_refresh_waits_for_an_open_change() {
    let database = Cluster::shared().database();
    let mut operator = database.superuser();
    for (number, (change, code)) in [
        ("select auth.refresh('{token}')", "refresh_token_already_used"),
        ("delete from auth.sessions where id = '{session}'", "session_not_found"),
        ("delete from auth.users where id = '{user}'", "session_not_found"),
    ]
    .into_iter()
    .enumerate()
    {
        for commits in [true, false] {
            let title = format!("{change}, {}", if commits { "committed" } else { "rolled back" });
            let person = sign_up(&mut database.app(), &format!("user{number}{commits}@example.org"), PASSWORD);
            let change = change
                .replace("{token}", &person.refresh_token)
                .replace("{session}", &person.session_id.to_string())
                .replace("{user}", &person.user_id.to_string());
            let mut transaction = operator.transaction().unwrap();
            transaction.execute(&change, &[]).unwrap();
            let answer = std::thread::scope(|scope| {
                let mut app = database.app();
                let backend: i32 = app.query_one("select pg_backend_pid()", &[]).unwrap().get(0);
                let waiting = scope.spawn({
                    let token = person.refresh_token.clone();
                    move || refresh(&mut app, &token)
                });
                let mut watcher = database.superuser();
                let waits = "select from pg_stat_activity where pid = $1 and wait_event_type = 'Lock'";
                wait_until("the refresh to wait", || watcher.query_opt(waits, &[&backend]).unwrap().is_some());
                if commits {
                    transaction.commit().unwrap()
                } else {
                    transaction.rollback().unwrap()
                }
                waiting.join().unwrap()
            });
            if commits {
                assert_eq!(answer.expect_err(&title).code, code, "{title}");
            } else {
                let successor = answer.expect(&title)["refresh_token"].as_str().unwrap().to_owned();
                refreshed(&mut database.app(), &successor);
            }
        }
    }
}

/// XD1, N41: a refresh under an old snapshot: a session that another connection has refreshed or opened since the snapshot
/// was taken is answered as it is now, or refused for serialisation; never with an old token again, never without an end.
#[test]
fn an_old_snapshot_sees_the_session_as_it_is() {
    let database = Cluster::shared().database();
    configure(&database, json!({"refresh_reuse_interval": 10}));
    let (mut app, mut other) = (database.app(), database.app());
    app.batch_execute("set statement_timeout = '5s'").unwrap();
    for level in ["repeatable read", "serializable"] {
        for case in ["refreshed since", "parent again", "opened since"] {
            let title = format!("{level}, {case}");
            let email = format!("{}@example.org", title.replace([' ', ','], "-"));
            let mut person = (case != "opened since").then(|| sign_up(&mut other, &email, PASSWORD));
            app.batch_execute(&format!("begin isolation level {level}; select now()")).unwrap();
            let person = person.get_or_insert_with(|| sign_up(&mut other, &email, PASSWORD));
            let (token, expected) = match case {
                "opened since" => (person.refresh_token.clone(), None),
                "parent again" => {
                    let successor = refreshed(&mut other, &person.refresh_token);
                    (person.refresh_token.clone(), Some(successor))
                }
                _ => (refreshed(&mut other, &person.refresh_token), None),
            };
            match refresh(&mut app, &token) {
                Ok(answer) => {
                    let successor = answer["refresh_token"].as_str().unwrap();
                    assert_ne!(successor, token, "{title}: the same token again");
                    if let Some(expected) = expected {
                        assert_eq!(successor, expected, "{title}");
                    }
                    app.batch_execute("commit").unwrap();
                    refreshed(&mut other, successor);
                }
                Err(refusal) => {
                    assert_eq!(refusal.sqlstate, "40001", "{title}: {}", refusal.message);
                    app.batch_execute("rollback").unwrap();
                    refreshed(&mut other, &token);
                }
            }
        }
    }
}

/// XD4: a backend that is killed in mid-refresh, or anywhere near one, leaves the row as it was or one step further: the
/// token of that step works, and the other one is not its equal.
#[test]
fn a_killed_refresh_happened_or_did_not() {
    let cluster = Cluster::builder().durable().start();
    let database = cluster.database();
    // Whoever locks this table stops a refresh where its row is written and nothing is committed.
    database
        .superuser()
        .batch_execute(
            "create role hook_owner nologin;
            create schema hooks authorization hook_owner;
            create table hooks.gate ();
            alter table hooks.gate owner to hook_owner;
            create function hooks.claims(event jsonb) returns jsonb language plpgsql as $$
            begin
                lock table hooks.gate in access share mode;
                return event;
            end $$;
            alter function hooks.claims owner to hook_owner",
        )
        .unwrap();
    database.admin().execute("select auth.add_hook('custom_access_token', 'hooks.claims')", &[]).unwrap();
    let person = sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    let (mut token, mut step) = (person.refresh_token.clone(), 0);
    // The postmaster lets clients in until it has noticed the death; so it is the log that says when all is over.
    let reconnect = |mark: usize| {
        wait_until("the server to recover", || {
            cluster.log_since(mark).contains("database system is ready to accept connections")
        });
        wait_until("the server to let clients in", || cluster.try_connect(database.name(), "app", "").is_ok());
        (database.app(), database.superuser())
    };

    // Killed between the write and the commit: it did not happen.
    let mut superuser = database.superuser();
    let mut blocker = superuser.transaction().unwrap();
    blocker.batch_execute("lock table hooks.gate in access exclusive mode").unwrap();
    let ((in_flight, backend), mark) = (in_background(database.app(), token.clone()), cluster.log_len());
    kill_when(&database, backend, "wait_event_type = 'Lock'");
    drop(blocker);
    assert_eq!(in_flight.join().unwrap(), (0, token.clone()), "the killed refresh was not answered");
    let (mut app, mut superuser) = reconnect(mark);
    assert_eq!(counter(&mut superuser, person.session_id), 0);
    token = refreshed(&mut app, &token);
    step += 1;

    // Killed at whatever moment: it happened wholly or not at all, and certainly if it was answered.
    for round in 0..2 {
        let ((in_flight, backend), mark) = (in_background(database.app(), token.clone()), cluster.log_len());
        kill_when(&database, backend, "query like '%auth.refresh%'");
        let (answered, last) = in_flight.join().unwrap();
        step += answered;
        let (mut app, mut superuser) = reconnect(mark);
        let now = counter(&mut superuser, person.session_id);
        if now == step {
            token = refreshed(&mut app, &last);
            step += 1;
        } else {
            // It was committed, and the answer lost on the way: now the last token that arrived is a used one.
            assert_eq!(now, step + 1, "round {round}");
            assert_eq!(refusal(&mut app, &last), "refresh_token_already_used", "round {round}");
            return;
        }
    }
}

/// Refreshes on and on until the connection breaks; how often that was answered and the last token. With the backend's pid.
fn in_background(mut client: Client, token: String) -> (std::thread::JoinHandle<(i64, String)>, i32) {
    let backend = client.query_one("select pg_backend_pid()", &[]).unwrap().get(0);
    let in_flight = std::thread::spawn(move || {
        let (mut answered, mut token) = (0, token);
        while let Ok(row) = client.query_one("select auth.refresh($1)->>'refresh_token'", &[&token]) {
            token = row.get(0);
            answered += 1;
        }
        (answered, token)
    });
    (in_flight, backend)
}

/// SIGKILL for this backend as soon as the condition on its row of pg_stat_activity holds.
fn kill_when(database: &Database, backend: i32, condition: &str) {
    let mut superuser = database.superuser();
    let reached = format!("select from pg_stat_activity where pid = $1 and {condition}");
    wait_until("the refresh to be under way", || superuser.query_opt(&reached, &[&backend]).unwrap().is_some());
    let killed = std::process::Command::new("kill").args(["-9", &backend.to_string()]).status().unwrap();
    assert!(killed.success());
}
