//! Identity and the planner: parallel workers, prepared plans, indexes.

use auth_harness::{Client, Cluster, Database, GenericClient, Person, json, refused, try_acting, wait_until};
use serde_json::Value;
use uuid::Uuid;

use crate::minting::{alice_and_bob, assert_refused, carry, count, notes, text, uid};

/// A table that is worth a parallel scan, half of it Alice's and half of it Bob's, and a function that tells which
/// process asks.
fn big_table(database: &Database) -> (Person, Person) {
    let (alice, bob) = alice_and_bob(database);
    let mut superuser = database.superuser();
    superuser
        .batch_execute(
            "create table big (id int, owner uuid);
            create function worker() returns int language plpgsql parallel safe
                as 'begin return pg_backend_pid(); end';
            alter table big enable row level security;
            create policy own on big to authenticated using (owner = auth.uid());
            grant select on big to anon, authenticated",
        )
        .unwrap();
    let insert =
        "insert into big select g, case when g % 2 = 0 then $1::uuid else $2 end from generate_series(1, 20000) as g";
    superuser.execute(insert, &[&alice.user_id, &bob.user_id]).unwrap();
    superuser.batch_execute("analyze big").unwrap();
    (alice, bob)
}

/// Everything in workers: plans cost nothing and the leader takes no part.
fn only_workers(client: &mut impl GenericClient) {
    client
        .batch_execute(
            "set parallel_setup_cost = 0;
            set parallel_tuple_cost = 0;
            set min_parallel_table_scan_size = 0;
            set max_parallel_workers_per_gather = 2;
            set parallel_leader_participation = off",
        )
        .unwrap();
}

/// A Gather on top of any plan that may be in a worker.
fn force_workers(client: &mut impl GenericClient) {
    let version = count(client, "select current_setting('server_version_num')::bigint");
    let setting = if version >= 160_000 { "debug_parallel_query" } else { "force_parallel_mode" };
    client.batch_execute(&format!("set {setting} = on")).unwrap();
}

/// The query's only column, and that it was computed in workers: repeated while the server has none to spare.
fn in_workers(client: &mut impl GenericClient, expressions: &str, from: &str) -> Vec<Vec<Option<String>>> {
    let own = count(client, "select pg_backend_pid()::bigint").to_string();
    let mut answer = Vec::new();
    wait_until("workers to be free", || {
        let sql = format!("select array[worker()::text, {expressions}] from {from}");
        answer = client.query(&sql, &[]).unwrap().iter().map(|row| row.get::<_, Vec<Option<String>>>(0)).collect();
        !answer.is_empty() && answer.iter().all(|row| row[0].as_deref() != Some(own.as_str()))
    });
    answer.iter().map(|row| row[1..].to_vec()).collect()
}

/// N07, XJ10: every reader answers in workers what it answers in the leader, in a parallel scan and under a forced Gather.
#[test]
fn workers_know_who_asks() {
    const READERS: &str = "auth.uid()::text, auth.role(), auth.email(), auth.session_id()::text, auth.aal(),
        auth.jwt() ->> 'jti', auth.fresh('1 hour')::text, auth.require_uid()::text";
    let database = Cluster::shared().database();
    let (alice, bob) = big_table(&database);
    for (way, person) in [("scan", &alice), ("scan", &bob), ("forced", &alice), ("headers", &bob)] {
        let mut app = database.app();
        if way == "forced" {
            force_workers(&mut app)
        } else {
            only_workers(&mut app)
        }
        let mut transaction = app.transaction().unwrap();
        if way == "headers" {
            let headers = serde_json::json!({"authorization": format!("Bearer {}", person.access_token)}).to_string();
            transaction.execute("select set_config('request.headers', $1, true)", &[&headers]).unwrap();
            transaction.batch_execute("set local role authenticated").unwrap();
        } else {
            transaction.execute("select auth.authenticate($1)", &[&person.access_token]).unwrap();
        }
        let serial: Vec<Option<String>> =
            transaction.query_one(&format!("select array[{READERS}]"), &[]).unwrap().get(0);
        assert_eq!(serial[0], Some(person.user_id.to_string()));
        let rows = in_workers(&mut transaction, READERS, "big");
        assert_eq!(rows.len(), 10_000, "{way}: as many as without workers");
        assert!(rows.iter().all(|row| *row == serial), "{way}: {:?} is not {serial:?}", rows[0]);
    }
}

