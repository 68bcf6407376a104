//! Who may do what: from the catalogs, and tried by each login.

use auth_harness::{Client, Cluster, Database, Transaction, acting, canary, refused, sign_up};

use crate::golden::{MEMBERS, assert_golden, assert_same, lines};

/// Role × object × privilege, with what makes a function safe or not: owner, definer, volatility, settings.
fn privileges(client: &mut Client) -> String {
    let mut text = lines(
        client,
        "select format('role %s:%s%s%s%s%s%s%s', r.rolname,
            case when r.rolcanlogin then ' LOGIN' else ' nologin' end,
            case when r.rolinherit then ' INHERIT' else ' noinherit' end,
            case when r.rolsuper then ' SUPERUSER' else '' end,
            case when r.rolbypassrls then ' BYPASSRLS' else '' end,
            case when r.rolcreaterole or r.rolcreatedb or r.rolreplication then ' CREATES' else '' end,
            (select string_agg(' member of ' || g.rolname, '' order by g.rolname)
                from pg_auth_members as m join pg_roles as g on g.oid = m.roleid where m.member = r.oid),
            (select string_agg(' setting ' || s.setconfig::text, '' order by s.setconfig)
                from pg_db_role_setting as s where s.setrole = r.oid))
        from pg_roles as r
        where r.rolname in ('anon', 'authenticated', 'service_role', 'auth_owner', 'auth_admin', 'auth_sidecar')
        order by r.rolname",
    );
    // A null acl means the defaults of the kind of object, which give functions to PUBLIC.
    text += &lines(
        client,
        &format!(
            "with {MEMBERS},
            object (kind, name, owner, remark, acl) as (
                select 'function', p.oid::regprocedure::text, p.proowner,
                    format(', %s %s parallel %s%s%s%s',
                        case when p.prosecdef then 'DEFINER' else 'invoker' end,
                        case p.provolatile when 'i' then 'immutable' when 's' then 'stable' else 'volatile' end,
                        case p.proparallel when 's' then 'safe' when 'r' then 'restricted' else 'unsafe' end,
                        case when p.proleakproof then ' LEAKPROOF' else '' end,
                        case when p.proisstrict then ' strict' else '' end,
                        coalesce(' set ' || array_to_string(p.proconfig, '; '), '')),
                    coalesce(p.proacl, acldefault('f', p.proowner))
                from member as m join pg_proc as p on m.classid = 'pg_proc'::regclass and p.oid = m.objid
                union all
                select case c.relkind when 'r' then 'table' when 'p' then 'table' when 'v' then 'view' else c.relkind::text end,
                    c.oid::regclass::text, c.relowner,
                    concat(coalesce(', ' || array_to_string(c.reloptions, '; '), ''),
                        case when c.relrowsecurity then ', RLS' end),
                    coalesce(c.relacl, acldefault('r', c.relowner))
                from member as m join pg_class as c on m.classid = 'pg_class'::regclass and c.oid = m.objid
                union all
                select 'column', format('%s.%I', c.oid::regclass, a.attname), c.relowner, '', a.attacl
                from member as m
                    join pg_class as c on m.classid = 'pg_class'::regclass and c.oid = m.objid
                    join pg_attribute as a on a.attrelid = c.oid and a.attacl is not null
                union all
                select 'schema', n.nspname, n.nspowner, '', coalesce(n.nspacl, acldefault('n', n.nspowner))
                from member as m join pg_namespace as n on m.classid = 'pg_namespace'::regclass and n.oid = m.objid
                union all
                -- only a superuser can own one
                select 'event trigger', t.evtname, null, format(', %s %s', t.evtevent, t.evtenabled), null
                from member as m join pg_event_trigger as t on m.classid = 'pg_event_trigger'::regclass and t.oid = m.objid
                union all
                select 'default privilege', d.defaclobjtype::text, d.defaclrole, '', d.defaclacl
                from pg_default_acl as d where d.defaclrole = 'auth_owner'::regrole
            )
            select format('%s %s: %s%s%s', kind, name, coalesce('owner ' || owner::regrole, 'owner superuser'), remark, (
                select string_agg(format(', %s%s to %s', a.privilege_type,
                    case when a.is_grantable then ' WITH GRANT OPTION' end,
                    case a.grantee when 0 then 'PUBLIC' else a.grantee::regrole::text end),
                    '' order by a.grantee::regrole::text collate \"C\", a.privilege_type)
                from aclexplode(acl) as a where a.grantee <> owner))
            from object order by kind collate \"C\", name collate \"C\""
        ),
    );
    text
}

