//! Behind PgBouncer in transaction mode a server connection is somebody else's at every transaction.

use std::collections::HashSet;

use auth_harness::{
    Client, Cluster, Person, acting, claims, json, postgres::SimpleQueryMessage, refused, sign_up, storm_with,
};
use serde_json::json;

use crate::minting::{Mint, PASSWORD, assert_refused, carry, changed, notes, seen, text, uid};

const CLIENTS: usize = 16;
const TRANSACTIONS: usize = 625;

/// The last value of a column `id` that the statements answered.
fn answered(client: &mut Client, sql: &str) -> Option<String> {
    let messages = client.simple_query(sql).unwrap_or_else(|error| panic!("{sql:.60}: {error:?}"));
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.try_get("id").ok().flatten().map(str::to_owned)),
        _ => None,
    });
    rows.last().flatten()
}

/// Numbers that differ between clients and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % sides
    }
}

/// N06, XJ7: 10,000 short transactions of many clients on few server connections, each as somebody at random or as
/// nobody, with tokens left behind on the connections: everyone is who they are, and who says nothing is nobody.
#[test]
fn ten_thousand_transactions_mix_nobody_up() {
    let database = Cluster::shared().database();
    let mint = Mint::install(&database);
    let mut app = database.app();
    let template = sign_up(&mut app, "person@example.org", PASSWORD);
    // Many people at the price of one password hash: rows, and tokens that name them.
    let mut superuser = database.superuser();
    let people: Vec<(String, String)> = superuser
        .query(
            "with person as (
                insert into auth.users (email) select 'p' || g || '@example.org' from generate_series(1, 24) as g
                returning id
            )
            insert into auth.sessions (id, user_id) select gen_random_uuid(), id from person
            returning user_id::text, id::text",
            &[],
        )
        .unwrap()
        .iter()
        .map(|row| {
            let (user_id, session_id): (String, String) = (row.get(0), row.get(1));
            let changes = json!({"sub": user_id, "user_id": user_id, "session_id": session_id});
            let token = mint.token(&changed(&claims(&template.access_token), changes));
            (user_id, token)
        })
        .collect();
    let pool = Cluster::shared().pgbouncer(database.name(), "app", 4);

    let seen = storm_with(
        CLIENTS,
        |index| pool.connect(&format!("client{index}")),
        |index, mut client| {
            let mut dice = Dice(index as u64);
            let mut backends = HashSet::new();
            for turn in 0..TRANSACTIONS {
                let (user_id, token) = &people[dice.roll(people.len())];
                let ask = "select auth.uid() as id";
                let header = json!({"authorization": format!("Bearer {token}")}).to_string();
                let (what, sql, expected) = match dice.roll(10) {
                    0..=2 => {
                        ("acts", format!("begin; select auth.authenticate('{token}'); {ask}; commit"), Some(user_id))
                    }
                    3 => (
                        "acts and fails",
                        format!("begin; set local auth.token = '{token}'; {ask}; rollback"),
                        Some(user_id),
                    ),
                    4 => (
                        "sends headers",
                        format!("begin; set request.headers = '{header}'; {ask}; commit"),
                        Some(user_id),
                    ),
                    5 => ("leaves a token", format!("set auth.token = '{token}'"), None),
                    6 => (
                        "leaves one in a transaction",
                        format!("begin; set auth.token = '{token}'; {ask}; commit"),
                        Some(user_id),
                    ),
                    7 => ("leaves headers", format!("set request.headers = '{header}'"), None),
                    8 => ("says nothing", ask.to_owned(), None),
                    _ => (
                        "says nothing in a transaction",
                        format!("begin; {ask}; savepoint s; {ask}; rollback to s; {ask}; commit"),
                        None,
                    ),
                };
                assert_eq!(answered(&mut client, &sql).as_ref(), expected, "client {index}, turn {turn}: {what}");
                if turn % 100 == 0 {
                    backends.extend(answered(&mut client, "select pg_backend_pid() as id"));
                }
            }
            backends
        },
    );
    let backends: HashSet<String> = seen.into_iter().flatten().collect();
    assert!((1..=4).contains(&backends.len()), "they shared {backends:?}");
}

/// XJ7: rows, role and settings are the transaction's too: two clients take turns on one server connection.
#[test]
fn one_connection_and_two_clients() {
    let database = Cluster::shared().database();
    let mut app = database.app();
    let people: Vec<Person> =
        ["alice@example.org", "bob@example.org"].iter().map(|email| sign_up(&mut app, email, PASSWORD)).collect();
    notes(&database, &people.iter().collect::<Vec<_>>());
    let pool = Cluster::shared().pgbouncer(database.name(), "app", 1);
    let mut clients = [pool.connect("first"), pool.connect("second")];
    for _ in 0..3 {
        for (client, person) in clients.iter_mut().zip(&people) {
            let rows = acting(client, &person.access_token, |transaction| seen(transaction).unwrap());
            assert_eq!(rows, [person.email.as_str()]);
        }
        let mut transaction = clients[0].transaction().unwrap();
        assert_eq!(uid(&mut transaction).unwrap(), None);
        assert_eq!(text(&mut transaction, "select current_user::text").as_deref(), Some("app"));
        assert_eq!(text(&mut transaction, "select current_setting('app.user_id', true)").as_deref(), Some(""));
        assert_eq!(refused(seen(&mut transaction)).sqlstate, "42501", "the login itself may read nothing");
    }
    // One who forgets BEGIN is told so, instead of leaving an identity behind.
    let entered = answered_error(&mut clients[0], &format!("select auth.authenticate('{}')", people[0].access_token));
    assert_eq!(entered, ("25P01".to_owned(), "no_transaction".to_owned()));
    let held =
        answered_error(&mut clients[0], &format!("select auth.authenticate_session('{}')", people[0].access_token));
    assert_eq!(held, ("55000".to_owned(), "no_authorization".to_owned()));
    assert_eq!(answered(&mut clients[1], "select auth.uid() as id"), None);

    // A sign-out through one client is seen by the other at once.
    let mut transaction = clients[0].transaction().unwrap();
    transaction.execute("select auth.authenticate($1)", &[&people[0].access_token]).unwrap();
    transaction.execute("select auth.sign_out()", &[]).unwrap();
    transaction.commit().unwrap();
    let mut transaction = clients[1].transaction().unwrap();
    carry(&mut transaction, &people[0].access_token);
    assert_refused(uid(&mut transaction), "28000", "session_not_found", "signed out by another client");
    transaction.rollback().unwrap();
    // The whole life of a session works through the pool.
    let mut transaction = clients[1].transaction().unwrap();
    let answer = json(&mut transaction, "select auth.refresh($1)", &[&people[1].refresh_token]);
    transaction.commit().unwrap();
    acting(&mut clients[0], answer["access_token"].as_str().unwrap(), |transaction| {
        assert_eq!(uid(transaction).unwrap(), Some(people[1].user_id));
    });
}

fn answered_error(client: &mut Client, sql: &str) -> (String, String) {
    let refusal = refused(client.simple_query(sql));
    (refusal.sqlstate, refusal.code)
}
