//! Public profiles: which fields anybody reads by a user name, and how a name is given, taken and freed.

use auth_harness::postgres::types::ToSql;
use auth_harness::{Client, Cluster, Refusal, Sidecar, json, refused, sign_up, storm_with, try_acting};
use serde_json::{Value, json};

use crate::admin::{create, service, update};
use crate::guard::RIGHT;
use crate::otp::{answer, mailing, said};
use crate::refresh::configure;

fn profile(client: &mut Client, name: &str) -> Value {
    json(client, "select auth.public_profile($1)", &[&name])
}

fn change(client: &mut Client, token: &str, data: &Value, options: &Value) -> Result<Value, Refusal> {
    let arguments: [&(dyn ToSql + Sync); 2] = [data, options];
    let result = try_acting(client, token, |transaction| {
        transaction.query_one("select auth.update_user($1, $2)", &arguments).map(|row| row.get::<_, Value>(0))
    });
    match result {
        Ok(user) => Ok(user),
        result => Err(refused(result)),
    }
}

/// F014: as anon, by the name in any case: the listed fields and nothing else, whatever the metadata holds; nobody for an unknown
/// name, a banned, deleted or anonymous account. No list makes an address, a password, a token, a code or a session public.
#[test]
fn strangers_read_the_listed_fields_only() {
    let database = mailing(Cluster::shared(), json!({}));
    let (mut app, mut anon) = (database.app(), database.app());
    anon.batch_execute("set role anon").unwrap();
    let data = json!({"avatar_url": "https://img.example.org/a.png", "city": "London", "email": "ada@example.org",
        "password": RIGHT, "token": "t", "username": "somebody else", "level": 7, "is_new": true,
        "nested": {"email": "ada@example.org"}, "list": ["x"]});
    let ada =
        answer(&mut app, "sign_up('ada@example.org', $1, $2, '{\"username\": \"Ada.L\"}')", &[&RIGHT, &data]).unwrap();
    assert_eq!(ada["user"]["username"], "ada.l");
    let shown = json!({"username": "ada.l", "avatar_url": "https://img.example.org/a.png"});
    for name in ["ada.l", "ADA.L", "Ada.l"] {
        assert_eq!(profile(&mut anon, name), shown, "{name}");
    }
    for name in
        ["nobody", "", "ada", "ada.l ", "%", "ada@example.org", "somebody else", "\u{212a}da", &"a".repeat(100_000)]
    {
        assert_eq!(profile(&mut anon, name), Value::Null, "{}", &name[..name.len().min(20)]);
    }
    assert_eq!(said(&mut anon, "public_profile(null)", &[]), "validation_failed");

    configure(
        &database,
        json!({"public_profile_fields": ["username", "city", "level", "is_new", "nested", "list", "missing"]}),
    );
    let all = json!({"username": "ada.l", "city": "London", "level": 7, "is_new": true});
    assert_eq!(profile(&mut anon, "ada.l"), all, "objects and lists are not looked into");
    let mut admin = database.admin();
    for field in [
        "email",
        "E-Mail",
        "phone",
        "password",
        "encrypted_password",
        "token",
        "refresh_token",
        "otp",
        "code",
        "secret",
        "session_id",
        "api_key",
        "passphrase",
        "recovery_codes",
    ] {
        let settings = json!({"public_profile_fields": ["username", field]});
        assert_eq!(
            refused(admin.execute("select auth.configure($1)", &[&settings])).code,
            "validation_failed",
            "{field}"
        );
        // Nor where somebody with power over the table has written it.
        let stored = "update auth.config set public_profile_fields = jsonb_build_array('username', $1::text)";
        database.superuser().execute(stored, &[&field]).unwrap();
        assert_eq!(profile(&mut database.app(), "ada.l"), json!({"username": "ada.l"}), "{field}");
    }
    configure(&database, json!({"public_profile_fields": []}));
    assert_eq!(profile(&mut anon, "ada.l"), json!({}));

    let mut service = service(&database);
    let id = &ada["user"]["id"];
    update(&mut service, id, json!({"ban_duration": "1h"}));
    assert_eq!(profile(&mut anon, "ada.l"), Value::Null, "banned");
    update(&mut service, id, json!({"ban_duration": "none"}));
    assert_eq!(profile(&mut anon, "ada.l"), json!({}));
    let uuid: uuid::Uuid = id.as_str().unwrap().parse().unwrap();
    service.execute("select auth.admin_delete_user($1, true)", &[&uuid]).unwrap();
    assert_eq!(profile(&mut anon, "ada.l"), Value::Null, "deleted");
}

