//! What the extension consists of: signatures, columns, indexes, views, comments. Released names never change.

use auth_harness::{Client, Cluster, Database, refused, sign_up, wait_until};

use crate::golden::{MEMBERS, assert_golden, lines};

fn installed() -> Database {
    let database = Cluster::shared().empty_database();
    database.superuser().batch_execute("create extension auth").unwrap();
    database
}

/// Everything that an upgrade must arrive at, too, in an order that no build changes.
fn surface(client: &mut Client) -> String {
    // Every name is then written with its schema.
    client.batch_execute("set search_path = pg_catalog, pg_temp").unwrap();
    let of_relations = "from member as m join pg_class as c on m.classid = 'pg_class'::regclass and c.oid = m.objid";
    [
        "select format('function %s.%I(%s) returns %s, language %s', p.pronamespace::regnamespace, p.proname,
                pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), l.lanname)
            from member as m join pg_proc as p on m.classid = 'pg_proc'::regclass and p.oid = m.objid
                join pg_language as l on l.oid = p.prolang"
            .to_owned(),
        // By name, not by place: an upgrade adds columns at the end.
        format!(
            "select format('column %s.%I %s%s%s', c.oid::regclass, a.attname, format_type(a.atttypid, a.atttypmod),
                case when a.attnotnull then ' not null' end,
                case a.attgenerated when '' then ' default ' else ' generated ' end || pg_get_expr(d.adbin, d.adrelid))
            {of_relations} join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
                left join pg_attrdef as d on d.adrelid = c.oid and d.adnum = a.attnum"
        ),
        format!(
            "select format('%s %s, %s', case c.relkind when 'r' then 'table' when 'v' then 'view' else c.relkind::text end,
                c.oid::regclass, coalesce(array_to_string(c.reloptions, ' '), 'no options'))
            {of_relations}"
        ),
        format!("select 'index ' || pg_get_indexdef(i.indexrelid) {of_relations} join pg_index as i on i.indrelid = c.oid"),
        // not null is told by its column; 18 lists it here as well
        format!(
            "select format('constraint %s.%I %s%s', c.oid::regclass, k.conname, pg_get_constraintdef(k.oid),
                case when k.convalidated then '' else ' not valid' end)
            {of_relations} join pg_constraint as k on k.conrelid = c.oid and k.contype <> 'n'"
        ),
        format!(
            "select 'trigger ' || pg_get_triggerdef(t.oid) || ' ' || t.tgenabled::text
            {of_relations} join pg_trigger as t on t.tgrelid = c.oid and not t.tgisinternal"
        ),
        format!(
            "select format('view %s as %s', c.oid::regclass, regexp_replace(pg_get_viewdef(c.oid), '\\s+', ' ', 'g'))
            {of_relations} where c.relkind = 'v'"
        ),
        "select format('event trigger %s on %s%s execute %s %s', t.evtname, t.evtevent,
                ' when tag in ' || t.evttags::text, t.evtfoid::regprocedure, t.evtenabled)
            from member as m join pg_event_trigger as t on m.classid = 'pg_event_trigger'::regclass and t.oid = m.objid"
            .to_owned(),
        "select 'other ' || i.type || ' ' || i.identity
            from member as m, pg_identify_object(m.classid, m.objid, 0) as i
            where m.classid not in ('pg_proc'::regclass, 'pg_class'::regclass, 'pg_event_trigger'::regclass)
                -- the types of rows, and of arrays of rows, come with their tables
                and not (m.classid = 'pg_type'::regclass and exists (
                    select from pg_type as t left join pg_type as e on e.oid = t.typelem
                    where t.oid = m.objid and (t.typrelid <> 0 or e.typrelid <> 0)))"
            .to_owned(),
    ]
    .map(|query| lines(client, &format!("with {MEMBERS}, line (text) as ({query}) select text from line order by text collate \"C\"")))
    .concat()
}

/// F273: functions, tables, indexes, views and triggers are written down; a change is seen in review.
#[test]
fn the_surface_is_in_the_golden_file() {
    let database = installed();
    assert_golden("surface.txt", &surface(&mut database.superuser()));
}

/// Style 16: `\df+ auth.*` is a manual, so every object and every column of a table says what it is.
#[test]
fn everything_has_a_comment() {
    let database = installed();
    let silent = lines(
        &mut database.superuser(),
        &format!(
            "with {MEMBERS}, thing (name, comment) as (
                select i.type || ' ' || i.identity, obj_description(m.objid, m.classid::regclass::name)
                from member as m, pg_identify_object(m.classid, m.objid, 0) as i
                where not (m.classid = 'pg_class'::regclass and exists (
                        select from pg_class as c where c.oid = m.objid and c.relkind in ('i', 'I', 'S', 't')))
                    and m.classid <> 'pg_type'::regclass
                union all
                select format('column %s.%I', c.oid::regclass, a.attname), col_description(c.oid, a.attnum)
                from member as m
                    join pg_class as c on m.classid = 'pg_class'::regclass and c.oid = m.objid and c.relkind in ('r', 'p')
                    join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
                union all
                select 'role ' || r.rolname, shobj_description(r.oid, 'pg_authid')
                from pg_roles as r
                where r.rolname in ('anon', 'authenticated', 'service_role', 'auth_owner', 'auth_admin', 'auth_sidecar')
                union all
                select 'extension', obj_description(e.oid, 'pg_extension') from pg_extension as e where e.extname = 'auth')
            select name from thing where length(trim(coalesce(comment, ''))) < 5 order by 1"
        ),
    );
    assert_eq!(silent, "", "these have no comment");
}

