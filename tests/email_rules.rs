//! Which addresses may have an account: block list, allow list, wildcards, and that every way in asks.

use auth_harness::{Client, Cluster, Database, json, refused, sign_in, sign_up};
use serde_json::json;

use crate::admin::{create, service};
use crate::refresh::configure;

const PASSWORD: &str = "correct horse battery";

fn try_sign_up(client: &mut Client, email: &str) -> String {
    match client.query("select auth.sign_up($1, $2)", &[&email, &PASSWORD]) {
        Ok(_) => "ok".to_owned(),
        result => refused(result.map(drop)).code,
    }
}

fn rule(client: &mut Client, call: &str) {
    client.batch_execute(&format!("select auth.{call}")).unwrap();
}

/// B068: a blocked domain is refused in every spelling, what is below it only by a wildcard, and nothing that only looks
/// like it.
#[test]
fn a_block_reaches_what_it_names() {
    let database = Cluster::shared().database();
    let (mut admin, mut app) = (database.admin(), database.app());
    sign_up(&mut app, "early@blocked.example", PASSWORD);
    rule(&mut admin, "add_email_rule('Blocked.EXAMPLE', reason => 'disposable')");
    rule(&mut admin, "add_email_rule('*.below.example')");
    rule(&mut admin, "add_email_rule('bücher.example')");
    for (number, (domain, expected)) in [
        ("blocked.example", "email_address_not_authorized"),
        ("BLOCKED.example", "email_address_not_authorized"),
        ("sub.blocked.example", "ok"),
        ("notblocked.example", "ok"),
        ("blocked.example.org", "ok"),
        ("a.below.example", "email_address_not_authorized"),
        ("a.b.below.example", "email_address_not_authorized"),
        ("below.example", "ok"),
        ("abelow.example", "ok"),
        ("xn--bcher-kva.example", "email_address_not_authorized"),
        ("B\u{dc}CHER.example", "email_address_not_authorized"),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(try_sign_up(&mut app, &format!("user{number}@{domain}")), expected, "{domain}");
    }
    // Who has an account keeps it.
    sign_in(&mut app, "early@blocked.example", PASSWORD);
    rule(&mut admin, "remove_email_rule('blocked.example')");
    assert_eq!(try_sign_up(&mut app, "late@blocked.example"), "ok");
}

/// B068: with one allow rule nobody else is let in, a block stands above it, and the last one removed opens again.
#[test]
fn an_allow_list_admits_nobody_else() {
    let database = Cluster::shared().database();
    let (mut admin, mut app) = (database.admin(), database.app());
    rule(&mut admin, "add_email_rule('company.example', 'allow')");
    rule(&mut admin, "add_email_rule('*.company.example', 'allow')");
    rule(&mut admin, "add_email_rule('guests.company.example', 'block')");
    for (email, expected) in [
        ("a@company.example", "ok"),
        ("a@berlin.company.example", "ok"),
        ("a@guests.company.example", "email_address_not_authorized"),
        ("a@company.example.org", "email_address_not_authorized"),
        ("a@other.example", "email_address_not_authorized"),
    ] {
        assert_eq!(try_sign_up(&mut app, email), expected, "{email}");
    }
    // A rule of the same domain is replaced, and one that was rolled back never was.
    rule(&mut admin, "add_email_rule('guests.company.example', 'allow')");
    assert_eq!(try_sign_up(&mut app, "a@guests.company.example"), "ok");
    admin.batch_execute("begin; select auth.remove_email_rule('*.company.example'); rollback").unwrap();
    assert_eq!(try_sign_up(&mut app, "b@berlin.company.example"), "ok");
    for domain in ["company.example", "*.company.example", "guests.company.example"] {
        rule(&mut admin, &format!("remove_email_rule('{domain}')"));
    }
    assert_eq!(try_sign_up(&mut app, "a@other.example"), "ok");
}

