//! A server that logs all it can, and who looks for canaries in what it wrote.

use std::collections::BTreeSet;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use auth_harness::{Client, Cluster, Database, canary, json, refused, sign_up, wait_until};

const PASSWORD: &str = "correct horse battery";
/// A cluster that writes all three kinds of log, and a database with an app.
pub struct Logs {
    pub cluster: Cluster,
    pub database: Database,
    /// A login that the settings are not for.
    pub other: Client,
    pub people: usize,
}

impl Logs {
    pub fn start() -> Logs {
        let cluster = Cluster::builder()
            .setting("shared_preload_libraries", "auto_explain,auth")
            .setting("logging_collector", "on")
            .setting("log_destination", "stderr,csvlog,jsonlog")
            .setting("log_directory", "log")
            .setting("log_filename", "server.log")
            .setting("deadlock_timeout", "10min")
            .start();
        let database = cluster.database().without_limits();
        let cheap = "{\"argon2_memory_kib\": 8, \"argon2_iterations\": 1}";
        json(&mut database.admin(), "select auth.configure($1::text::jsonb)", &[&cheap]);
        sign_up(&mut database.app(), "known@example.org", PASSWORD);
        database
            .superuser()
            .batch_execute(
                "create role other login noinherit in role anon, authenticated; select auth.allow_client('other');
                grant usage on schema auth to app; grant execute on function auth.import_signing_key to app;
                create function log_in(email text, password text) returns jsonb language plpgsql as
                    $$ begin return auth.sign_in(email, password); end $$;
                create function complain(email text, password text) returns jsonb language plpgsql as
                    $$ begin perform auth.sign_in(email, password); raise exception 'no: %', password; end $$;
                create table refresh_log (note text); grant all on refresh_log to app;
                create materialized view v as select 1 as one; alter materialized view v owner to app;
                grant create on schema public to app;",
            )
            .unwrap();
        let other = database.connect("other");
        Logs { cluster, database, other, people: 0 }
    }

    pub fn set(&self, settings: &[&str]) -> Client {
        let mut root = self.database.superuser();
        root.batch_execute("alter role app reset all").unwrap();
        for setting in settings {
            root.batch_execute(&format!("alter role app set {setting}")).unwrap();
        }
        self.database.app()
    }

    /// Somebody whose password is the secret.
    pub fn person(&mut self, secret: &str) -> String {
        self.people += 1;
        let email = format!("p{}@example.org", self.people);
        sign_up(&mut self.other, &email, secret);
        email
    }

    pub fn marks(&self) -> Vec<u64> {
        self.paths().iter().map(|path| std::fs::metadata(path).unwrap().len()).collect()
    }

    pub fn paths(&self) -> [PathBuf; 3] {
        ["server.log", "server.csv", "server.json"].map(|name| self.cluster.data_dir().join("log").join(name))
    }

    pub fn read(&self, marks: &[u64]) -> Vec<String> {
        let read_from = |(path, mark): (&PathBuf, &u64)| {
            let (mut file, mut text) = (std::fs::File::open(path).unwrap(), Vec::new());
            file.seek(SeekFrom::Start(*mark)).unwrap();
            file.read_to_end(&mut text).unwrap();
            String::from_utf8_lossy(&text).into_owned()
        };
        self.paths().iter().zip(marks).map(read_from).collect()
    }

    /// What all three have got since the marks, up to a statement that is in all of them.
    pub fn since(&self, marks: &[u64]) -> Vec<String> {
        let (end, before) = (canary(), self.marks());
        refused(self.database.superuser().batch_execute(&format!("select '{end}', 1 / 0")));
        wait_until("the log collector to write", || self.read(&before).iter().all(|file| file.contains(&end)));
        self.read(marks)
    }
}

/// The canaries in a text, also where a tree prints them byte by byte.
pub fn canaries(text: &str) -> BTreeSet<String> {
    let plain = text.match_indices("canary").filter_map(|(at, _)| text.get(at..at + 38).map(str::to_owned));
    let bytes = "canary".bytes().map(|byte| format!("{byte} ")).collect::<String>();
    let trees = text.match_indices(&bytes).map(|(at, _)| {
        text[at..].split(' ').map_while(|word| word.parse::<u8>().ok()).take(38).map(char::from).collect::<String>()
    });
    plain.chain(trees).collect()
}

/// One message after another; the SQLSTATE of the first that is refused.
pub fn send(client: &mut Client, messages: &[String]) -> String {
    let mut sqlstate = String::new();
    for message in messages {
        if let Err(error) = client.batch_execute(message) {
            sqlstate = refused::<()>(Err(error)).sqlstate;
            break;
        }
    }
    let _ = client.batch_execute("rollback");
    let _ = client.batch_execute("drop table if exists t; deallocate all; reset all");
    sqlstate
}

/// Over the extended protocol: as parameters, as literals, by a statement with a name, and through a portal.
pub fn send_extended(client: &mut Client, email: &str, secret: &str, wrong: &str) {
    const CALL: &str = "select auth.sign_in($1, $2)";
    client.query(CALL, &[&email, &secret]).unwrap();
    refused(client.query(CALL, &[&email, &wrong]));
    let prepared = client.prepare(CALL).unwrap();
    for _ in 0..7 {
        // From the sixth on PostgreSQL may keep one plan.
        client.query(&prepared, &[&email, &secret]).unwrap();
    }
    refused(client.query(&prepared, &[&email, &wrong]));
    refused(client.query("select auth.sign_in($1, $2::text::uuid::text)", &[&email, &wrong]));
    refused(client.query("select auth.sign_in($1, $2), 1 / (select 0)", &[&email, &secret]));
    client.query(&format!("select auth.sign_in('{email}', '{secret}')"), &[]).unwrap();
    refused(client.query(&format!("select auth.sign_in('{email}', '{wrong}')"), &[]));
    let mut transaction = client.transaction().unwrap();
    let portal = transaction.bind(&prepared, &[&email, &secret]).unwrap();
    transaction.query_portal(&portal, 1).unwrap();
    transaction.query_portal(&portal, 1).unwrap();
    transaction.commit().unwrap();
    refused(client.query("select auth.import_signing_key($1::text::jsonb)", &[&format!("{{\"kty\": {wrong}}}")]));
}