/// Style 16: what clients call says who may call it, and with what code it refuses.
#[test]
fn comments_of_functions_say_who_and_which_refusals() {
    let database = installed();
    let vague = lines(
        &mut database.superuser(),
        &format!(
            "with {MEMBERS} select p.oid::regprocedure::text
            from member as m join pg_proc as p on m.classid = 'pg_proc'::regclass and p.oid = m.objid
            where p.prosecdef and obj_description(p.oid, 'pg_proc') !~ 'Internal|(For (anon|authenticated|service_role|auth_admin|auth_sidecar|everyone|superusers))'
            order by 1"
        ),
    );
    assert_eq!(vague, "", "these do not say for whom they are");
}

/// N04: rows of a table that is not marked are lost by pg_dump; so are positions of sequences.
#[test]
fn every_table_and_sequence_is_marked_for_dump() {
    let database = installed();
    let mut client = database.superuser();
    let unmarked = lines(
        &mut client,
        &format!(
            "with {MEMBERS} select c.oid::regclass::text from member as m
            join pg_class as c on m.classid = 'pg_class'::regclass and c.oid = m.objid and c.relkind in ('r', 'p', 'S')
            where not exists (select from pg_extension as e where e.extname = 'auth' and c.oid = any (e.extconfig))"
        ),
    );
    assert_eq!(unmarked, "");
    let filtered = lines(
        &mut client,
        "select t.condition from pg_extension as e, unnest(e.extcondition) as t (condition)
        where e.extname = 'auth' and t.condition <> ''",
    );
    assert_eq!(filtered, "", "a filter would leave rows behind");
}

/// N04: tables of ours are filled in any order by a parallel restore, so none refers to another by a constraint; what
/// hangs on a user goes with the user all the same, whoever signs in at that moment.
#[test]
fn no_foreign_keys_between_ours_and_no_row_without_its_user() {
    let database = Cluster::shared().database();
    let mut root = database.superuser();
    let keys = lines(
        &mut root,
        "select conrelid::regclass::text from pg_constraint
        where contype = 'f' and connamespace = 'auth'::regnamespace order by 1",
    );
    assert_eq!(keys, "");

    let (mut app, mut waiting) = (database.app(), database.app());
    let password = "correct horse battery";
    let ada = sign_up(&mut app, "ada@example.org", password);
    let bob = sign_up(&mut app, "bob@example.org", password);
    let with_user = lines(
        &mut root,
        "select c.oid::regclass::text from pg_class as c join pg_attribute as a on a.attrelid = c.oid
        where c.relnamespace = 'auth'::regnamespace and c.relkind = 'r' and a.attname = 'user_id' order by 1",
    );
    let rows_of = |client: &mut Client, user: uuid::Uuid| -> i64 {
        let count = |table: &str| -> i64 {
            client.query_one(&format!("select count(*) from {table} where user_id = $1"), &[&user]).unwrap().get(0)
        };
        with_user.lines().map(count).sum()
    };
    root.execute(
        "insert into auth.one_time_tokens (user_id, purpose, relates_to, expires_at) values ($1, 'recovery', 'x', now())",
        &[&ada.user_id],
    )
    .unwrap();
    assert!(rows_of(&mut root, ada.user_id) >= 4, "address, identity, state of the password, session, token");
    let mut deleting = root.transaction().unwrap();
    deleting.execute("delete from auth.users where id = $1", &[&ada.user_id]).unwrap();
    // A sign-in that begins while the row is still to be seen.
    let answer = std::thread::scope(|scope| {
        let signing_in =
            scope.spawn(|| waiting.query_one("select auth.sign_in('ada@example.org', $1)", &[&password]).map(drop));
        wait_until("the sign-in to wait for the deletion, or to be over", || {
            let waits =
                "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
            signing_in.is_finished() || database.superuser().query_one(waits, &[]).unwrap().get::<_, i64>(0) > 0
        });
        deleting.commit().unwrap();
        signing_in.join().unwrap()
    });
    let refusal = refused(answer);
    assert!(["28P01", "28000", "02000", "40001"].contains(&refusal.sqlstate.as_str()), "{refusal:?}");
    assert_eq!(rows_of(&mut root, ada.user_id), 0, "something of a deleted user is left");
    assert!(rows_of(&mut root, bob.user_id) >= 3, "nobody else's");
    for call in ["select auth.refresh($1)", "select auth.verify_token($1)"] {
        let token = if call.contains("refresh") { &ada.refresh_token } else { &ada.access_token };
        assert_eq!(refused(app.query_one(call, &[token])).sqlstate, "28000", "{call}");
    }
}

/// F273, N39: the library and the script are of one version; an update to it does nothing, and there is no way back.
#[test]
fn versions_agree_and_there_is_no_downgrade() {
    let database = Cluster::shared().database();
    let mut client = database.superuser();
    let row = client
        .query_one(
            "select auth.version(), e.extversion, a.default_version
            from pg_extension as e join pg_available_extensions as a on a.name = e.extname where e.extname = 'auth'",
            &[],
        )
        .unwrap();
    let versions: [String; 3] = [row.get(0), row.get(1), row.get(2)];
    assert_eq!(versions[1], versions[2]);
    assert!(format!("{}.", versions[0]).starts_with(&format!("{}.", versions[1])), "{versions:?}");
    assert_eq!(database.app().query_one("select auth.version()", &[]).unwrap().get::<_, String>(0), versions[0]);
    client.batch_execute("alter extension auth update").unwrap();
    for version in ["0.1", "0.0.1", "99"] {
        let refusal = refused(client.batch_execute(&format!("alter extension auth update to '{version}'")));
        assert_eq!(refusal.sqlstate, "22023", "{}", refusal.message);
    }
    // Without the extension's files, or as anybody but a superuser, nothing of it can be made again.
    assert_eq!(refused(database.app().batch_execute("alter extension auth update to '99'")).sqlstate, "42501");
}
