//! What the sidecar says about itself in /openapi.json, held against what it does.

use auth_harness::run_python;
use serde_json::json;

use crate::clients_stage::Stage;
use crate::http_accounts::text;

/// B099, XI12: schemathesis sends what the description allows and what it does not, as nobody, as a user and as the service: no
/// answer is a fault of ours, and every status and every content type is one that the description names.
#[test]
fn the_description_is_true() {
    let stage = Stage::new(&json!({"rate_limit_enabled": false, "signup_mode": "immediate"}));
    let body = json!({"email": "ada@example.org", "password": "correct horse battery"});
    let session = stage.sidecar.post("/signup").json(&body).send().json();
    let service = stage.key("service_role");
    for bearer in ["", text(&session["access_token"]), &service] {
        let settings = [("AUTH_URL", stage.sidecar.url()), ("AUTH_BEARER", bearer.to_owned())];
        run_python("tests/clients/openapi.py", &settings.each_ref().map(|(name, value)| (*name, value.as_str())));
    }
}
