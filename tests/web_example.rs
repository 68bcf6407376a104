//! `examples/web` as a user runs it, in a real browser: the scenarios are in `tests/clients/web.mjs`.

use auth_harness::free_port;
use serde_json::json;

use crate::clients_stage::Stage;

/// F270, F285, XE9, XG3: signing up, the mailed link, notes of one's own and the part that is for signed-in people only, in Chromium;
/// there a link that is only looked at stays good, and every redirect lands at the app.
#[test]
fn the_example_runs_in_a_browser() {
    let port = free_port();
    let site = format!("http://localhost:{port}");
    let stage = Stage::new(&json!({"site_url": site, "redirect_allow_list": []}));
    let schema = include_str!("../examples/web/schema.sql");
    stage.database.superuser().batch_execute(schema).unwrap();
    let settings =
        [("APP_DATABASE_URL", stage.database.url("app")), ("PORT", port.to_string()), ("ANON_KEY", stage.key("anon"))];
    stage.node_with("tests/clients/web.mjs", &settings.each_ref().map(|(name, value)| (*name, value.as_str())));
}
