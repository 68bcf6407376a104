//! What an administrator reads: lists of accounts, and the audit of what administrators did.

use auth_harness::{Cluster, canary, json};
use serde_json::{Value, json};

use crate::admin::{code, create, id, service, update};

/// B082: pages, orders and filters; a cursor shows each account once although others are made meanwhile.
#[test]
fn lists_are_filtered_sorted_and_paged() {
    let database = Cluster::shared().database();
    let mut service = service(&database);
    for number in 0..7 {
        create(
            &mut service,
            json!({"email": format!("user{number}@example.org"), "user_metadata": {"name": format!("N{number}")}}),
        );
    }
    create(&mut service, json!({"email": "100%_sure@example.org", "phone": "+4915112345678"}));
    // Two have signed in, the last of them latest.
    let signed_in = "update auth.users set last_sign_in_at = clock_timestamp() where email = $1";
    for email in ["user4@example.org", "user5@example.org"] {
        database.superuser().execute(signed_in, &[&email]).unwrap();
    }
    let mut list = |options: Value| -> (Vec<String>, Value) {
        let answer = json(&mut service, "select auth.admin_list_users($1)", &[&options]);
        let users = answer["users"].as_array().unwrap();
        (users.iter().map(|user| user["email"].as_str().unwrap().replace("@example.org", "")).collect(), answer)
    };
    let (all, answer) = list(json!({}));
    assert_eq!(all, ["100%_sure", "user6", "user5", "user4", "user3", "user2", "user1", "user0"]);
    assert_eq!((&answer["total"], answer.get("next_cursor")), (&json!(8), None));
    for (options, expected, total) in [
        (json!({"per_page": 3}), vec!["100%_sure", "user6", "user5"], 8),
        (json!({"per_page": 3, "page": 3}), vec!["user1", "user0"], 8),
        (json!({"per_page": 3, "page": 4}), vec![], 8),
        (json!({"sort": "email", "per_page": 2}), vec!["100%_sure", "user0"], 8),
        (json!({"sort": "email desc", "per_page": 2}), vec!["user6", "user5"], 8),
        (json!({"sort": "created_at asc", "per_page": 2}), vec!["user0", "user1"], 8),
        (json!({"sort": "last_sign_in_at", "per_page": 1}), vec!["user5"], 8),
        (json!({"filter": "USER3"}), vec!["user3"], 1),
        (json!({"filter": "n5"}), vec!["user5"], 1),
        (json!({"filter": "5112345"}), vec!["100%_sure"], 1),
        (json!({"filter": "%"}), vec!["100%_sure"], 1),
        (json!({"filter": "_"}), vec!["100%_sure"], 1),
        (json!({"filter": "\\"}), vec![], 0),
        (json!({"filter": "user%5"}), vec![], 0),
        (json!({"filter": "' or true --"}), vec![], 0),
        (json!({"filter": "", "per_page": 1}), vec!["100%_sure"], 8),
    ] {
        let (found, answer) = list(options.clone());
        assert_eq!(
            (found, &answer["total"]),
            (expected.into_iter().map(String::from).collect(), &json!(total)),
            "{options}"
        );
    }
    let id = answer["users"][3]["id"].as_str().unwrap();
    assert_eq!(list(json!({"filter": &id[..18]})).0, ["user4"]);

    let mut client = crate::admin::service(&database);
    let (mut seen, mut cursor, mut rounds) = (Vec::new(), Value::Null, 0);
    loop {
        let (found, answer) = list(json!({"per_page": 3, "cursor": cursor}));
        seen.extend(found);
        rounds += 1;
        create(&mut client, json!({"email": format!("late{rounds}@example.org")}));
        match answer.get("next_cursor") {
            Some(next) => cursor = next.clone(),
            None => break,
        }
    }
    assert_eq!(seen, all, "each once, and none that was made later");
    for options in [
        json!({"per_page": 0}),
        json!({"per_page": 1001}),
        json!({"page": 0}),
        json!({"page": -1}),
        json!({"page": "1"}),
        json!({"page": 9_000_000_000_000_000_000_i64}),
        json!({"sort": "encrypted_password"}),
        json!({"sort": "email; drop table auth.users"}),
        json!({"filter": 1}),
        json!({"filter": "x".repeat(201)}),
        json!({"cursor": "nonsense"}),
        json!({"cursor": "////"}),
        json!({"cursor": cursor, "sort": "email"}),
        json!({"cursor": cursor, "page": 2}),
    ] {
        assert_eq!(
            code(client.query("select auth.admin_list_users($1)", &[&options])),
            "validation_failed",
            "{options}"
        );
    }
}

/// F016: who changed what is in the audit, by name, and never a secret; it rolls back with the change.
#[test]
fn changes_are_audited_without_secrets() {
    let database = Cluster::shared().database();
    let (mut service, mut superuser) = (service(&database), database.superuser());
    let (first, second) = (canary(), canary());
    let user = create(&mut service, json!({"email": "ada@example.org", "password": first}));
    update(&mut service, &user["id"], json!({"password": second, "user_metadata": {"secret": second}}));
    let mut transaction = service.transaction().unwrap();
    transaction.query("select auth.admin_create_user('{\"email\": \"b@example.org\"}')", &[]).unwrap();
    transaction.rollback().unwrap();
    service.query("select auth.admin_delete_user($1, true)", &[&id(&user)]).unwrap();
    service.query("select auth.admin_delete_user($1)", &[&id(&user)]).unwrap();
    let answer = json(&mut service, "select auth.admin_list_audit()", &[]);
    let entries = answer["entries"].as_array().unwrap();
    let said: Vec<String> =
        entries.iter().map(|entry| format!("{} {}", entry["payload"]["action"], entry["payload"]["traits"])).collect();
    let id = &user["id"];
    assert_eq!(
        said,
        [
            format!("\"user_deleted\" {{\"by\":\"service\",\"soft\":false,\"user_id\":{id}}}"),
            format!("\"user_deleted\" {{\"by\":\"service\",\"soft\":true,\"user_id\":{id}}}"),
            "\"user_modified\" {\"by\":\"service\",\"keys\":[\"password\",\"user_metadata\"]}".to_owned(),
            "\"user_created\" {\"by\":\"service\",\"keys\":[\"email\",\"password\"]}".to_owned(),
        ]
    );
    assert_eq!(answer["total"], 4);
    let all: String =
        superuser.query_one("select string_agg(a::text, '') from auth.audit_log as a", &[]).unwrap().get(0);
    assert!(!all.contains(&first) && !all.contains(&second));
    let page = json(
        &mut service,
        "select auth.admin_list_audit('{\"per_page\": 1, \"page\": 2, \"query\": \"action:user_d\"}')",
        &[],
    );
    assert_eq!((&page["entries"][0]["payload"]["traits"]["soft"], &page["total"]), (&json!(true), &json!(2)));
    assert_eq!(page["entries"].as_array().unwrap().len(), 1);
    for (query, total) in [("author:ada", 0), ("action:ada", 0), ("user_created", 1), ("%", 0)] {
        let found =
            json(&mut service, "select auth.admin_list_audit(jsonb_build_object('query', $1::text))", &[&query]);
        assert_eq!(found["total"], total, "{query}");
    }
}