/// XJ10, N06: workers find nobody where the leader finds nobody: no token, a stale one, one that was rolled back.
#[test]
fn workers_believe_nothing_stale() {
    let database = Cluster::shared().database();
    let (alice, bob) = big_table(&database);
    database
        .superuser()
        .batch_execute("create policy everything on big to app using (true); grant select on big to app")
        .unwrap();
    let mut app = database.app();
    only_workers(&mut app);
    const WHO: &str = "coalesce(auth.uid()::text, 'nobody')";
    let some = "big where id <= 100";
    let only = |client: &mut Client| -> Vec<String> {
        let mut rows: Vec<String> =
            in_workers(client, WHO, some).into_iter().map(|row| row[0].clone().unwrap()).collect();
        rows.dedup();
        rows
    };
    assert_eq!(only(&mut app), ["nobody"]);
    app.batch_execute(&format!("set auth.token = '{}'", alice.access_token)).unwrap();
    assert_eq!(only(&mut app), ["nobody"], "set by an earlier statement");
    app.batch_execute("begin").unwrap();
    assert_eq!(only(&mut app), ["nobody"], "set by an earlier transaction");
    app.batch_execute("savepoint before").unwrap();
    carry(&mut app, &bob.access_token);
    assert_eq!(only(&mut app), [bob.user_id.to_string()]);
    app.batch_execute("rollback to before").unwrap();
    assert_eq!(only(&mut app), ["nobody"], "the stale one under the one that was rolled back");
    app.batch_execute("commit").unwrap();
    assert_eq!(only(&mut app), ["nobody"]);
    drop(app);

    let option = format!("-c auth.token={}", alice.access_token);
    let mut app = Cluster::shared().try_connect(database.name(), "app", &option).unwrap();
    only_workers(&mut app);
    assert_eq!(only(&mut app), ["nobody"], "from the startup packet");
    app.batch_execute("begin").unwrap();
    assert_eq!(only(&mut app), ["nobody"], "from the startup packet, in a transaction");
}

/// N06, N07: identity for a whole connection reaches workers too.
#[test]
fn workers_know_a_connections_identity() {
    let database = Cluster::shared().database();
    let (alice, _) = big_table(&database);
    let name = database.name();
    database
        .superuser()
        .batch_execute(&format!("alter role app in database {name} set auth.session_identity = on"))
        .unwrap();
    let mut app = database.app();
    only_workers(&mut app);
    app.execute("select auth.authenticate_session($1)", &[&alice.access_token]).unwrap();
    for _ in 0..2 {
        let rows = in_workers(&mut app, "auth.uid()::text", "big");
        assert_eq!(rows.len(), 10_000);
        assert!(rows.iter().all(|row| row[0] == Some(alice.user_id.to_string())));
    }
}