/// A database where nothing was done but the install.
fn installed() -> Database {
    let database = Cluster::shared().empty_database();
    database.superuser().batch_execute("create extension auth").unwrap();
    database
}

/// N31, F191, XJ1, XJ16: who may do what is written down; a change is seen in review.
#[test]
fn every_privilege_is_in_the_golden_file() {
    let database = installed();
    assert_golden("privileges.txt", &privileges(&mut database.superuser()));
}

/// XJ3: default privileges that somebody set beforehand, to PUBLIC and to a stranger, leave no trace.
#[test]
fn hostile_default_privileges_change_nothing() {
    let cluster = Cluster::builder().no_extension().start();
    let (clean, hostile) = (cluster.empty_database(), cluster.empty_database());
    let mut client = clean.superuser();
    client
        .batch_execute("create extension auth; create role stranger login; create role \"odd \"\"name\" login")
        .unwrap();
    let expected = privileges(&mut client);

    let mut client = hostile.superuser();
    for (objects, privileges) in
        [("tables", "all"), ("functions", "execute"), ("sequences", "all"), ("schemas", "all"), ("types", "usage")]
    {
        for grantee in ["stranger", "public", "\"odd \"\"name\"", "anon", "service_role"] {
            let option = if grantee == "public" { "" } else { " with grant option" };
            let grant = format!("grant {privileges} on {objects} to {grantee}{option}");
            client.batch_execute(&format!("alter default privileges {grant}")).unwrap();
            // auth_owner's own would act on what an upgrade makes.
            client.batch_execute(&format!("alter default privileges for role auth_owner {grant}")).unwrap();
        }
    }
    client.batch_execute("create table canary_of_the_defaults ()").unwrap();
    let seen = client.query_one("select has_table_privilege('stranger', 'canary_of_the_defaults', 'select')", &[]);
    assert!(seen.unwrap().get::<_, bool>(0), "the hostile default acts on other tables");
    client.batch_execute("create extension auth").unwrap();
    let without_defaults = |text: String| -> String {
        text.lines().filter(|line| !line.starts_with("default privilege")).map(|line| format!("{line}\n")).collect()
    };
    assert_same(
        "the privileges after hostile defaults",
        &without_defaults(expected),
        &without_defaults(privileges(&mut client)),
    );
}

/// XJ16, XJ1, XJ9, XJ10, N31: what no blessing of the golden file may ever change.
#[test]
fn functions_are_safe_by_their_catalog_entries() {
    let database = installed();
    let mut client = database.superuser();
    let of_functions = |client: &mut Client, condition: &str| {
        lines(
            client,
            &format!(
                "with {MEMBERS} select p.oid::regprocedure::text from member as m
                join pg_proc as p on m.classid = 'pg_proc'::regclass and p.oid = m.objid
                where {condition} order by 1"
            ),
        )
    };
    let readers =
        "auth.aal()\nauth.email()\nauth.fresh(interval)\nauth.jwt()\nauth.role()\nauth.session_id()\nauth.uid()\n";
    let to_public =
        "exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) as a where a.grantee = 0)";
    let found = of_functions(&mut client, to_public);
    for function in found.lines() {
        // These two may come with the roles; nothing else may.
        let later = ["auth.has_role(text)", "auth.has_permission(text)", "auth.org_id()"].contains(&function);
        assert!(later || readers.lines().any(|reader| reader == function), "PUBLIC may execute {function}");
    }
    for reader in readers.lines() {
        assert!(found.lines().any(|function| function == reader), "a policy of PUBLIC may call {reader}");
        let plain = format!(
            "p.oid = '{reader}'::regprocedure and p.provolatile = 's' and p.proparallel = 's' and p.proconfig is null
                and not p.prosecdef and not p.proleakproof"
        );
        assert_eq!(of_functions(&mut client, &plain).trim(), reader, "stable, parallel safe and without a SET clause");
    }
    for (what, condition) in [
        (
            "a definer function finds names by its caller's path",
            "p.prosecdef and p.proconfig is distinct from array['search_path=pg_catalog, pg_temp']",
        ),
        ("a function belongs to somebody else", "p.proowner <> 'auth_owner'::regrole"),
        ("a leakproof function would see rows before a policy does", "p.proleakproof"),
        ("a function is outside the schema", "p.pronamespace <> 'auth'::regnamespace"),
        (
            "a function's text is found by its caller's path",
            "p.prolang <> (select oid from pg_language where lanname = 'c')
            and p.proconfig is null and p.oid <> 'auth.rfc3339(timestamptz)'::regprocedure",
        ),
    ] {
        assert_eq!(of_functions(&mut client, condition), "", "{what}");
    }
    let not_ours = lines(
        &mut client,
        &format!(
            "with {MEMBERS} select c.oid::regclass::text from member as m
            join pg_class as c on m.classid = 'pg_class'::regclass and c.oid = m.objid
            where c.relowner <> 'auth_owner'::regrole or c.relnamespace <> 'auth'::regnamespace"
        ),
    );
    assert_eq!(not_ours, "", "tables and views belong to auth_owner");
}

