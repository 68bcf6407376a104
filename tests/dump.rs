//! One backup holds the app and its users: dump, restore into another cluster, and go on as if nothing had happened.

use std::path::{Path, PathBuf};
use std::process::Command;

use auth_harness::{
    Client, Cluster, Database, Person, acting, canary, json, refused, sign_in, sign_up, storm, wait_until,
};

use crate::golden::{MEMBERS, assert_same, lines};

/// Any 32 bytes: two clusters with the same file are two with the same keyring.
const KEYRING: &str = "1 b25lIHJvb3Qga2V5IG9mIHRoZSBkdW1wIHRlc3RzISE=\n";
const OTHER_BYTES: &str = "1 b25lIG90aGVyIGtleSBvZiB0aGUgZHVtcCB0ZXN0cy4=\n";
const OTHER_ID: &str = "2 b25lIHJvb3Qga2V5IG9mIHRoZSBkdW1wIHRlc3RzISE=\n";
const PASSWORD: &str = "correct horse battery";

/// What somebody holds who used the database before it was dumped.
struct Before {
    ada: Person,
    bob: Person,
    anon_key: String,
    fingerprint: String,
}

#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

/// A database in use: people, keys, settings, a hook, and an app that leans on all of it.
fn database_in_use(cluster: &Cluster) -> (Database, Before) {
    let database = cluster.database();
    let mut root = database.superuser();
    root.batch_execute(&format!(
        "do $$ begin create role app_owner login in role auth_admin; exception when duplicate_object then end $$;
        alter database {} owner to app_owner;",
        database.name()
    ))
    .unwrap();
    database
        .connect("app_owner")
        .batch_execute(
            "create table public.profiles (user_id uuid primary key references auth.users (id) on delete cascade);
            create table public.notes (
                id int generated always as identity,
                owner_id uuid not null default auth.uid() references auth.users (id) on delete cascade,
                body text not null
            );
            alter table public.notes enable row level security;
            create policy own on public.notes to authenticated using (owner_id = auth.uid()) with check (owner_id = auth.uid());
            grant select, insert on public.notes to authenticated;
            create function public.on_sign_up(event jsonb) returns jsonb language plpgsql as $$
            begin
                insert into public.profiles values ((event -> 'user' ->> 'id')::uuid);
                return null;
            end $$;
            create view public.people as select p.user_id, auth.version() from public.profiles as p;",
        )
        .unwrap();
    let mut admin = database.admin();
    admin.batch_execute("select auth.add_hook('after_user_created', 'public.on_sign_up')").unwrap();
    json(&mut admin, "select auth.configure('{\"password_min_length\": 11, \"max_active_sessions\": null}')", &[]);
    let mut app = database.app();
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    json(&mut admin, "select auth.rotate_signing_key('EdDSA')", &[]);
    let anon_key = json(&mut admin, "select auth.create_key('anon')", &[])["key"].as_str().unwrap().to_owned();
    let bob = sign_up(&mut app, "bób@bücher.example", PASSWORD);
    for person in [&ada, &bob] {
        acting(&mut app, &person.access_token, |transaction| {
            transaction.execute("insert into public.notes (body) values ('mine')", &[]).unwrap();
        });
    }
    // Tables that no flow writes yet; a row in each, so that none is lost unnoticed.
    root.batch_execute(
        "insert into auth.revocations (scope, subject, not_before, reason)
            values ('session', gen_random_uuid(), now(), 'test');
        insert into auth.one_time_tokens (user_id, purpose, relates_to, link_hash, expires_at)
            select id, 'recovery', email, '\\x0102', now() from auth.users limit 1;
        insert into auth.audit_anchors (first_sequence, last_sequence, last_seal, seal) values (1, 1, '', '');
        insert into auth.blocked_networks (network) values ('192.0.2.0/24');
        insert into auth.audit_log (id, slot, event_type, success)
            select gen_random_uuid(), slot, 'test', true from generate_series(0, 23) as slot;
        insert into auth.pending_sign_ups (email, expires_at) values ('carol@example.org', now());
        insert into auth.sms_codes (phone, code_hash, expires_at) values ('4915112345678', '\\x00', now());
        insert into auth.outbox (id, channel, kind, recipient, message_id, cluster_id)
            values (gen_random_uuid(), 'email', 'otp', 'ada@example.org', '<1@example.org>', 'another');
        insert into auth.templates (name, subject, text_body) values ('otp', 'Your code', '{{ code }}');
        insert into auth.webhooks (url, events, secret_sealed) values ('https://example.org/', '{nothing}', '\\x00');
        insert into auth.mfa_factors (id, user_id, factor_type) select gen_random_uuid(), id, 'totp' from auth.users limit 1;
        insert into auth.mfa_challenges (id, user_id, purpose, expires_at)
            select gen_random_uuid(), id, 'sign_in', now() from auth.users limit 1;
        insert into auth.recovery_codes (id, user_id, code_hash) select gen_random_uuid(), id, '\\x00' from auth.users limit 1;
        insert into auth.flow_state (id, expires_at) values (gen_random_uuid(), now());
        insert into auth.email_rules (domain, action) values ('example.com', 'block');
        insert into auth.passkeys (user_id, credential_id, public_key) select id, '\\x01', '\\x02' from auth.users limit 1;
        insert into auth.webauthn_challenges (id, kind, challenge, expires_at) values (gen_random_uuid(), 'sign_in', '\\x01', now());",
    )
    .unwrap();
    // The worker has sealed what there is once this one's row is sealed, and then changes nothing more.
    refused(app.execute("select auth.sign_in('ada@example.org', 'a guess')", &[]));
    wait_until("the audit to be sealed", || {
        lines(&mut root, "select 1::text from auth.audit_log where sequence is null limit 1").is_empty()
    });
    let fingerprint = fingerprint(&mut root);
    for line in fingerprint.lines() {
        assert!(!line.contains(": 0 rows"), "a table that nothing fills proves nothing: {line}");
    }
    (database, Before { ada, bob, anon_key, fingerprint })
}

