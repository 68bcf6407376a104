//! What listeners of the database hear.

use auth_harness::postgres::fallible_iterator::FallibleIterator;
use auth_harness::{Client, Cluster, acting, json, sign_in, sign_up};
use serde_json::{Value, json};

use crate::guard::RIGHT;

fn heard(listener: &mut Client) -> Vec<Value> {
    // An answered statement has brought every notification before it.
    listener.simple_query("select 1").unwrap();
    let mut notifications = listener.notifications();
    let mut payloads = Vec::new();
    while let Some(notification) = notifications.iter().next().unwrap() {
        assert_eq!(notification.channel(), "auth_events");
        payloads.push(serde_json::from_str(notification.payload()).unwrap());
    }
    payloads
}

/// F162, N26: who listens hears sign-in, refresh, changes and sign-out in their order, at commit and only where it is switched
/// on, with the user's id and nothing else; what is rolled back, and whoever has stopped listening, is not told.
#[test]
fn listeners_hear_what_happened() {
    let database = Cluster::shared().database();
    let (mut app, mut listener) = (database.app(), database.app());
    listener.batch_execute("listen auth_events").unwrap();
    let ada = sign_up(&mut app, "ada@example.org", RIGHT);
    assert_eq!(heard(&mut listener), Vec::<Value>::new(), "it is off");

    json(&mut database.admin(), "select auth.configure('{\"notify_events\": true}')", &[]);
    let mut transaction = app.transaction().unwrap();
    sign_in(&mut transaction, "ada@example.org", RIGHT);
    transaction.rollback().unwrap();
    assert_eq!(heard(&mut listener), Vec::<Value>::new(), "it was rolled back");

    let session = sign_in(&mut app, "ada@example.org", RIGHT);
    let answer = json(&mut app, "select auth.refresh($1)", &[&session.refresh_token]);
    let token = answer["access_token"].as_str().unwrap();
    acting(&mut app, token, |transaction| json(transaction, "select auth.update_user('{\"a\": 1}')", &[]));
    acting(&mut app, token, |transaction| transaction.execute("select auth.sign_out()", &[]).unwrap());
    let events = ["SIGNED_IN", "TOKEN_REFRESHED", "USER_UPDATED", "SIGNED_OUT"];
    let expected: Vec<Value> =
        events.iter().map(|event| json!({"event": event, "user_id": ada.user_id.to_string()})).collect();
    assert_eq!(heard(&mut listener), expected);

    listener.batch_execute("unlisten auth_events").unwrap();
    sign_in(&mut app, "ada@example.org", RIGHT);
    assert_eq!(heard(&mut listener), Vec::<Value>::new());
}
