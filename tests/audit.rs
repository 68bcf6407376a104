//! The audit: which rows there are, in whose transaction they come, what stands in them, and who may touch them.

use auth_harness::{
    Client, Cluster, Database, GenericClient, Person, acting, json, refused, sign_in, sign_up, wait_until,
};
use serde_json::{Value, json as object};
use uuid::Uuid;

use crate::minting::{PASSWORD, assert_refused, count};

/// Hashes that cost nothing, no limit but those that the test asks for.
pub fn configure(database: &Database, settings: Value) {
    let mut all = object!({"argon2_memory_kib": 8, "argon2_iterations": 1, "rate_limit_database": null});
    all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    database.admin().execute("select auth.configure($1)", &[&all]).unwrap();
}

/// The rows that fulfil the condition, oldest first.
#[track_caller]
pub fn rows(client: &mut impl GenericClient, condition: &str) -> Vec<Value> {
    let sql = format!("select to_jsonb(a) from auth.audit_log as a where {condition} order by a.created_at, a.id");
    client.query(&sql, &[]).unwrap().into_iter().map(|row| row.get(0)).collect()
}

/// How often it happened: the counts of the rows added up.
#[track_caller]
pub fn happened(client: &mut impl GenericClient, condition: &str) -> i64 {
    count(client, &format!("select coalesce(sum(a.count), 0)::bigint from auth.audit_log as a where {condition}"))
}

#[track_caller]
pub fn wait_until_happened(database: &Database, condition: &str, times: i64) {
    let mut superuser = database.superuser();
    wait_until(&format!("{times} times {condition}"), || happened(&mut superuser, condition) >= times);
    assert_eq!(happened(&mut superuser, condition), times, "{condition}");
}

/// A guess at somebody's password; the code word that it is refused with.
#[track_caller]
pub fn guess(client: &mut impl GenericClient, email: &str) -> String {
    refused(client.query_one("select auth.sign_in($1, 'a wrong password')", &[&email])).code
}

fn only(mut rows: Vec<Value>) -> Value {
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.remove(0)
}

/// F225: the columns, and in each of the months the indexes on user, type and time.
#[test]
fn the_table_has_its_columns_and_indexes() {
    let database = Cluster::shared().database();
    let mut superuser = database.superuser();
    for (column, kind) in [
        ("user_id", "uuid"),
        ("event_type", "text"),
        ("event_data", "jsonb"),
        ("ip", "inet"),
        ("user_agent", "text"),
        ("success", "boolean"),
        ("created_at", "timestamp with time zone"),
    ] {
        let sql = "select format_type(a.atttypid, null) from pg_attribute as a
            where a.attrelid = 'auth.audit_log'::regclass and a.attname = $1 and not a.attisdropped";
        assert_eq!(superuser.query_one(sql, &[&column]).unwrap().get::<_, String>(0), kind, "{column}");
    }
    let partitions =
        count(&mut superuser, "select count(*) from pg_inherits where inhparent = 'auth.audit_log'::regclass");
    assert_eq!(partitions, 24);
    for index in ["btree (user_id, created_at)", "btree (event_type, created_at)", "brin (created_at)"] {
        let sql = format!(
            "select count(*) from pg_index as i where i.indisvalid and pg_get_indexdef(i.indexrelid) like '%{index}%'
            and (i.indrelid = 'auth.audit_log'::regclass or i.indrelid in
                (select inhrelid from pg_inherits where inhparent = 'auth.audit_log'::regclass))"
        );
        assert_eq!(count(&mut superuser, &sql), 25, "{index}");
    }
}