/// How many rows each table has, and what they hold.
fn fingerprint(client: &mut Client) -> String {
    let tables = lines(
        client,
        &format!(
            "with {MEMBERS} select c.oid::regclass::text from member as m
            join pg_class as c on m.classid = 'pg_class'::regclass and c.oid = m.objid and c.relkind in ('r', 'p')
            union all values ('public.notes'), ('public.profiles') order by 1"
        ),
    );
    tables
        .lines()
        .map(|table| {
            lines(
                client,
                &format!(
                    "select format('{table}: %s rows, %s', count(*), md5(string_agg(row_to_json(t)::text, ',' order by row_to_json(t)::text)))
                    from {table} as t"
                ),
            )
        })
        .collect()
}

/// Everything that worked before works now; the restored one is changed by it, so each restore is asked once.
fn works_as_before(database: &Database, before: &Before, how: &str) {
    let mut root = database.superuser();
    assert_same(how, &before.fingerprint, &fingerprint(&mut root));
    let mut app = database.app();
    for person in [&before.ada, &before.bob] {
        // The access token, policies and defaults.
        acting(&mut app, &person.access_token, |transaction| {
            let rows = transaction.query("select owner_id from public.notes", &[]).unwrap();
            assert_eq!(rows.len(), 1, "{how}: the policy shows one's own");
            assert_eq!(rows[0].get::<_, uuid::Uuid>(0), person.user_id);
            transaction.execute("insert into public.notes (body) values ('after the restore')", &[]).unwrap();
        });
        let answer = json(&mut app, "select auth.refresh($1)", &[&person.refresh_token]);
        assert_eq!(answer["status"], "session", "{how}");
        let again = refused(app.query_one("select auth.refresh($1)", &[&person.refresh_token]));
        assert_eq!(again.code, "refresh_token_already_used", "{how}");
        assert_eq!(sign_in(&mut app, &person.email, PASSWORD).user_id, person.user_id, "{how}");
        let wrong = refused(app.query_one("select auth.sign_in($1, 'wrong')", &[&person.email]));
        assert_eq!(wrong.code, "invalid_credentials", "{how}");
    }
    assert_eq!(json(&mut app, "select auth.verify_token($1)", &[&before.anon_key])["role"], "anon", "{how}");
    let short = refused(app.query_one("select auth.sign_up('eve@example.org', 'tenletters')", &[]));
    assert_eq!(short.code, "weak_password", "{how}: the setting is in force");
    let eve = sign_up(&mut app, "eve@example.org", PASSWORD);
    let made = "select 1 from public.profiles where user_id = $1";
    assert_eq!(root.query(made, &[&eve.user_id]).unwrap().len(), 1, "{how}: the hook ran");
    let stranger = "insert into public.notes (owner_id, body) values (gen_random_uuid(), 'x')";
    assert_eq!(refused(root.execute(stranger, &[])).sqlstate, "23503", "{how}: the app's foreign key");
    root.execute("delete from auth.users where id = $1", &[&eve.user_id]).unwrap();
    assert!(root.query(made, &[&eve.user_id]).unwrap().is_empty(), "{how}: on delete cascade");
    let guarded = refused(root.batch_execute("alter table auth.users add column mine text"));
    assert_eq!(guarded.sqlstate, "42501", "{how}: the guard is back");
}