/// XJ10, XD6: workers refuse as the leader does, also where only they ask; and no error tells the token.
#[test]
fn workers_refuse_what_has_ended() {
    let database = Cluster::shared().database();
    let (alice, _) = big_table(&database);
    let mark = Cluster::shared().log_len();
    for ending in ["session", "user", "key"] {
        let person = auth_harness::sign_in(&mut database.app(), &alice.email, &alice.password);
        let mut app = database.app();
        only_workers(&mut app);
        app.batch_execute("set plan_cache_mode = force_generic_plan").unwrap();
        app.batch_execute("begin isolation level repeatable read").unwrap();
        app.execute("select auth.authenticate($1)", &[&person.access_token]).unwrap();
        // Planned now: later only the workers evaluate it.
        app.batch_execute("prepare mine as select count(*) from big").unwrap();
        assert_eq!(count(&mut app, "execute mine"), 10_000);
        let plan: Vec<String> = app.query("explain execute mine", &[]).unwrap().iter().map(|row| row.get(0)).collect();
        assert!(plan.iter().any(|line| line.contains("Gather")), "{plan:#?}");
        let (statement, code) = match ending {
            "session" => ("delete from auth.sessions", "session_not_found"),
            "user" => ("update auth.users set banned_until = 'infinity'", "user_banned"),
            _ => (
                "update auth.users set banned_until = null; update auth.signing_keys set status = 'revoked'",
                "bad_jwt",
            ),
        };
        database.superuser().batch_execute(statement).unwrap();
        if ending == "user" {
            // The next round signs in again.
            assert_refused(app.query("execute mine", &[]), "28000", code, ending);
            database.superuser().batch_execute("update auth.users set banned_until = null").unwrap();
            continue;
        }
        let error = app.query("execute mine", &[]).unwrap_err();
        let told = format!("{error:?}");
        assert!(!told.contains("eyJ") && !told.contains(&person.access_token), "{told}");
        assert_refused(Err::<(), _>(error), "28000", code, ending);
        let log = Cluster::shared().log_since(mark);
        assert!(!log.contains(person.access_token.split('.').nth(2).unwrap()), "the log has no token");
    }
}

/// XJ10: garbage and stale values reach a worker without an error about the setting itself.
#[test]
fn workers_start_with_any_setting() {
    let database = Cluster::shared().database();
    big_table(&database);
    let mut app = database.app();
    force_workers(&mut app);
    app.batch_execute("set auth.token = 'garbage canary-in-the-setting'").unwrap();
    assert_eq!(
        count(&mut app, "select count(*) from generate_series(1, 10) as g where auth.uid() is null and g > 0"),
        10
    );
    let mut transaction = app.transaction().unwrap();
    carry(&mut transaction, "garbage canary-in-the-setting");
    let error = transaction.query("select count(auth.uid()) from generate_series(1, 10)", &[]).unwrap_err();
    assert!(!format!("{error:?}").contains("canary-in-the-setting"), "{error:?}");
    assert_refused(Err::<(), _>(error), "28000", "bad_jwt", "garbage in a worker");
}

fn explained(client: &mut impl GenericClient, sql: &str) -> String {
    let rows = client.query(&format!("explain (costs off) {sql}"), &[]).unwrap();
    rows.iter().map(|row| row.get::<_, String>(0) + "\n").collect()
}

/// N23: under a policy the owner's index is used, and a parallel plan where that is better.
#[test]
fn policies_use_indexes_and_parallel_plans() {
    let database = Cluster::shared().database();
    let (alice, _) = big_table(&database);
    let mut superuser = database.superuser();
    superuser
        .batch_execute(
            "insert into big select g, gen_random_uuid() from generate_series(1, 20000) as g;
            delete from big where id > 5 and owner in (select id from auth.users);
            create index big_owner on big (owner);
            analyze big",
        )
        .unwrap();
    let mut app = database.app();
    let mut transaction = app.transaction().unwrap();
    transaction.execute("select auth.authenticate($1)", &[&alice.access_token]).unwrap();
    let plan = explained(&mut transaction, "select * from big");
    assert!(plan.contains("on big_owner") || plan.contains("using big_owner"), "{plan}");
    assert!(plan.contains("Index Cond: (owner = auth.uid())"), "{plan}");
    assert_eq!(count(&mut transaction, "select count(*) from big"), 2);
    transaction.batch_execute("set local enable_indexscan = off; set local enable_bitmapscan = off").unwrap();
    only_workers(&mut transaction);
    let plan = explained(&mut transaction, "select * from big");
    assert!(plan.contains("Gather") && plan.contains("Parallel Seq Scan on big"), "{plan}");
    assert_eq!(count(&mut transaction, "select count(*) from big"), 2);
}