/// F226: a success and a failure are one row each; the failure has the address and the code word, no user where there is
/// none, and is there although its caller rolled back.
#[test]
fn a_login_is_one_row_whether_it_succeeds_or_not() {
    let database = Cluster::shared().database();
    configure(&database, object!({}));
    let (mut app, mut superuser) = (database.app(), database.superuser());
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    let session = sign_in(&mut app, "Ada@Example.org", PASSWORD);
    let row = only(rows(&mut superuser, "event_type = 'login_success'"));
    assert_eq!(row["user_id"], ada.user_id.to_string());
    assert_eq!(row["session_id"], session.session_id.to_string());
    assert_eq!((&row["success"], &row["code"], &row["count"]), (&object!(true), &Value::Null, &object!(1)));
    assert!(row["event_data"]["email"].as_str().unwrap().eq_ignore_ascii_case(&ada.email), "{row}");

    for (email, user_id) in [("ada@example.org", Some(ada.user_id)), ("nobody@example.org", None::<Uuid>)] {
        let mut transaction = app.transaction().unwrap();
        assert_eq!(guess(&mut transaction, email), "invalid_credentials");
        // Whoever hears of the refusal can rely on its row, before the end of the transaction.
        let condition = format!("event_type = 'login_failure' and event_data ->> 'email' = '{email}'");
        let row = only(rows(&mut superuser, &condition));
        transaction.rollback().unwrap();
        assert_eq!(row["user_id"], object!(user_id.map(|id| id.to_string())), "{email}");
        assert_eq!((&row["success"], &row["code"]), (&object!(false), &object!("invalid_credentials")));
        assert_eq!(only(rows(&mut superuser, &condition))["id"], row["id"]);
    }
    assert_eq!(rows(&mut superuser, "event_type = 'login_success'").len(), 1);
}

/// F227, F228: the address is what the sidecar said in this transaction, else that of the connection; the program is what
/// the sidecar said, shortened and without control characters; an app cannot say either.
#[test]
fn a_row_tells_where_it_comes_from() {
    let database = Cluster::shared().database();
    configure(&database, object!({"rate_limit_signup": "1000/1 hour"}));
    let mut superuser = database.superuser();
    let mut seen = |email: &str| {
        let row = only(rows(&mut superuser, &format!("event_data ->> 'email' = '{email}'")));
        let session = superuser
            .query_one(
                "select jsonb_agg(to_jsonb(s)) from auth.sessions as s where s.id::text = $1",
                &[&row["session_id"].as_str()],
            )
            .unwrap()
            .get::<_, Option<Value>>(0);
        if let Some(session) = session {
            assert_eq!((&session[0]["ip"], &session[0]["user_agent"]), (&row["ip"], &row["user_agent"]), "{email}");
        }
        (row["ip"].clone(), row["user_agent"].clone())
    };
    // Over the socket there is no address; over TCP it is the peer's.
    sign_up(&mut database.app(), "socket@example.org", PASSWORD);
    assert_eq!(seen("socket@example.org"), (Value::Null, Value::Null));
    let mut tcp = Client::connect(&database.url("sidecar"), auth_harness::postgres::NoTls).unwrap();
    sign_up(&mut tcp, "tcp@example.org", PASSWORD);
    assert_eq!(seen("tcp@example.org"), (object!("127.0.0.1"), Value::Null));

    let long = "é".repeat(200);
    let cut = "é".repeat(128);
    for (number, (ip, user_agent, expected_ip, expected_agent)) in [
        ("203.0.113.7", "Firefox/128", "203.0.113.7", "Firefox/128"),
        ("2001:db8::7", "a\r\nb\tc\u{1b}[31m\u{85}", "2001:db8::7", "a  b c [31m "),
        ("::ffff:203.0.113.8", &long, "203.0.113.8", &cut),
        ("203.0.113.9/32", "", "203.0.113.9", ""),
    ]
    .into_iter()
    .enumerate()
    {
        for wrong in [false, true] {
            let email = format!("user{number}{wrong}@example.org");
            let mut transaction = tcp.transaction().unwrap();
            transaction.execute(&format!("select auth.set_request_context('{ip}', $1)"), &[&user_agent]).unwrap();
            if wrong {
                assert_eq!(guess(&mut transaction, &email), "invalid_credentials");
            } else {
                sign_up(&mut transaction, &email, PASSWORD);
                transaction.commit().unwrap();
            }
            assert_eq!(seen(&email), (object!(expected_ip), object!(expected_agent)), "{ip}, {wrong}");
        }
    }
    // It was said for one transaction.
    sign_up(&mut tcp, "later@example.org", PASSWORD);
    assert_eq!(seen("later@example.org"), (object!("127.0.0.1"), Value::Null));

    let call = "select auth.set_request_context('203.0.113.7', 'x')";
    assert_refused(tcp.execute(call, &[]), "25P01", "no_transaction", "outside a transaction");
    let mut transaction = tcp.transaction().unwrap();
    let network = transaction.execute("select auth.set_request_context('203.0.113.0/24', 'x')", &[]);
    assert_refused(network, "22023", "validation_failed", "a network");
    drop(transaction);
    for login in ["app", "service", "admin"] {
        let mut client = database.connect(login);
        let mut transaction = client.transaction().unwrap();
        assert_eq!(refused(transaction.execute(call, &[])).sqlstate, "42501", "{login}");
    }
}