fn dump(database: &Database, file: &str, args: &[&str]) -> PathBuf {
    let path = database.cluster().socket_dir().join(file);
    run(database.cluster().command("pg_dump").args(args).arg("-f").arg(&path).arg(database.name()));
    path
}

fn psql(database: &Database, file: &Path) {
    let args = ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", database.name(), "-f"];
    run(database.cluster().command("psql").args(args).arg(file));
}

fn restore(database: &Database, dump: &Path, args: &[&str]) {
    let target = ["--exit-on-error", "-d", database.name()];
    run(database.cluster().command("pg_restore").args(target).args(args).arg(dump));
}

/// A cluster with the roles of the other one and none of its databases, as after `pg_dumpall --globals-only`.
fn new_cluster(old: &Cluster, keyring: &str) -> Cluster {
    let cluster = Cluster::builder().no_extension().root_key(keyring).start();
    let globals = old.socket_dir().join("globals.sql");
    run(old.command("pg_dumpall").args(["--globals-only", "-f"]).arg(&globals));
    // That of `postgres` itself is there already, so psql goes on after an error.
    let said = run(cluster.command("psql").args(["-X", "-q", "-d", "postgres", "-f"]).arg(&globals));
    let errors: Vec<&str> = said.lines().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(errors.len(), 1, "{said}");
    cluster
}

/// N03, N04, F279: every usual way to dump and restore keeps every row, every account, every session and the app's own
/// keys and policies, in a cluster that never saw this database.
#[test]
fn every_way_to_restore_keeps_everything() {
    let old = Cluster::builder().root_key(KEYRING).start();
    let (source, before) = database_in_use(&old);
    let new = new_cluster(&old, KEYRING);
    let plain = dump(&source, "plain.sql", &[]);
    let custom = dump(&source, "custom", &["-Fc"]);
    let cleaning = dump(&source, "cleaning.sql", &["--clean", "--if-exists"]);
    let schema = dump(&source, "schema.sql", &["--schema-only"]);
    let inserts = dump(&source, "inserts.sql", &["--inserts"]);

    type Way<'a> = (&'a str, &'a dyn Fn(&Database));
    let ways: [Way; 7] = [
        ("pg_dump | psql", &|target| psql(target, &plain)),
        ("pg_dump --inserts | psql", &|target| psql(target, &inserts)),
        ("pg_restore", &|target| restore(target, &custom, &[])),
        ("pg_restore -1", &|target| restore(target, &custom, &["-1"])),
        ("pg_restore --clean --if-exists", &|target| restore(target, &custom, &["--clean", "--if-exists"])),
        ("pg_dump --clean --if-exists | psql", &|target| psql(target, &cleaning)),
        ("schema, then --data-only --disable-triggers", &|target| {
            psql(target, &schema);
            restore(target, &custom, &["--data-only", "--disable-triggers"]);
        }),
    ];
    for (how, way) in ways {
        let target = new.empty_database();
        way(&target);
        works_as_before(&target, &before, how);
    }

    // Over a database that is in use already: whoever means it says so, and nothing is lost otherwise.
    let (target, _) = database_in_use(with_logins(&new));
    let untouched = fingerprint(&mut target.superuser());
    let mut command = new.command("pg_restore");
    command.args(["--clean", "--if-exists", "--exit-on-error", "-1", "-d", target.name()]).arg(&custom);
    let output = command.output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("auth.allow_drop"));
    assert_same("a restore that was refused", &untouched, &fingerprint(&mut target.superuser()));
    run(command.env("PGOPTIONS", "-c auth.allow_drop=on"));
    works_as_before(&target, &before, "pg_restore --clean over a database in use");
    // The source never noticed.
    assert_same("the source", &before.fingerprint, &fingerprint(&mut source.superuser()));
}

