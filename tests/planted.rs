//! What somebody put there before CREATE EXTENSION, and names that are made to look like SQL.

use auth_harness::{Client, Cluster, acting, refused, sign_up};

use crate::install::{assert_nothing_left, count};

const PASSWORD: &str = "correct horse battery";

/// XJ3: a schema, or roles, that somebody planted before the install are refused, and nothing is left of the attempt.
#[test]
fn what_was_planted_before_is_refused() {
    let cluster = Cluster::builder().no_extension().start();
    let database = cluster.empty_database();
    let mut client = database.superuser();
    client.batch_execute("create role mallory login; create role strong superuser").unwrap();
    let mut wrong = Vec::new();
    for (planted, undo) in [
        ("create schema auth", "drop schema auth"),
        ("create schema auth authorization mallory", "drop schema auth"),
        ("create role auth_owner login", "drop role auth_owner"),
        ("create role auth_owner superuser", "drop role auth_owner"),
        ("create role auth_owner createrole", "drop role auth_owner"),
        ("create role auth_owner createdb", "drop role auth_owner"),
        ("create role auth_owner replication", "drop role auth_owner"),
        ("create role auth_owner bypassrls", "drop role auth_owner"),
        ("create role auth_owner role mallory", "drop role auth_owner"),
        ("create role auth_owner admin mallory", "drop role auth_owner"),
        ("create role auth_owner role strong", "drop role auth_owner"),
        ("create role anon login", "drop role anon"),
        ("create role anon superuser", "drop role anon"),
        ("create role anon bypassrls", "drop role anon"),
        ("create role anon role mallory", "drop role anon"),
        ("create role anon in role pg_read_all_data", "drop role anon"),
        ("create role authenticated in role strong", "drop role authenticated"),
        ("create role auth_owner in role pg_write_all_data", "drop role auth_owner"),
        ("create role authenticated role mallory", "drop role authenticated"),
        ("create role authenticated createrole", "drop role authenticated"),
        ("create role service_role bypassrls role mallory", "drop role service_role"),
        ("create role service_role login", "drop role service_role"),
        ("create role auth_admin role mallory", "drop role auth_admin"),
        ("create role auth_admin login", "drop role auth_admin"),
        ("create role auth_sidecar role mallory", "drop role auth_sidecar"),
        ("create role auth_sidecar superuser", "drop role auth_sidecar"),
    ] {
        client.batch_execute(planted).unwrap();
        let mut attempt = client.transaction().unwrap();
        match attempt.batch_execute("create extension auth") {
            Ok(()) => wrong.push(format!("accepted: {planted}")),
            Err(error) => {
                let refusal = refused::<()>(Err(error));
                let known = ["42710", "42P06"].contains(&refusal.sqlstate.as_str());
                if !known || (planted.starts_with("create role") && refusal.hint.is_none()) {
                    wrong.push(format!("{planted}: {refusal:?}"));
                }
            }
        }
        attempt.rollback().unwrap();
        client.batch_execute(undo).unwrap();
        assert_nothing_left(&database, 0);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The HINT leads out: roles without rights and members are taken over.
    client
        .batch_execute(
            "create role auth_owner; create role anon inherit; create role service_role; create role auth_admin;
            create extension auth",
        )
        .unwrap();
    assert_eq!(count(&database, "select count(*) from pg_roles where rolname = 'service_role' and rolbypassrls"), 1);
}

/// XJ3, CVE-2022-2625: functions, operators, types and tables in the installer's path are not what the script means.
#[test]
fn what_was_planted_in_the_path_is_not_called() {
    let cluster = Cluster::builder().no_extension().start();
    let database = cluster.empty_database();
    let mut client = database.superuser();
    client
        .batch_execute(
            "create role mallory login; create schema evil authorization mallory; grant create on schema public to mallory;
            create table public.stolen (who text); grant insert on public.stolen to public",
        )
        .unwrap();
    let mut mallory = database.connect("mallory");
    for schema in ["evil", "public"] {
        plant(&mut mallory, schema);
        // It works where it is meant.
        let before = count(&database, "select count(*) from public.stolen");
        client.batch_execute(&format!("select {schema}.format('x'::text, 'y'::text)")).unwrap();
        assert_eq!(count(&database, "select count(*) from public.stolen"), before + 1);
        client.batch_execute("truncate public.stolen").unwrap();
        for path in [format!("{schema}, pg_catalog"), schema.to_owned(), format!("pg_catalog, {schema}")] {
            let mut attempt = client.transaction().unwrap();
            attempt.batch_execute(&format!("set local search_path = {path}; create extension auth")).unwrap();
            let row = attempt.query_one("select pg_catalog.count(*) from public.stolen", &[]).unwrap();
            assert_eq!(row.get::<_, i64>(0), 0, "planted code ran as the superuser with search_path = {path}");
            attempt.rollback().unwrap();
        }
    }
    client
        .batch_execute(
            "set search_path = evil, pg_catalog; create extension auth; select auth.email_key('a@example.org')",
        )
        .unwrap();
    assert_eq!(count(&database, "select count(*) from public.stolen"), 0);
}

/// Objects with the names that install scripts use, each of which tells that it was called.
pub fn plant(client: &mut Client, schema: &str) {
    let body = "begin insert into public.stolen values (current_user); return";
    let mut sql = String::new();
    for (name, arguments, result, value) in [
        ("format", "text, variadic text[]", "text", "'select 1'"),
        ("format", "text, text", "text", "'select 1'"),
        ("format", "text, name", "text", "'select 1'"),
        ("format", "text, name, text", "text", "'select 1'"),
        ("lower", "text", "text", "$1"),
        ("current_setting", "text", "text", "'0'"),
        ("current_setting", "text, boolean", "text", "'on'"),
        ("set_config", "text, text, boolean", "text", "$2"),
        ("clock_timestamp", "", "timestamptz", "'epoch'::timestamptz"),
        ("now", "", "timestamptz", "'epoch'::timestamptz"),
        ("gen_random_uuid", "", "uuid", "'00000000-0000-0000-0000-000000000001'::uuid"),
        ("to_char", "timestamp, text", "text", "'x'"),
        ("to_timestamp", "double precision", "timestamptz", "'epoch'::timestamptz"),
        ("to_timestamp", "bigint", "timestamptz", "'epoch'::timestamptz"),
        ("count", "integer", "bigint", "0"),
        ("string_agg", "text, integer", "text", "''"),
        ("jsonb_build_object", "text, uuid", "jsonb", "'{}'::jsonb"),
        ("jsonb_strip_nulls", "jsonb", "jsonb", "'{}'::jsonb"),
        ("coalesce", "text, text", "text", "''"),
        ("quote_ident", "text", "text", "''"),
        ("quote_ident", "name", "text", "''"),
        ("parse_ident", "text", "text[]", "array['a']"),
        ("octet_length", "text", "integer", "0"),
        ("octet_length", "bytea", "integer", "0"),
        ("length", "text", "integer", "0"),
        ("shobj_description", "oid, name", "text", "''"),
        ("pg_extension_config_dump", "regclass, text", "void", ""),
        ("has_function_privilege", "name, oid, text", "boolean", "true"),
        ("pg_has_role", "oid, name, text", "boolean", "false"),
        ("aclexplode", "aclitem[]", "text", "''"),
        ("uid", "", "uuid", "'00000000-0000-0000-0000-000000000001'::uuid"),
    ] {
        sql += &format!(
            "create function {schema}.{name}({arguments}) returns {result} language plpgsql as $$ {body} {value}; end $$;\n"
        );
    }
    for (number, (operator, left, right, result)) in [
        ("=", "text", "text", "boolean"),
        ("=", "name", "text", "boolean"),
        ("=", "text", "name", "boolean"),
        ("=", "name", "name", "boolean"),
        ("=", "oid", "oid", "boolean"),
        ("=", "uuid", "uuid", "boolean"),
        ("=", "\"char\"", "text", "boolean"),
        ("=", "\"char\"", "\"char\"", "boolean"),
        ("=", "integer", "integer", "boolean"),
        ("=", "bytea", "bytea", "boolean"),
        ("=", "bigint", "bigint", "boolean"),
        ("<>", "oid", "integer", "boolean"),
        ("<>", "oid", "oid", "boolean"),
        ("<>", "text", "text", "boolean"),
        ("<", "timestamptz", "timestamptz", "boolean"),
        (">", "timestamptz", "timestamptz", "boolean"),
        ("<", "integer", "integer", "boolean"),
        ("/", "integer", "integer", "integer"),
        ("%", "integer", "integer", "integer"),
        ("||", "text", "text", "text"),
        ("||", "jsonb", "jsonb", "jsonb"),
        ("->>", "jsonb", "text", "text"),
        ("->", "jsonb", "text", "jsonb"),
        ("-", "jsonb", "text", "jsonb"),
        ("+", "bigint", "integer", "bigint"),
        ("+", "timestamptz", "interval", "timestamptz"),
        ("~~", "text", "text", "boolean"),
        ("~~", "name", "text", "boolean"),
    ]
    .into_iter()
    .enumerate()
    {
        sql += &format!(
            "create function {schema}.operator{number}({left}, {right}) returns {result} language plpgsql
                as $$ {body} null; end $$;
            create operator {schema}.{operator} (leftarg = {left}, rightarg = {right}, function = {schema}.operator{number});\n"
        );
    }
    for table in ["pg_class", "pg_proc", "pg_roles", "pg_extension", "pg_depend", "pg_namespace", "users", "sessions"] {
        sql += &format!("create view {schema}.{table} as select {schema}.lower('x') as id;\n");
    }
    for domain in ["text", "jsonb", "uuid", "boolean", "timestamptz", "regclass", "regprocedure", "regrole", "name"] {
        sql +=
            &format!("create domain {schema}.{domain} as pg_catalog.int4 check ({schema}.lower('x') is not null);\n");
    }
    client.batch_execute("set search_path = pg_catalog, pg_temp").unwrap();
    client.batch_execute(&sql).unwrap_or_else(|error| panic!("planting in {schema}: {error:?}"));
}

/// XJ4: names with quotes are names, not SQL.
#[test]
fn hostile_names_are_names() {
    let database = Cluster::shared().empty_database();
    let cluster = database.cluster();
    let odd = format!("a\"; drop table x; --' {}", database.name());
    let quoted = format!("\"{}\"", odd.replace('"', "\"\""));
    cluster.maintain(&format!("create role {quoted} login noinherit"));
    cluster.maintain(&format!("create database {quoted} owner {quoted}"));
    let mut client = cluster.connect(&odd, "postgres");
    client.batch_execute("create table x (); create extension auth").unwrap();
    client.execute("select auth.allow_client($1::text::name)", &[&odd]).unwrap();
    let person = sign_up(&mut cluster.connect(&odd, &odd), "ada@example.org", PASSWORD);
    acting(&mut cluster.connect(&odd, &odd), &person.access_token, |transaction| {
        assert_eq!(transaction.query("select * from auth.my_account", &[]).unwrap().len(), 1);
    });

    client
        .batch_execute(&format!(
            "create schema {quoted} authorization {quoted};
            create function {quoted}.{quoted}(event jsonb) returns jsonb language plpgsql
                as $$ begin perform pg_catalog.set_config('test.hook', current_user, true); return null; end $$;
            alter function {quoted}.{quoted}(jsonb) owner to {quoted};"
        ))
        .unwrap();
    client.execute("select auth.add_hook('after_user_created', $1)", &[&format!("{quoted}.{quoted}")]).unwrap();
    let mut app = cluster.connect(&odd, &odd);
    let mut transaction = app.transaction().unwrap();
    sign_up(&mut transaction, "bob@example.org", PASSWORD);
    let ran_as: String = transaction.query_one("select current_setting('test.hook')", &[]).unwrap().get(0);
    assert_eq!(ran_as, odd);
    transaction.commit().unwrap();

    for name in [
        "",
        "x\"",
        "\"",
        "a.b",
        "a.b.c",
        "a b.c",
        "pg_catalog.format",
        "x'; drop table x; --",
        "a\".\"b",
        "\"a\".\"b",
        ".",
        "a.",
        ".b",
    ] {
        let refusal = refused(client.execute("select auth.add_hook('after_user_created', $1)", &[&name]));
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("22023", "validation_failed"), "{name}");
        let refusal = refused(client.execute("select auth.add_hook($1, 'public.x')", &[&name]));
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("22023", "validation_failed"), "{name}");
        let refusal = refused(client.execute("select auth.allow_client($1::text::name)", &[&name]));
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("22023", "validation_failed"), "{name}");
        let refusal = refused(client.query_one("select auth.apply_profile($1)", &[&name]));
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("22023", "validation_failed"), "{name}");
        let settings = serde_json::json!({ name: 1 });
        let refusal = refused(client.query_one("select auth.configure($1)", &[&settings]));
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("22023", "validation_failed"), "{name}");
    }
    // A login that could pass by row-level security is no client.
    for (role, attributes) in
        [("login_super", "superuser"), ("login_bypass", "bypassrls"), ("login_service", "in role service_role")]
    {
        let role = format!("{role}_{}", database.name());
        client.batch_execute(&format!("create role {role} login {attributes}")).unwrap();
        let refusal = refused(client.execute("select auth.allow_client($1::text::name)", &[&role]));
        assert_eq!(refusal.code, "validation_failed", "{role}");
    }
    assert_eq!(refused(client.execute("select auth.allow_client('anon')", &[])).code, "validation_failed");
    client.query("select from x", &[]).unwrap();
    drop((client, app));
    cluster.maintain(&format!("drop database {quoted} with (force)"));
    cluster.maintain(&format!("drop role {quoted}"));
}