/// F226, F228: the longest address and the most hostile program name still make a row, and the guess stays a guess.
#[test]
fn the_longest_facts_fit_into_a_row() {
    let database = Cluster::shared().database();
    configure(&database, object!({}));
    let label = "d".repeat(61);
    for (user_agent, local) in [("x".repeat(256), "a"), ("\"".repeat(256), "b"), ("\\".repeat(400), "c")] {
        let email = format!("{}@{label}.{label}.{label}.com", local.repeat(63));
        let mut sidecar = database.sidecar();
        let mut transaction = sidecar.transaction().unwrap();
        let context = "select auth.set_request_context('2001:db8:1111:2222:3333:4444:5555:6666', $1)";
        transaction.execute(context, &[&user_agent]).unwrap();
        assert_eq!(guess(&mut transaction, &email), "invalid_credentials", "{}", &user_agent[..1]);
        drop(transaction);
        assert_eq!(happened(&mut database.superuser(), &format!("event_data ->> 'email' = '{email}'")), 1);
    }
}

/// F124: when an account is deleted its rows stay, with all that they say but whose they were; other people's are as before.
#[test]
fn rows_survive_their_account() {
    let database = Cluster::shared().database();
    configure(&database, object!({}));
    let (mut superuser, mut sidecar) = (database.superuser(), database.sidecar());
    let mut people: Vec<Person> = Vec::new();
    for name in ["ada", "eve"] {
        let mut transaction = sidecar.transaction().unwrap();
        transaction.execute("select auth.set_request_context('203.0.113.7', 'Firefox')", &[]).unwrap();
        people.push(sign_up(&mut transaction, &format!("{name}@example.org"), PASSWORD));
        transaction.commit().unwrap();
        guess(&mut sidecar, &format!("{name}@example.org"));
    }
    let of = |person: &Person| format!("event_data ->> 'email' = '{}'", person.email);
    let without = |mut rows: Vec<Value>| {
        for row in &mut rows {
            row.as_object_mut().unwrap().retain(|name, _| !["sequence", "seal"].contains(&name.as_str()));
        }
        rows
    };
    let (before, other) =
        (without(rows(&mut superuser, &of(&people[0]))), without(rows(&mut superuser, &of(&people[1]))));
    assert_eq!(superuser.execute("delete from auth.users where id = $1", &[&people[0].user_id]).unwrap(), 1);
    let after = without(rows(&mut superuser, &of(&people[0])));
    assert_eq!((before.len(), after.len()), (2, 2));
    for (mut before, after) in before.into_iter().zip(after) {
        assert_eq!(before["user_id"], people[0].user_id.to_string());
        before["user_id"] = Value::Null;
        assert_eq!(before, after, "only the user is gone");
    }
    assert_eq!(without(rows(&mut superuser, &of(&people[1]))), other);
}

/// N16: a trusted back end joins the audit with the app's own rows: orders changed within ten minutes of a logout.
#[test]
fn the_audit_joins_with_data_of_the_app() {
    let database = Cluster::shared().database();
    configure(&database, object!({}));
    let (mut app, mut superuser) = (database.app(), database.superuser());
    let (ada, eve) = (sign_up(&mut app, "ada@example.org", PASSWORD), sign_up(&mut app, "eve@example.org", PASSWORD));
    superuser
        .batch_execute(
            "create table orders (id int primary key, owner_id uuid references auth.users (id), changed_at timestamptz);
            grant select on orders to service_role",
        )
        .unwrap();
    for (id, owner, minutes) in [(1, &ada, 5), (2, &ada, 15), (3, &ada, -5), (4, &eve, 5)] {
        let sql = "insert into orders values ($1, $2, now() + $3 * interval '1 minute')";
        superuser.execute(sql, &[&id, &owner.user_id, &f64::from(minutes)]).unwrap();
    }
    acting(&mut app, &ada.access_token, |transaction| transaction.execute("select auth.sign_out()", &[]).map(drop))
        .unwrap();
    let join = "select array_agg(o.id) from orders as o join auth.audit_log as a on a.user_id = o.owner_id
        where a.event_type = 'logout' and o.changed_at between a.created_at and a.created_at + interval '10 minutes'";
    let mut service = database.service();
    service.batch_execute("set role service_role").unwrap();
    assert_eq!(service.query_one(join, &[]).unwrap().get::<_, Vec<i32>>(0), [1]);
    assert_eq!(refused(app.query_one(join, &[])).sqlstate, "42501");
}