/// N04: a parallel restore fills tables in no order: a foreign key between two of ours, which CREATE EXTENSION brings before
/// the data, would refuse the sessions of users that are still to come. An app's own foreign key to auth.users would meet the
/// same, because the archive does not say that it needs the data of an extension's table: so the sections come one by one.
#[test]
fn a_parallel_restore_keeps_everything() {
    let old = Cluster::builder().root_key(KEYRING).start();
    let (source, before) = database_in_use(&old);
    let new = new_cluster(&old, KEYRING);
    let directory = dump(&source, "directory", &["-Fd", "-j", "4"]);
    // The order is a matter of sizes and of luck.
    for _ in 0..3 {
        let target = new.empty_database();
        for section in ["--section=pre-data", "--section=data", "--section=post-data"] {
            restore(&target, &directory, &[section, "-j", "4"]);
        }
        works_as_before(&target, &before, "pg_restore -j4, section by section");
    }
    let target = new.empty_database();
    restore(&target, &directory, &["--schema-only", "-j", "4"]);
    restore(&target, &directory, &["--data-only", "--disable-triggers", "-j", "4"]);
    works_as_before(&target, &before, "pg_restore --data-only --disable-triggers -j4");
}

/// The logins came with the globals; the template did not.
fn with_logins(cluster: &Cluster) -> &Cluster {
    cluster.maintain("create database auth_template is_template true");
    cluster
        .connect("auth_template", "postgres")
        .batch_execute("create extension auth; select auth.allow_client('app')")
        .unwrap();
    cluster
}