/// B068: an administrator's new account and change of address are asked the same, and a refusal costs no hash.
#[test]
fn every_way_asks() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let (mut admin, mut service, mut app) = (database.admin(), service(&database), database.app());
    let user = create(&mut service, json!({"email": "ada@good.example"}));
    rule(&mut admin, "add_email_rule('bad.example')");
    let id: uuid::Uuid = user["id"].as_str().unwrap().parse().unwrap();
    let attributes = json!({"email": "ada@bad.example"});
    let hashes = "select auth.gate_status() -> 'hashes'";
    let before = json(&mut admin, hashes, &[]);
    for refusal in [
        refused(service.query("select auth.admin_create_user($1)", &[&attributes])),
        refused(service.query("select auth.admin_update_user($1, $2)", &[&id, &attributes])),
        refused(app.query("select auth.sign_up('ada@bad.example', $1)", &[&PASSWORD])),
    ] {
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("22023", "email_address_not_authorized"));
    }
    assert_eq!(json(&mut admin, hashes, &[]), before);
}

/// B068: rules are an administrator's; each argument has its refusal.
#[test]
fn rules_are_for_administrators() {
    let database = Cluster::shared().database();
    for mut client in [database.app(), service(&database), database.sidecar()] {
        for call in
            ["auth.add_email_rule('a.example')", "auth.remove_email_rule('a.example')", "* from auth.email_rules"]
        {
            assert_eq!(refused(client.batch_execute(&format!("select {call}"))).sqlstate, "42501", "{call}");
        }
    }
    let mut admin = database.admin();
    for call in [
        "add_email_rule(null)",
        "add_email_rule('')",
        "add_email_rule('*')",
        "add_email_rule('*.')",
        "add_email_rule('a@b.example')",
        "add_email_rule('a..example')",
        "add_email_rule('*.*.example')",
        "add_email_rule('a.example', 'deny')",
        "add_email_rule('a.example', null)",
        "add_email_rule('a.example', 'block', repeat('x', 1001))",
        "remove_email_rule('a.example')",
        "remove_email_rule(null)",
    ] {
        assert_eq!(refused(admin.batch_execute(&format!("select auth.{call}"))).code, "validation_failed", "{call}");
    }
    admin.batch_execute("select auth.add_email_rule('*.test')").unwrap();
    assert_eq!(try_sign_up(&mut database.app(), "a@any.test"), "email_address_not_authorized");
}

/// B068: addresses of disposable domains and sub-addresses are refused once the settings say so, at each way in, and not where a
/// rule allows the domain; who has an account keeps it.
#[test]
fn what_the_settings_refuse() {
    const REFUSED: &str = "email_address_not_authorized";
    let database = Cluster::shared().database();
    let (mut admin, mut app) = (database.admin(), database.app());
    sign_up(&mut app, "early+1@mailinator.com", PASSWORD);
    for (settings, disposable, tagged) in [
        (json!({}), "ok", "ok"),
        (json!({"email_block_disposable": true}), REFUSED, "ok"),
        (json!({"email_block_disposable": false, "email_block_subaddress": true}), "ok", REFUSED),
    ] {
        configure(&database, settings);
        let number = count_users(&database);
        for (address, expected) in [
            (format!("a{number}@mailinator.com"), disposable),
            (format!("a{number}@Sub.MAILINATOR.com"), disposable),
            (format!("a{number}+b@example.org"), tagged),
            (format!("a{number}@example.org"), "ok"),
            (format!("a{number}@the-mailinator.example"), "ok"),
        ] {
            assert_eq!(try_sign_up(&mut app, &address), expected, "{address}");
        }
    }
    sign_in(&mut app, "early+1@mailinator.com", PASSWORD);
    configure(&database, json!({"email_block_disposable": true}));
    let attributes = json!({"email": "x@mailinator.com"});
    let refusal = refused(service(&database).query("select auth.admin_create_user($1)", &[&attributes]));
    assert_eq!(refusal.code, REFUSED);
    rule(&mut admin, "add_email_rule('mailinator.com', 'allow')");
    assert_eq!(try_sign_up(&mut app, "b@mailinator.com"), "ok");
    assert_eq!(try_sign_up(&mut app, "b@sub.mailinator.com"), REFUSED, "only what a rule allows");
}

fn count_users(database: &Database) -> i64 {
    database.superuser().query_one("select count(*) from auth.users", &[]).unwrap().get(0)
}