/// F015, F191, F192, N31: no table of ours can be read or written by any login that a request may come from.
#[test]
fn tables_are_closed_to_every_login_and_role() {
    let database = Cluster::shared().database();
    let person = sign_up(&mut database.app(), "ada@example.org", "correct horse battery");
    let tables = lines(
        &mut database.superuser(),
        &format!(
            "with {MEMBERS} select c.oid::regclass::text from member as m
            join pg_class as c on m.classid = 'pg_class'::regclass and c.oid = m.objid where c.relkind in ('r', 'p')"
        ),
    );
    assert!(tables.lines().any(|table| table == "auth.users"));
    let open_to_admin = [
        "auth.config",
        "auth.config_history",
        "auth.hooks",
        "auth.audit_log",
        "auth.audit_anchors",
        "auth.blocked_networks",
        "auth.outbox",
        "auth.webhooks",
        "auth.email_rules",
    ];
    for (login, role) in [
        ("app", ""),
        ("app", "set role anon"),
        ("app", "set role authenticated"),
        ("service", ""),
        ("service", "set role service_role"),
        ("sidecar", ""),
        ("admin", ""),
    ] {
        let mut client = database.connect(login);
        client.batch_execute(role).unwrap();
        // An administrator writes the mails.
        for table in tables.lines().filter(|table| (login, *table) != ("admin", "auth.templates")) {
            let mut statements = vec![
                format!("delete from {table}"),
                format!("truncate {table}"),
                format!("insert into {table} default values"),
                format!("do $$ begin lock table {table} in access exclusive mode; end $$"),
                format!("copy {table} from stdin"),
            ];
            let is_open = (login == "admin" && open_to_admin.contains(&table))
                || (role == "set role service_role" && table == "auth.audit_log");
            if !is_open {
                statements.push(format!("select 1 from {table}"));
                statements.push(format!("copy {table} to stdout"));
                statements.push(format!("select whole from {table} as whole"));
            }
            for statement in statements {
                assert_eq!(refused(client.batch_execute(&statement)).sqlstate, "42501", "{login} {role}: {statement}");
            }
        }
        for statement in [
            "select encrypted_password from auth.users",
            "select private_sealed from auth.signing_keys",
            "update auth.users set role = 'service_role'",
            "update auth.users set encrypted_password = null",
            "update auth.sessions set aal = 'aal2'",
            "create table auth.mine ()",
            "create function auth.mine() returns int language sql as 'select 1'",
            "select count(*) from auth.users where encrypted_password like '$argon2id%'",
            "update auth.my_account set email = 'eve@example.org'",
            "delete from auth.my_account",
            "update auth.admin_users set email = 'eve@example.org'",
            "insert into auth.admin_users (email) values ('eve@example.org')",
            "delete from auth.admin_users",
        ] {
            assert_eq!(refused(client.batch_execute(statement)).sqlstate, "42501", "{login} {role}: {statement}");
        }
    }
    // Signed in, it is no different.
    acting(&mut database.app(), &person.access_token, |transaction| {
        let statement = "select encrypted_password from auth.users where id = auth.uid()";
        assert_eq!(refused(transaction.batch_execute(statement)).sqlstate, "42501");
    });
}

