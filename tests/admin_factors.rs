//! Administration of second factors: who may, what becomes of the sessions, and who is told.

use auth_harness::{Cluster, Sidecar, claims, json, refused as refused_by, sign_up as sign_up_in};
use serde_json::{Value, json};

use crate::admin::{key, service};
use crate::guard::{RIGHT, guarded};
use crate::http_accounts::{refused, sign_up, text};
use crate::http_mfa::{enroll as enroll_over_http, sign_in};
use crate::mfa::{ada, as_user, said_as};

/// XD8: what an administrator removes is gone for sign-ins, sessions that it had raised are of level aal1 at the next statement,
/// the recovery codes go with the last one, the audit says who did it, and the owner is told.
#[test]
fn a_lost_factor_is_removed() {
    let database = guarded(Cluster::shared(), json!({}));
    let (mut app, mut service) = (database.app(), service(&database));
    let ada = ada(&database);
    let bob = sign_up_in(&mut app, "bob@example.org", RIGHT);
    let (id, factor) = (ada.person.user_id.to_string(), ada.factor_id.clone());
    let list = json(&mut service, "select auth.admin_list_factors($1::text::uuid)", &[&id]);
    assert_eq!((list.as_array().unwrap().len(), &list[0]["id"]), (1, &json!(factor)));
    assert_eq!(list, as_user(&mut app, &ada.person.access_token, "list_factors()"));
    let rename = "select auth.admin_update_factor($1::text::uuid, $2::text::uuid, $3)";
    let renamed = json(&mut service, rename, &[&id, &factor, &json!({"friendly_name": "old phone"})]);
    assert_eq!((&renamed["friendly_name"], &renamed["status"]), (&json!("old phone"), &json!("verified")));
    for attributes in [json!({"friendly_name": ""}), json!({"friendly_name": 1}), json!({"status": "verified"})] {
        let refusal = refused_by(service.query_one(rename, &[&id, &factor, &attributes]));
        assert_eq!(refusal.code, "validation_failed", "{attributes}");
    }
    as_user(&mut app, &ada.person.access_token, "enroll_totp('second')");
    let taken = refused_by(service.query_one(rename, &[&id, &factor, &json!({"friendly_name": "second"})]));
    assert_eq!(taken.code, "mfa_factor_name_conflict");

    let remove = "select auth.admin_delete_factor($1::text::uuid, $2::text::uuid)";
    let nobody = uuid::Uuid::nil().to_string();
    for (user, factor, code) in [
        (&bob.user_id.to_string(), &factor, "mfa_factor_not_found"),
        (&id, &nobody, "mfa_factor_not_found"),
        (&nobody, &factor, "user_not_found"),
    ] {
        assert_eq!(refused_by(service.query_one(remove, &[user, factor])).code, code);
        assert_eq!(refused_by(app.query_one(remove, &[user, factor])).sqlstate, "42501");
    }
    assert_eq!(said_as(&mut app, &ada.person.access_token, "require_aal2()"), "an answer");
    assert_eq!(json(&mut service, remove, &[&id, &factor]), json!({"id": factor}));
    assert_eq!(said_as(&mut app, &ada.person.access_token, "require_aal2()"), "insufficient_aal");
    assert_eq!(json(&mut app, "select auth.sign_in('ada@example.org', $1)", &[&RIGHT])["status"], "session");
    let mut superuser = database.superuser();
    let mut count = |sql: &str| -> i64 { superuser.query_one(sql, &[]).unwrap().get(0) };
    assert_eq!(count("select count(*) from auth.recovery_codes"), 0);
    let said = "select count(*) from auth.audit_log where event_type = 'user_modified'
        and event_data ->> 'by' is not null and event_data ->> 'factor_id' is not null";
    assert_eq!(count(said), 2);
    assert_eq!(count("select count(*) from auth.audit_log where event_type = 'factor_removed'"), 1);
    assert_eq!(count("select count(*) from auth.outbox where kind = 'factor_removed'"), 1);
}

/// Over HTTP: only the service key opens the routes, a user's factor is found below that user only.
#[test]
fn routes_are_for_the_service_key() {
    let database = Cluster::shared().database().without_limits();
    let sidecar = Sidecar::start(&database, &[]);
    let first = sign_up(&sidecar, "ada@example.org");
    let (id, ada) = (text(&first["user"]["id"]).to_owned(), enroll_over_http(&sidecar, &first));
    let eve = text(&sign_up(&sidecar, "eve@example.org")["user"]["id"]).to_owned();
    let token = text(&ada.session["access_token"]);
    let key = key(&database, "service_role");
    let list = format!("/admin/users/{id}/factors");
    let one = format!("{list}/{}", ada.factor_id);
    for (method, path) in [("GET", &list), ("PUT", &one), ("DELETE", &one)] {
        let ask = || sidecar.ask(method, path).json(&json!({"friendly_name": "stolen"}));
        refused(&ask().send(), 401, "no_authorization");
        refused(&ask().bearer(token).send(), 403, "not_admin");
    }
    let listed = sidecar.get(&list).bearer(&key).send();
    assert_eq!((listed.status, &listed.json()[0]["friendly_name"]), (200, &json!("Authenticator app")), "{listed:?}");
    let renamed = sidecar.put(&one).bearer(&key).json(&json!({"friendly_name": "phone"})).send();
    assert_eq!((renamed.status, &renamed.json()["friendly_name"]), (200, &json!("phone")));
    let of_eve = format!("/admin/users/{eve}/factors/{}", ada.factor_id);
    for path in [of_eve, format!("{list}/nonsense")] {
        refused(&sidecar.delete(&path).bearer(&key).send(), 404, "mfa_factor_not_found");
    }
    refused(&sidecar.get("/admin/users/nonsense/factors").bearer(&key).send(), 404, "user_not_found");
    let kind = |session: &Value| claims(text(&session["access_token"]))["token_type"].clone();
    assert_eq!(kind(&sign_in(&sidecar, "ada@example.org")), "restricted");
    let gone = sidecar.delete(&one).bearer(&key).send();
    assert_eq!((gone.status, &gone.json()["id"]), (200, &json!(ada.factor_id)));
    assert_eq!(kind(&sign_in(&sidecar, "ada@example.org")), "access");
}
