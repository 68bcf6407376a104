//! What an administrator's change ends for the account, and what it can never give.

use auth_harness::{Cluster, json, refused, sign_up};
use serde_json::json;

use crate::admin::service;
use crate::guard::RIGHT;
use crate::otp::{mailed, mailing, said};

/// B030, XA5: an address that an administrator gives ends the account's sessions, and what was mailed to the one before.
#[test]
fn a_given_address_ends_what_the_old_one_had() {
    let database = mailing(Cluster::shared(), json!({}));
    let mut app = database.app();
    let ada = sign_up(&mut app, "ada@example.org", RIGHT);
    let waiting = mailed(&database, "send_magic_link('ada@example.org')", &[]);
    let attributes = json!({"email": "new@example.org", "email_confirm": true});
    json(&mut service(&database), "select auth.admin_update_user($1, $2)", &[&ada.user_id, &attributes]);
    assert_eq!(said(&mut app, "verify_link($1)", &[&waiting.token()]), "otp_expired");
    assert_eq!(said(&mut app, "refresh($1)", &[&ada.refresh_token]), "session_not_found");
    assert_eq!(said(&mut app, "sign_in('new@example.org', $1)", &[&RIGHT]), "session");
}

/// XJ6: an account gets no role that the server itself holds nothing back from.
#[test]
fn no_account_has_a_predefined_role() {
    let database = Cluster::shared().database();
    for role in ["pg_execute_server_program", "pg_write_all_data", "pg_monitor", "service_role"] {
        let attributes = json!({"email": "ada@example.org", "role": role});
        let refusal = refused(service(&database).execute("select auth.admin_create_user($1)", &[&attributes]));
        assert_eq!(refusal.code, "validation_failed", "{role}");
    }
}