/// N04, N30: with another keyring a restored database says so, in one clear error; nothing is changed by having tried.
#[test]
fn a_restore_without_its_keyring_is_one_clear_error() {
    let old = Cluster::builder().root_key(KEYRING).start();
    let (source, before) = database_in_use(&old);
    let plain = dump(&source, "plain.sql", &[]);
    for keyring in [OTHER_BYTES, OTHER_ID] {
        let new = new_cluster(&old, keyring);
        let target = new.empty_database();
        psql(&target, &plain);
        let mut app = target.app();
        let mut wrong = Vec::new();
        for (call, args) in [
            ("select auth.sign_in($1, $2)", vec![before.ada.email.as_str(), PASSWORD]),
            ("select auth.sign_up($1, $2)", vec!["eve@example.org", PASSWORD]),
            ("select auth.refresh($1)", vec![before.ada.refresh_token.as_str()]),
        ] {
            let args: Vec<&(dyn auth_harness::ToSql + Sync)> = args.iter().map(|arg| arg as _).collect();
            let refusal = refused(app.query_one(call, &args));
            if (refusal.sqlstate.as_str(), refusal.code.as_str()) != ("55000", "root_key_mismatch") {
                wrong.push(format!("{call} with keyring {}: {refusal:?}", &keyring[..1]));
            }
            let said = format!("{} {:?}", refusal.message, refusal.hint);
            for secret in [KEYRING, OTHER_BYTES].map(|keyring| &keyring[2..46]) {
                assert!(!said.contains(secret), "{said}");
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert_same("a database that was refused", &before.fingerprint, &fingerprint(&mut target.superuser()));
        // With the right file it is as if nothing had been tried, without a restart and in the same connection.
        std::fs::write(new.root_key_path(), KEYRING).unwrap();
        assert_eq!(sign_in(&mut app, &before.ada.email, PASSWORD).user_id, before.ada.user_id);
        assert_eq!(json(&mut app, "select auth.refresh($1)", &[&before.ada.refresh_token])["status"], "session");
    }
}

/// N04: the role of a backup needs pg_read_all_data and nothing else; a policy on our tables would end that.
#[test]
fn a_backup_role_can_dump() {
    let old = Cluster::builder().root_key(KEYRING).start();
    let (source, before) = database_in_use(&old);
    old.maintain("create role backup login in role pg_read_all_data");
    let path = old.socket_dir().join("backup.sql");
    // A policy of the app's own is the app's to decide.
    let args = ["-U", "backup", "--exclude-table-data=public.notes", "-f"];
    run(old.command("pg_dump").args(args).arg(&path).arg(source.name()));
    let new = new_cluster(&old, KEYRING);
    let target = new.empty_database();
    psql(&target, &path);
    let ours = |text: &str| text.lines().filter(|line| line.starts_with("auth.")).collect::<Vec<_>>().join("\n");
    assert_same("the tables of auth", &ours(&before.fingerprint), &ours(&fingerprint(&mut target.superuser())));
    assert_eq!(sign_in(&mut target.app(), &before.ada.email, PASSWORD).user_id, before.ada.user_id);
}

/// N03: one snapshot of accounts and of the app's rows that were made with them, while people sign up.
#[test]
fn a_dump_while_people_sign_up_holds_whole_sign_ups() {
    let old = Cluster::builder().root_key(KEYRING).start();
    let (source, _) = database_in_use(&old);
    let dumps = storm(3, |index| {
        if index == 0 {
            return (0..4).map(|number| dump(&source, &format!("{number}.sql"), &[])).collect();
        }
        let mut app = source.app();
        for number in 0..12 {
            sign_up(&mut app, &format!("user{number}of{index}@example.org"), PASSWORD);
        }
        Vec::new()
    });
    let new = new_cluster(&old, KEYRING);
    for path in dumps.iter().flatten() {
        let target = new.empty_database();
        psql(&target, path);
        let halves =
            "select (select count(*) from auth.users), count(*), count(p.user_id), count(u.id), count(s.user_id)
            from auth.users as u full join public.profiles as p on p.user_id = u.id
                full join auth.sessions as s on s.user_id = u.id";
        let row = target.superuser().query_one(halves, &[]).unwrap();
        let counts: Vec<i64> = (0..5).map(|column| row.get(column)).collect();
        assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
    }
}

/// N30, N31: a full dump of the cluster opens nothing: no root key, no private key, no password, no token.
#[test]
fn a_full_dump_holds_no_secret() {
    let old = Cluster::builder().root_key(KEYRING).start();
    let (source, before) = database_in_use(&old);
    let (password, new_password) = (canary(), canary());
    let mut app = source.app();
    let person = sign_up(&mut app, "carol@example.org", &password);
    let _ = refused(app.query_one("select auth.sign_in('carol@example.org', $1)", &[&new_password]));
    // An RFC 7515 key (appendix A.3), whose private part is known here, and a symmetric one.
    let d = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI";
    let k = "c3ltbWV0cmljIHNlY3JldCBvZiB0aGUgZHVtcCB0ZXN0LCAzMiBieXRlcw";
    let mut admin = source.admin();
    for jwk in [
        serde_json::json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "d": d,
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}),
        serde_json::json!({"kty": "oct", "alg": "HS256", "kid": "legacy", "k": k}),
    ] {
        json(&mut admin, "select auth.import_signing_key($1)", &[&jwk]);
    }
    let signed = sign_in(&mut app, "carol@example.org", &password);
    let path = old.socket_dir().join("all.sql");
    run(old.command("pg_dumpall").arg("-f").arg(&path));
    let text = std::fs::read_to_string(path).unwrap();
    for public in ["carol@example.org", "$argon2id$", "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "legacy"] {
        assert!(text.contains(public), "{public} is in the dump");
    }
    let signature = |token: &str| token.rsplit('.').next().unwrap().to_owned();
    for (what, secret) in [
        ("a password", password),
        ("a password that was refused", new_password),
        ("a password", PASSWORD.to_owned()),
        ("an access token", signature(&signed.access_token)),
        ("an access token", signature(&before.ada.access_token)),
        ("a project key", signature(&before.anon_key)),
        ("a refresh token", person.refresh_token),
        ("a refresh token", before.bob.refresh_token),
        ("the root key", KEYRING[2..46].to_owned()),
        ("the private key", d.to_owned()),
        ("the symmetric key", k.to_owned()),
    ] {
        for form in forms(&secret) {
            assert!(!text.contains(&form), "{what} is in the dump");
        }
    }
}

/// A secret as it stands, and the bytes that it encodes as hex (how bytea is dumped), base64 and text.
fn forms(secret: &str) -> Vec<String> {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
    let mut forms = vec![secret.to_owned()];
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    forms.push(hex(secret.as_bytes()));
    for bytes in [STANDARD.decode(secret), URL_SAFE_NO_PAD.decode(secret)].into_iter().flatten() {
        if bytes.len() >= 16 {
            forms.extend([hex(&bytes), STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)]);
            forms.extend(String::from_utf8(bytes));
        }
    }
    forms
}
