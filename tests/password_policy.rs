//! What a password may not be, by whichever way it is set.

use auth_harness::postgres::types::ToSql;
use auth_harness::{Client, Cluster, Database, Refusal, Sidecar, json, refused, sign_in, sign_up, try_acting};
use serde_json::{Value, json};

use crate::admin::{key, service};
use crate::guard::RIGHT;
use crate::otp::{answer, mailed, mailing};
use crate::refresh::configure;

const EMAIL: &str = "ada.lovelace@example.org";
const GOOD: &str = "staple correct horse";

/// A password, and the reasons that it is refused for.
const REFUSED: [(&str, &str); 9] = [
    ("password1", "pwned"),
    ("PassWord1", "pwned"),
    ("qwertyuiop", "pwned"),
    ("letmein", "length, pwned"),
    ("seven c", "length"),
    ("my lovelace password", "user_info"),
    ("xADA.LOVELACEx", "user_info"),
    ("augusta of 1815", "user_info"),
    ("Babbage4ever", "user_info"),
];

/// The functions that set a password, and those with such an argument that set none.
const SETTING: [&str; 9] = [
    "admin_create_user",
    "admin_generate_link",
    "admin_update_user",
    "convert_anonymous",
    "reset_password",
    "reset_password_with_code",
    "sign_up",
    "update_password",
    "verify_sign_up",
];
const NOT_SETTING: [&str; 2] = ["admin_update_factor", "sign_in"];

fn data() -> Value {
    json!({"full_name": "Augusta King", "age": 36})
}

fn stage(mode: &str) -> Database {
    let settings = json!({"signup_mode": mode, "site_url": "https://www.babbage.example"});
    mailing(Cluster::shared(), settings)
}

/// Calls as somebody who is signed in.
fn acting_call(client: &mut Client, token: &str, call: &str, arguments: &[&(dyn ToSql + Sync)]) -> Result<(), Refusal> {
    let result = try_acting(client, token, |transaction| {
        transaction.query_one(&format!("select auth.{call}"), arguments).map(drop)
    });
    if result.is_err() { Err(refused(result)) } else { Ok(()) }
}

type Setter = Box<dyn FnMut(&str) -> Result<(), Refusal>>;

/// Every way to set a password, each a step before it: whose it is to be is known, and any good one would do.
fn ways() -> Vec<(&'static str, Database, Setter)> {
    let mut ways: Vec<(&str, Database, Setter)> = Vec::new();
    for mode in ["immediate", "confirm", "otp_first"] {
        let database = stage(mode);
        let mut app = database.app();
        let set =
            move |password: &str| answer(&mut app, "sign_up($1, $2, $3)", &[&EMAIL, &password, &data()]).map(drop);
        ways.push(("sign_up", database, Box::new(set)));
    }

    let database = stage("otp_first");
    let mail = mailed(&database, "sign_up_with_email($1, $2)", &[&EMAIL, &data()]);
    let mut app = database.app();
    let set = move |password: &str| {
        answer(&mut app, "verify_sign_up($1, $2, $3)", &[&EMAIL, &mail.code(), &password]).map(drop)
    };
    ways.push(("verify_sign_up", database, Box::new(set)));

    for by in ["reset_password", "reset_password_with_code"] {
        let database = stage("immediate");
        json(&mut database.app(), "select auth.sign_up($1, $2, $3)", &[&EMAIL, &RIGHT, &data()]);
        let mail = mailed(&database, "request_password_reset($1)", &[&EMAIL]);
        let mut app = database.app();
        let set = move |password: &str| match by {
            "reset_password" => answer(&mut app, "reset_password($1, $2)", &[&mail.token(), &password]).map(drop),
            _ => {
                let arguments: [&(dyn ToSql + Sync); 3] = [&EMAIL, &mail.code(), &password];
                answer(&mut app, "reset_password_with_code($1, $2, $3)", &arguments).map(drop)
            }
        };
        ways.push((by, database, Box::new(set)));
    }

    let database = stage("immediate");
    let mut app = database.app();
    json(&mut app, "select auth.sign_up($1, $2, $3)", &[&EMAIL, &RIGHT, &data()]);
    let ada = sign_in(&mut app, EMAIL, RIGHT);
    let set =
        move |password: &str| acting_call(&mut app, &ada.access_token, "update_password($1, $2)", &[&RIGHT, &password]);
    ways.push(("update_password", database, Box::new(set)));

    for mode in ["immediate", "confirm"] {
        let database = stage(mode);
        let mut app = database.app();
        let guest = json(&mut app, "select auth.sign_in_anonymously($1)", &[&data()]);
        let token = guest["access_token"].as_str().unwrap().to_owned();
        let set =
            move |password: &str| acting_call(&mut app, &token, "convert_anonymous($1, $2)", &[&EMAIL, &password]);
        ways.push(("convert_anonymous", database, Box::new(set)));
    }

    let database = stage("immediate");
    let mut client = service(&database);
    let set = move |password: &str| {
        let attributes = json!({"email": EMAIL, "password": password, "user_metadata": data()});
        answer(&mut client, "admin_create_user($1)", &[&attributes]).map(drop)
    };
    ways.push(("admin_create_user", database, Box::new(set)));

    // Of what is stored already, and of what comes with the password.
    for is_new in [false, true] {
        let database = stage("immediate");
        let ada = sign_up(&mut database.app(), if is_new { "other@example.org" } else { EMAIL }, RIGHT);
        let mut client = service(&database);
        let mut attributes = json!({"email": EMAIL, "user_metadata": data()});
        if !is_new {
            answer(&mut client, "admin_update_user($1, $2)", &[&ada.user_id, &attributes]).unwrap();
            attributes = json!({});
        }
        let set = move |password: &str| {
            attributes["password"] = json!(password);
            answer(&mut client, "admin_update_user($1, $2)", &[&ada.user_id, &attributes]).map(drop)
        };
        ways.push(("admin_update_user", database, Box::new(set)));
    }

    let database = stage("immediate");
    let mut client = service(&database);
    let set = move |password: &str| {
        let options = json!({"password": password, "data": data()});
        answer(&mut client, "admin_generate_link('signup', $1, $2)", &[&EMAIL, &options]).map(drop)
    };
    ways.push(("admin_generate_link", database, Box::new(set)));
    ways
}