/// N17: a fact that is rolled back leaves no row that says it was done, neither by ROLLBACK nor by SAVEPOINT; one that is
/// committed has its row in the same commit.
#[test]
fn a_fact_and_its_row_are_one() {
    let database = Cluster::shared().database();
    configure(&database, object!({"lockout_attempts": null}));
    let (mut app, mut other) = (database.app(), database.superuser());
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    let bob = sign_up(&mut app, "bob@example.org", PASSWORD);
    let before = happened(&mut other, "success");
    let acts = [
        (None, "select auth.sign_up('new@example.org', 'correct horse battery')"),
        (None, "select auth.sign_in('ada@example.org', 'correct horse battery')"),
        (Some(&bob), "select auth.update_user('{\"a\": 1}')"),
        (Some(&bob), "select auth.revoke_sessions()"),
        (Some(&bob), "select auth.sign_out()"),
    ];
    for with_savepoint in [false, true] {
        for (person, act) in &acts {
            let mut transaction = app.transaction().unwrap();
            if let Some(person) = person {
                transaction.execute("select auth.authenticate($1)", &[&person.access_token]).unwrap();
            }
            let mut savepoint = transaction.transaction().unwrap();
            savepoint.execute(*act, &[]).unwrap();
            assert_eq!(happened(&mut other, "success"), before, "not before the commit: {act}");
            if with_savepoint {
                savepoint.rollback().unwrap();
                transaction.commit().unwrap();
            } else {
                savepoint.commit().unwrap();
                transaction.rollback().unwrap();
            }
            assert_eq!(happened(&mut other, "success"), before, "{act}");
        }
    }
    // The right password of a sign-in that was rolled back is a guess, and says so.
    wait_until_happened(&database, "event_type = 'login_failure' and code = 'rolled_back'", 2);
    for (person, act) in acts {
        let own = "select count(*) from auth.audit_log as a join pg_class as c on c.oid = a.tableoid
            where a.success and a.xmin::text = pg_current_xact_id()::xid::text";
        let mut transaction = other.transaction().unwrap();
        if let Some(person) = person {
            transaction.execute("select set_config('auth.token', $1, true)", &[&person.access_token]).unwrap();
        }
        transaction.execute(act, &[]).unwrap();
        assert_eq!(count(&mut transaction, own), 1, "{act}");
        transaction.commit().unwrap();
    }
    assert_eq!(happened(&mut other, "success"), before + 5);
    assert_ne!(ada.user_id, bob.user_id);
}

/// N17: nobody but the owner of the tables writes them, in whatever way; only auth_admin and service_role read.
#[test]
fn nobody_changes_the_audit() {
    let database = Cluster::shared().database();
    configure(&database, object!({}));
    sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    let mut superuser = database.superuser();
    let month: String = superuser.query_one("select tableoid::regclass::text from auth.audit_log", &[]).unwrap().get(0);
    for role in ["anon", "authenticated", "service_role", "auth_admin", "auth_sidecar", "app"] {
        for table in ["auth.audit_log", &month, "auth.audit_anchors"] {
            for sql in [
                format!("update {table} set seal = null"),
                format!("delete from {table}"),
                format!("insert into {table} select * from {table}"),
                format!("insert into {table} default values"),
                format!("truncate {table}"),
                format!("lock table {table} in row exclusive mode"),
                format!("drop table {table}"),
            ] {
                let mut transaction = superuser.transaction().unwrap();
                transaction.batch_execute(&format!("set local role {role}")).unwrap();
                assert_eq!(refused(transaction.execute(&sql, &[])).sqlstate, "42501", "{role}: {sql}");
            }
        }
        let mut transaction = superuser.transaction().unwrap();
        transaction.batch_execute(&format!("set local role {role}")).unwrap();
        let read = transaction.query("select * from auth.audit_log", &[]);
        if ["service_role", "auth_admin"].contains(&role) {
            assert_eq!(read.unwrap().len(), 1, "{role}");
        } else {
            assert_eq!(refused(read).sqlstate, "42501", "{role}");
        }
    }
    for login in ["app", "service", "sidecar"] {
        let verified = database.connect(login).query_one("select auth.verify_audit()", &[]);
        assert_eq!(refused(verified).sqlstate, "42501", "{login}");
    }
    assert_eq!(json(&mut database.admin(), "select auth.verify_audit()", &[])["broken"], Value::Null);
}