/// N23, XJ9, F179: readers are stable and parallel safe, without a SET clause, which would cost more than they do.
#[test]
fn readers_are_stable_and_parallel_safe() {
    let database = Cluster::shared().database();
    let rows = database
        .superuser()
        .query(
            "select proname::text || ' ' || provolatile::text || proparallel::text
                || case when proconfig is null and not prosecdef then '' else ' set' end
            from pg_proc
            where pronamespace = 'auth'::regnamespace
                and proname in ('uid', 'role', 'email', 'jwt', 'session_id', 'aal', 'fresh', 'authenticate')
            order by 1",
            &[],
        )
        .unwrap();
    let found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let readers = ["aal ss", "authenticate vu", "email ss", "fresh ss", "jwt ss", "role ss", "session_id ss", "uid ss"];
    assert_eq!(found, readers);
}

/// XJ9: one prepared statement, one user after the other in one connection: custom and generic plans, SQL, PL/pgSQL.
#[test]
fn a_prepared_statement_asks_anew() {
    let database = Cluster::shared().database();
    let (alice, bob) = alice_and_bob(&database);
    notes(&database, &[&alice, &bob]);
    database
        .superuser()
        .batch_execute(
            "create function mine_in_sql() returns text language sql stable
                as $$ select string_agg(body, ',') from notes where owner = auth.uid() $$;
            create function mine_in_plpgsql() returns text language plpgsql stable
                as $$ begin return (select string_agg(body, ',') from notes where owner = auth.uid()); end $$;
            create view mine with (security_barrier) as select * from notes where owner = auth.uid();
            grant select on mine to authenticated;
            alter table notes disable row level security",
        )
        .unwrap();
    for mode in ["auto", "force_generic_plan", "force_custom_plan"] {
        let mut app = database.app();
        app.batch_execute(&format!("set plan_cache_mode = {mode}")).unwrap();
        let statements: Vec<_> = [
            "select string_agg(body, ',') from notes where owner = auth.uid()",
            "select string_agg(body, ',') from notes where owner = (select auth.uid())",
            "select mine_in_sql()",
            "select mine_in_plpgsql()",
            "select string_agg(body, ',') from mine",
        ]
        .into_iter()
        .map(|sql| {
            // Planned while Alice acts, where it needs somebody.
            let mut transaction = app.transaction().unwrap();
            transaction.execute("select auth.authenticate($1)", &[&alice.access_token]).unwrap();
            let statement = transaction.prepare(sql).unwrap();
            transaction.commit().unwrap();
            (sql, statement)
        })
        .collect();
        // Seven times: the sixth execution may be the first generic one.
        for turn in 0..7 {
            for person in [Some(&alice), Some(&bob), None] {
                for (sql, statement) in &statements {
                    let mut transaction = app.transaction().unwrap();
                    match person {
                        Some(person) => {
                            transaction.execute("select auth.authenticate($1)", &[&person.access_token]).unwrap()
                        }
                        None => transaction.execute("set local role authenticated", &[]).unwrap(),
                    };
                    let found: Option<String> = transaction.query_one(statement, &[]).unwrap().get(0);
                    assert_eq!(found.as_ref(), person.map(|person| &person.email), "{mode}, {turn}: {sql}");
                    transaction.commit().unwrap();
                }
            }
        }
    }
}