/// F014: a name is given at sign-up, by its owner and by an administrator, by nobody else; it is somebody's once, whoever comes at
/// the same moment; a refusal and a ROLLBACK change nothing, and a name that is given up is free.
#[test]
fn a_name_is_one_accounts() {
    let database = mailing(Cluster::shared(), json!({}));
    let mut app = database.app();
    let ada = sign_up(&mut app, "ada@example.org", RIGHT);
    let eve = sign_up(&mut app, "eve@example.org", RIGHT);
    for name in ["ab", "-ada", "ada-", "a da", "ädä", "ada@x", "a\nda", "", &"a".repeat(33)] {
        let refusal = change(&mut app, &ada.access_token, &json!({}), &json!({"username": name})).unwrap_err();
        assert_eq!(refusal.code, "validation_failed", "{name:?}");
    }
    assert_eq!(
        change(&mut app, &ada.access_token, &json!({}), &json!({"username": 1})).unwrap_err().code,
        "validation_failed"
    );
    let user = change(&mut app, &ada.access_token, &json!({"a": 1}), &json!({"username": "Queen_of-9.9"})).unwrap();
    assert_eq!((&user["username"], &user["user_metadata"]["a"]), (&json!("queen_of-9.9"), &json!(1)));
    // In data it is metadata, as everything there.
    let user = change(&mut app, &eve.access_token, &json!({"username": "queen_of-9.9"}), &json!({})).unwrap();
    assert!(user.get("username").is_none());
    let taken =
        change(&mut app, &eve.access_token, &json!({"b": 1}), &json!({"username": "QUEEN_OF-9.9"})).unwrap_err();
    assert_eq!((taken.sqlstate.as_str(), taken.code.as_str()), ("23505", "user_already_exists"));
    let user = change(&mut app, &eve.access_token, &json!({}), &json!({})).unwrap();
    assert!(user["user_metadata"].get("b").is_none(), "all of it or nothing");
    assert_eq!(said(&mut app, "update_user('{}', '{\"username\": \"free\"}')", &[]), "no_authorization");
    let users = "select count(*) from auth.users";
    let before: i64 = database.superuser().query_one(users, &[]).unwrap().get(0);
    let call = "sign_up('new@example.org', $1, '{}', '{\"username\": \"queen_of-9.9\"}')";
    assert_eq!(said(&mut app, call, &[&RIGHT]), "user_already_exists");
    assert_eq!(database.superuser().query_one(users, &[]).unwrap().get::<_, i64>(0), before);
    let mut transaction = app.transaction().unwrap();
    answer(&mut transaction, "sign_up('new@example.org', $1, '{}', '{\"username\": \"shortlived\"}')", &[&RIGHT])
        .unwrap();
    transaction.rollback().unwrap();
    assert_eq!(profile(&mut app, "shortlived"), Value::Null);

    let mut service = service(&database);
    let made = create(&mut service, json!({"email": "m@example.org", "username": "Made"}));
    assert_eq!(made["username"], "made");
    assert_eq!(update(&mut service, &made["id"], json!({"username": "remade"}))["username"], "remade");
    let call = "admin_update_user($1::text::uuid, '{\"username\": \"queen_of-9.9\"}')";
    assert_eq!(said(&mut service, call, &[&made["id"].as_str()]), "user_already_exists");
    assert_eq!(
        said(&mut service, "admin_create_user('{\"email\": \"o@x.io\", \"username\": \"remade\"}')", &[]),
        "user_already_exists"
    );
    // Given up, it is free; and of many who want it one gets it.
    change(&mut app, &ada.access_token, &json!({}), &json!({"username": null})).unwrap();
    assert_eq!(profile(&mut app, "queen_of-9.9"), Value::Null);
    let people: Vec<_> = (0..8).map(|n| sign_up(&mut app, &format!("p{n}@example.org"), RIGHT)).collect();
    let answers = storm_with(
        8,
        |_| database.app(),
        |number, mut client| {
            change(&mut client, &people[number].access_token, &json!({}), &json!({"username": "queen_of-9.9"}))
        },
    );
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    assert!(
        answers.iter().filter_map(|answer| answer.as_ref().err()).all(|refusal| refusal.code == "user_already_exists")
    );

    // Where sign-up tells nobody who has an account, a name that is taken from then on would.
    for mode in ["confirm", "otp_first"] {
        configure(&database, json!({"signup_mode": mode}));
        let call = "sign_up('late@example.org', $1, '{}', '{\"username\": \"late\"}')";
        assert_eq!(said(&mut app, call, &[&RIGHT]), "validation_failed", "{mode}");
    }
}

/// F014, F266: over HTTP by the versioned path, and by urBackend's where its paths are on; 404 for nobody.
#[test]
fn profiles_over_http() {
    let database = mailing(Cluster::shared(), json!({}));
    let sidecar = Sidecar::start(&database, &[("AUTH_COMPAT__URBACKEND", "true")]);
    let account =
        json!({"email": "ada@example.org", "password": RIGHT, "username": "ada", "avatar_url": "https://x.io/a"});
    let made = sidecar.post("/api/userAuth/signup").json(&account).send();
    assert_eq!((made.status, &made.json()["user"]["username"]), (201, &json!("ada")), "{made:?}");
    for path in ["/v1/public/", "/public/", "/auth/v1/public/", "/api/userAuth/public/"] {
        let found = sidecar.get(&format!("{path}Ada")).send();
        assert_eq!(
            (found.status, found.json()),
            (200, json!({"username": "ada", "avatar_url": "https://x.io/a"})),
            "{path}"
        );
        for name in ["nobody", "ada%40example.org", "%00", "..%2f..%2f"] {
            let missing = sidecar.get(&format!("{path}{name}")).send();
            assert!([400, 404].contains(&missing.status), "{path}{name}: {missing:?}");
        }
        let missing = sidecar.get(&format!("{path}nobody")).bearer("garbage").send();
        assert_eq!((missing.status, missing.code()), (404, "user_not_found"), "{path}");
    }
    assert_eq!(
        sidecar
            .post("/api/userAuth/signup")
            .json(&json!({"email": "b@x.io", "password": RIGHT, "username": "ADA"}))
            .send()
            .status,
        422
    );
    // Where the address is to be proved first, the name stays what it was for such programs: metadata.
    configure(&database, json!({"signup_mode": "confirm"}));
    let later = json!({"email": "c@example.org", "password": RIGHT, "username": "carol"});
    let made = sidecar.post("/api/userAuth/signup").json(&later).send();
    assert_eq!((made.status, &made.json()["user"]["user_metadata"]["username"]), (201, &json!("carol")), "{made:?}");
    assert_eq!(sidecar.get("/v1/public/carol").send().status, 404);
    let off = Sidecar::start(&database, &[]);
    assert_eq!(off.get("/api/userAuth/public/ada").send().status, 404);
    assert_eq!(off.get("/v1/public/ada").send().status, 200);
}
