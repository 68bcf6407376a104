//! A server whose gate is the test's own, and statements that are stopped in the middle of a hash.

use std::thread::JoinHandle;

use auth_harness::{Client, Cluster, Database, json, refused, sign_in, sign_up, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::sign_up::cheap_hashes;

const PASSWORD: &str = "correct horse battery";
/// A server with a gate of its own, a database whose hashes take long, and one whose hashes are cheap. The gate is one.
pub struct Server {
    pub slow: Database,
    pub quick: Database,
    pub cluster: Cluster,
}

impl Server {
    pub fn start(settings: &[(&str, &str)]) -> Server {
        let cluster = settings.iter().fold(Cluster::builder(), |builder, (name, value)| builder.setting(name, value));
        let cluster = cluster.setting("client_connection_check_interval", "100ms").start();
        let (slow, quick) = (cluster.database().without_limits(), cluster.database().without_limits());
        cheap_hashes(&quick);
        sign_up(&mut quick.app(), "ada@example.org", PASSWORD);
        // The first to use a database notes in it which keyring it is for, and those beside it wait for that.
        sign_up(&mut slow.app(), "ada@example.org", PASSWORD);
        let long = json!({"argon2_memory_kib": 131_072, "argon2_iterations": 16});
        slow.admin().execute("select auth.configure($1)", &[&long]).unwrap();
        Server { slow, quick, cluster }
    }

    pub fn status(&self) -> Value {
        json(&mut self.quick.admin(), "select auth.gate_status()", &[])
    }

    pub fn count(&self, what: &str) -> u64 {
        self.status()[what].as_u64().unwrap()
    }

    pub fn wait_for(&self, what: &str, count: u64) {
        wait_until(&format!("{what} to be {count}"), || self.count(what) == count);
    }

    /// Takes a place and keeps it until `go_on`.
    pub fn hold(&self) -> Call {
        let before = self.count("running");
        for _ in 0..20 {
            let call = Call::start(self.slow.app(), "select auth.sign_in('nobody@example.org', 'no password')");
            self.wait_for("running", before + 1);
            call.stop();
            // Unless it was done before it was stopped.
            if self.count("running") == before + 1 {
                return call;
            }
            call.go_on();
            refused(call.end().1);
        }
        panic!("a long hash is over before a signal arrives")
    }

    /// Somebody in the line, and last in it.
    pub fn wait_in_line(&self, sql: &'static str) -> Call {
        let before = self.count("waiting");
        let call = Call::start(self.quick.app(), sql);
        self.wait_for("waiting", before + 1);
        call
    }

    /// Nothing is left over, and the next one gets in.
    #[track_caller]
    pub fn assert_free(&self, title: &str) {
        wait_until(&format!("the gate to be free: {title}"), || {
            let status = self.status();
            (&status["running"], &status["waiting"]) == (&json!(0), &json!(0))
        });
        sign_in(&mut self.quick.app(), "ada@example.org", PASSWORD);
    }
}

pub const SIGN_IN: &str = "select auth.sign_in('ada@example.org', 'correct horse battery')";

/// A statement that is under way in a backend of its own.
pub struct Call {
    pub backend: i32,
    pub thread: Option<JoinHandle<(Client, Result<u64, auth_harness::postgres::Error>)>>,
}

impl Call {
    pub fn start(mut client: Client, sql: &'static str) -> Call {
        let backend = backend_of(&mut client);
        let thread = std::thread::spawn(move || {
            let result = client.execute(sql, &[]);
            (client, result)
        });
        Call { backend, thread: Some(thread) }
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.backend), signal).unwrap();
    }

    pub fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        wait_until("the process to be stopped", || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.backend)).unwrap();
            stat.rsplit_once(") ").unwrap().1.starts_with('T')
        });
    }

    pub fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }

    pub fn end(mut self) -> (Client, Result<u64, auth_harness::postgres::Error>) {
        self.thread.take().unwrap().join().unwrap()
    }

    pub fn let_go(self) {
        self.go_on();
        let refusal = refused(self.end().1);
        assert_eq!(refusal.code, "invalid_credentials");
    }
}

impl Drop for Call {
    /// A stopped process would hold up the end of its server.
    fn drop(&mut self) {
        if self.thread.is_some() {
            let _ = kill(Pid::from_raw(self.backend), Signal::SIGCONT);
        }
    }
}

pub fn backend_of(client: &mut Client) -> i32 {
    client.query_one("select pg_backend_pid()", &[]).unwrap().get(0)
}