/// XJ9: within one transaction, too; and a row's default and a statement's many calls follow.
#[test]
fn a_prepared_statement_asks_anew_within_a_transaction() {
    let database = Cluster::shared().database();
    let (alice, bob) = alice_and_bob(&database);
    let mut app = database.app();
    let mut transaction = app.transaction().unwrap();
    let statement = transaction.prepare("select auth.uid()").unwrap();
    for person in [&alice, &bob, &alice, &bob] {
        transaction.execute("select auth.authenticate($1)", &[&person.access_token]).unwrap();
        assert_eq!(transaction.query_one(&statement, &[]).unwrap().get::<_, Option<Uuid>>(0), Some(person.user_id));
    }
    // Two identities in one expression: what was answered first stays what it was.
    let row = transaction
        .query_one(
            "select array[auth.uid()::text, auth.authenticate($1) ->> 'sub', auth.uid()::text],
                auth.uid() = $2 and (auth.authenticate($3) is not null) and auth.uid() = $4",
            &[&alice.access_token, &alice.user_id, &bob.access_token, &bob.user_id],
        )
        .unwrap();
    let ids: Vec<String> = row.get(0);
    assert_eq!(ids, [bob.user_id, alice.user_id, alice.user_id].map(|id| id.to_string()));
    assert!(row.get::<_, bool>(1));
}

/// XJ11: one prepared query under one role after the other shows each what its policies allow.
#[test]
fn a_prepared_statement_follows_the_role() {
    let database = Cluster::shared().database();
    let (alice, bob) = alice_and_bob(&database);
    notes(&database, &[&alice, &bob]);
    database
        .superuser()
        .batch_execute("create policy public_notes on notes for select to anon using (owner is null)")
        .unwrap();
    for mode in ["auto", "force_generic_plan"] {
        // A login that may be all of them, which no app's own login is.
        let mut client = database.superuser();
        client.batch_execute(&format!("set plan_cache_mode = {mode}")).unwrap();
        let statement = client.prepare("select coalesce(string_agg(body, ',' order by body), '') from notes").unwrap();
        for _ in 0..4 {
            let cases: [(&str, Option<&Person>, &str); 5] = [
                ("authenticated", Some(&alice), "alice@example.org"),
                ("anon", None, "nobody's"),
                ("service_role", None, "alice@example.org,bob@example.org,nobody's"),
                ("authenticated", Some(&bob), "bob@example.org"),
                ("authenticated", None, ""),
            ];
            for (role, person, expected) in cases {
                let mut transaction = client.transaction().unwrap();
                if let Some(person) = person {
                    carry(&mut transaction, &person.access_token);
                }
                transaction.batch_execute(&format!("set local role {role}")).unwrap();
                let found: String = transaction.query_one(&statement, &[]).unwrap().get(0);
                assert_eq!(found, expected, "{mode}, {role}");
            }
        }
    }
}

/// N23: asking writes nothing: no transaction id is spent, also where the answer is a refusal.
#[test]
fn readers_spend_no_transaction_id() {
    let database = Cluster::shared().database();
    let (alice, _) = alice_and_bob(&database);
    let mut app = database.app();
    const ALL: &str = "select to_jsonb(array[auth.uid()::text, auth.role(), auth.email(), auth.jwt()::text, auth.aal(),
        auth.session_id()::text, auth.fresh('1 day')::text, auth.require_uid()::text])";
    try_acting(&mut app, &alice.access_token, |transaction| {
        assert!(matches!(json(transaction, ALL, &[]), Value::Array(_)));
        json(transaction, "select auth.verify_token($1)", &[&alice.access_token]);
        assert_eq!(text(transaction, "select pg_current_xact_id_if_assigned()::text"), None);
        Ok(())
    })
    .unwrap();
    let mut transaction = app.build_transaction().read_only(true).start().unwrap();
    transaction.execute("select auth.authenticate($1)", &[&alice.access_token]).unwrap();
    assert_eq!(uid(&mut transaction).unwrap(), Some(alice.user_id), "in a read-only transaction");
    assert_eq!(refused(transaction.execute("select auth.sign_out()", &[])).code, "read_only_replica");
}