/// F192, F281, F015, XJ14: the views show `***` instead of a hash, to their readers only, and my_account one's own row.
#[test]
fn views_mask_secrets_and_show_ones_own_row() {
    let database = Cluster::shared().database();
    let mut app = database.app();
    let password = canary();
    let ada = sign_up(&mut app, "ada@example.org", &password);
    let bob = sign_up(&mut app, "bob@example.org", &password);
    let mut root = database.superuser();
    root.batch_execute(
        "insert into auth.users (email, is_anonymous) values (null, true);
        update auth.users set username = 'x' where email = 'bob@example.org'",
    )
    .unwrap();
    let hash: String =
        root.query_one("select encrypted_password from auth.users where id = $1", &[&ada.user_id]).unwrap().get(0);

    for login in ["admin", "service"] {
        let mut client = database.connect(login);
        if login == "service" {
            client.batch_execute("set role service_role").unwrap();
        }
        let shown = lines(&mut client, "select row_to_json(a)::text from auth.admin_users as a order by a.email");
        assert_eq!(shown.lines().count(), 3);
        assert_eq!(shown.matches("\"encrypted_password\":\"***\"").count(), 2, "{login}");
        assert_eq!(shown.matches("\"encrypted_password\":null").count(), 1, "{login}");
        assert!(!shown.contains("argon2") && !shown.contains(&hash) && !shown.contains(&password));
    }
    for person in [&ada, &bob] {
        acting(&mut app, &person.access_token, |transaction| {
            let rows = transaction.query("select email, encrypted_password from auth.my_account", &[]).unwrap();
            assert_eq!(rows.len(), 1, "one's own account and no other");
            assert_eq!(rows[0].get::<_, String>(0), person.email);
            assert_eq!(rows[0].get::<_, String>(1), "***");
            // A function that the caller wrote, cheap enough to be tried first, sees no row of others.
            transaction
                .batch_execute(
                    "create function pg_temp.leak(text) returns bool language plpgsql cost 0.0001
                        as $$ begin raise notice '%', $1; perform set_config('leak.seen', concat(current_setting('leak.seen', true), $1), true); return true; end $$",
                )
                .unwrap();
            transaction.query("select 1 from auth.my_account where pg_temp.leak(email)", &[]).unwrap();
            let seen: String = transaction.query_one("select current_setting('leak.seen')", &[]).unwrap().get(0);
            assert_eq!(seen, person.email);
            assert_eq!(refused(transaction.query("select 1 from auth.admin_users", &[])).sqlstate, "42501");
        });
    }
    // Nobody is signed in: no row, and anon may not even ask.
    app.batch_execute("set role authenticated").unwrap();
    assert!(app.query("select 1 from auth.my_account", &[]).unwrap().is_empty());
    app.batch_execute("set role anon").unwrap();
    assert_eq!(refused(app.query("select 1 from auth.my_account", &[])).sqlstate, "42501");
    app.batch_execute("reset role").unwrap();
    assert_eq!(refused(app.query("select 1 from auth.admin_users", &[])).sqlstate, "42501");
}

/// N31, XJ6: no role that a request runs as reaches a stronger one, and administration refuses all of them.
#[test]
fn requests_reach_no_stronger_role_and_no_administration() {
    let database = Cluster::shared().database();
    let person = sign_up(&mut database.app(), "ada@example.org", "correct horse battery");
    let administration = [
        "select auth.configure('{\"enable_signup\": true}')",
        "select auth.apply_profile('supabase')",
        "select auth.add_hook('after_user_created', 'public.x')",
        "select auth.remove_hook('after_user_created')",
        "select auth.create_key('service_role')",
        "select auth.rotate_signing_key()",
        "select auth.import_signing_key('{}')",
        "select auth.gate_status()",
        "select auth.test_as('ada@example.org')",
        "select auth.allow_client('app')",
        "select auth.rfc3339(now())",
        "select * from auth.user_objects",
        "select auth.email_key('a@example.org')",
    ];
    let stronger =
        ["service_role", "auth_owner", "auth_admin", "auth_sidecar", "postgres", "service", "pg_read_all_data"];
    let check = |client: &mut Transaction<'_>, who: &str| {
        for statement in
            administration.iter().map(|call| call.to_string()).chain(stronger.map(|role| format!("set role {role}")))
        {
            let mut attempt = client.transaction().unwrap();
            assert_eq!(refused(attempt.batch_execute(&statement)).sqlstate, "42501", "{who}: {statement}");
        }
        for statement in
            ["set session authorization postgres", "set auth.allow_drop = on", "set auth.session_identity = on"]
        {
            let mut attempt = client.transaction().unwrap();
            assert_eq!(refused(attempt.batch_execute(statement)).sqlstate, "42501", "{who}: {statement}");
        }
    };
    for role in ["", "set role anon", "set role authenticated"] {
        let mut app = database.app();
        app.batch_execute(role).unwrap();
        check(&mut app.transaction().unwrap(), role);
    }
    acting(&mut database.app(), &person.access_token, |transaction| check(transaction, "signed in"));
}