fn stored(database: &Database) -> Vec<(String, Option<String>)> {
    let rows = database.superuser().query("select email, encrypted_password from auth.users order by id", &[]).unwrap();
    rows.iter().map(|row| (row.get::<_, Option<String>>(0).unwrap_or_default(), row.get(1))).collect()
}

/// XB6: whoever sets a password in whatever way, one of the most common, or one made of what anybody knows of the person or the
/// site, is refused with its reason, changes nothing, and spends no token: a good one is taken after it.
#[test]
fn each_way_refuses_a_listed_password() {
    let mut ways = ways();
    for (function, database, set) in &mut ways {
        let before = stored(database);
        for (password, reasons) in REFUSED {
            let refusal = set(password).expect_err(function);
            assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("22023", "weak_password"), "{function}");
            assert_eq!(
                refusal.hint.as_deref().unwrap_or_default().split(':').next(),
                Some(reasons),
                "{function}: {password}: {refusal:?}"
            );
            assert!(!refusal.hint.as_deref().unwrap_or_default().contains("lovelace"), "{refusal:?}");
        }
        assert_eq!(stored(database), before, "{function}");
        set(GOOD).unwrap_or_else(|refusal| panic!("{function}: {refusal:?}"));
    }
    let mut tried: Vec<&str> = ways.iter().map(|(function, ..)| *function).collect();
    tried.sort_unstable();
    tried.dedup();
    assert_eq!(tried, SETTING, "each that sets one is tried");
    // And there is no other.
    let taking = "select distinct p.proname::text from pg_proc as p
        where p.pronamespace = 'auth'::regnamespace and p.proargnames[:p.pronargs] && array['password', 'new_password', 'attributes']
            or p.oid = to_regproc('auth.admin_generate_link')
        order by 1";
    let rows = ways[0].1.superuser().query(taking, &[]).unwrap();
    let taking: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let mut known: Vec<&str> = SETTING.into_iter().chain(NOT_SETTING).collect();
    known.sort_unstable();
    assert_eq!(taking, known);
}

/// XB6: each half is a setting; one that was set before the rule still signs in.
#[test]
fn each_half_can_be_off() {
    let database = stage("immediate");
    let mut app = database.app();
    let mut said = |email: &str, password: &str| match answer(&mut app, "sign_up($1, $2)", &[&email, &password]) {
        Ok(_) => "ok".to_owned(),
        Err(refusal) => refusal.hint.as_deref().unwrap_or_default().split(':').next().unwrap_or_default().to_owned(),
    };
    assert_eq!(said("carol@example.org", "carolcarol"), "user_info");
    configure(&database, json!({"password_prevent_user_info": false}));
    assert_eq!(said("carol@example.org", "carolcarol"), "ok");
    assert_eq!(said("dave@example.org", "password1"), "pwned");
    configure(&database, json!({"password_prevent_common": false, "password_prevent_user_info": true}));
    assert_eq!(said("dave@example.org", "password1"), "ok");
    assert_eq!(said("frank@example.org", "frankfurt am main"), "user_info");
    configure(&database, json!({"password_prevent_common": true}));
    for (email, password) in [("carol@example.org", "carolcarol"), ("dave@example.org", "password1")] {
        sign_in(&mut database.app(), email, password);
    }
    json(&mut database.admin(), "select auth.apply_profile('supabase')", &[]);
    configure(&database, json!({"signup_mode": "immediate"}));
    assert_eq!(said("grace@example.org", "grace1"), "ok", "as Supabase has it");
}

/// XB6: the same over HTTP, with the reasons where Supabase's clients read them.
#[test]
fn each_way_over_http_refuses_it_too() {
    let database = stage("immediate");
    let sidecar = Sidecar::start(&database, &[]);
    let service_key = key(&database, "service_role");
    let ada = sign_up(&mut database.app(), EMAIL, RIGHT);
    let user = format!("/admin/users/{}", ada.user_id);
    for (password, reason) in [("password1", "pwned"), ("lovelace 1815", "user_info")] {
        let new = json!({"email": "b@example.org", "password": password, "data": {"name": "Lovelace"}});
        let created = json!({"email": "b@example.org", "password": password, "user_metadata": {"name": "Lovelace"}});
        let change = json!({"password": password, "current_password": RIGHT});
        for reply in [
            sidecar.post("/signup").json(&new).send(),
            sidecar.put("/user").bearer(&ada.access_token).json(&change).send(),
            sidecar.post("/admin/users").bearer(&service_key).json(&created).send(),
            sidecar.put(&user).bearer(&service_key).json(&json!({"password": password})).send(),
        ] {
            assert_eq!((reply.status, reply.code()), (422, "weak_password"), "{reply:?}");
            assert_eq!(reply.json()["weak_password"]["reasons"], json!([reason]), "{reply:?}");
        }
    }
    sign_in(&mut database.app(), EMAIL, RIGHT);
}
