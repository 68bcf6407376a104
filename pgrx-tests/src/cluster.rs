//! One throw-away cluster: start, stop, kill, read its log.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postgres::{Client, NoTls};

use crate::client::described;
use crate::concurrency::wait_until;
use crate::config::ClusterBuilder;
use crate::database::Database;
use crate::process::{as_server, bin_directory, children_of, forget_environment, running, spawn_bound};

/// A cluster on a unix socket and a loopback port. The last handle to go stops it and removes its files.
pub struct Cluster(Arc<Inner>);

struct Inner {
    directory: PathBuf,
    data: PathBuf,
    root_key: PathBuf,
    port: u16,
    environment: Vec<(String, String)>,
    postmaster: Mutex<Option<Child>>,
    /// Held while a database is made: two that copy one template may not overlap.
    creating: Mutex<()>,
    databases: AtomicU32,
}

impl Cluster {
    /// The cluster of this test process, for every test that needs no more than a database of its own.
    pub fn shared() -> &'static Cluster {
        // None if it did not start: every test that asks then fails at once, instead of trying again.
        static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
        extern "C" fn stop() {
            if let Some(Some(cluster)) = SHARED.get() {
                cluster.0.end();
            }
        }
        let shared = SHARED.get_or_init(|| {
            let cluster = std::panic::catch_unwind(Cluster::start).ok()?;
            // Statics are never dropped.
            // SAFETY: `stop` is an ordinary function that lives as long as the program.
            let registered = unsafe { nix::libc::atexit(stop) };
            assert_eq!(registered, 0, "atexit takes the handler");
            Some(cluster)
        });
        shared.as_ref().expect("the shared cluster did not start: the first test that asked for it shows why")
    }

    /// A cluster of one's own, with the extension.
    pub fn start() -> Cluster {
        Cluster::builder().start()
    }

    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::new()
    }

    /// Starts a server on data that is in place.
    pub(crate) fn launch(directory: PathBuf, port: u16, environment: Vec<(String, String)>) -> Cluster {
        let cluster = Cluster(Arc::new(Inner {
            data: directory.join("data"),
            root_key: directory.join("root.key"),
            directory,
            port,
            environment,
            postmaster: Mutex::new(None),
            creating: Mutex::new(()),
            databases: AtomicU32::new(0),
        }));
        cluster.start_again();
        cluster
    }

    pub(crate) fn handle(&self) -> Cluster {
        Cluster(Arc::clone(&self.0))
    }

    /// The template of `database()`, and the logins of the whole cluster. Nobody can connect to a template, not even
    /// a background worker, so that nothing is ever in the way of copying it.
    pub(crate) fn make_template(&self) {
        self.maintain("create database auth_template is_template true");
        self.connect("auth_template", "postgres")
            .batch_execute(
                "create extension auth;
                create role app login noinherit in role anon, authenticated;
                create role service login noinherit in role service_role;
                create role admin login in role auth_admin;
                create role sidecar login in role auth_sidecar;
                select auth.allow_client('app');",
            )
            .unwrap_or_else(|error| panic!("cannot make the template database: {}", described(&error)));
        self.maintain("alter database auth_template allow_connections false");
    }

    /// A fresh database with the extension.
    pub fn database(&self) -> Database {
        self.create("auth_template")
    }

    /// A fresh database without the extension.
    pub fn empty_database(&self) -> Database {
        self.create("template1")
    }

    fn create(&self, template: &str) -> Database {
        let name = format!("t{}", self.0.databases.fetch_add(1, Ordering::Relaxed) + 1);
        let _alone = self.0.creating.lock().unwrap_or_else(PoisonError::into_inner);
        self.maintain(&format!("create database {name} template {template}"));
        Database::new(self.handle(), name)
    }

    pub fn port(&self) -> u16 {
        self.0.port
    }

    pub fn socket_dir(&self) -> &Path {
        &self.0.directory
    }

    pub fn data_dir(&self) -> &Path {
        &self.0.data
    }

    pub fn root_key_path(&self) -> &Path {
        &self.0.root_key
    }

    /// Over the unix socket.
    #[track_caller]
    pub fn connect(&self, db: &str, user: &str) -> Client {
        match self.try_connect(db, user, "") {
            Ok(client) => client,
            Err(error) => panic!("cannot connect to {db} as {user}: {}", described(&error)),
        }
    }

    /// With what a client may put into the startup packet, such as `-c auth.token=…`.
    pub fn try_connect(&self, db: &str, user: &str, options: &str) -> Result<Client, postgres::Error> {
        let mut config = Client::configure();
        config.host_path(self.socket_dir()).port(self.port()).dbname(db).user(user);
        if !options.is_empty() {
            config.options(options);
        }
        config.connect(NoTls)
    }

    /// One statement as the superuser in the database `postgres`.
    #[track_caller]
    pub fn maintain(&self, sql: &str) {
        if let Err(error) = self.connect("postgres", "postgres").batch_execute(sql) {
            panic!("{sql}: {}", described(&error));
        }
    }

    /// A client program of the same PostgreSQL (psql, pg_dump, pg_restore, pgbench …) that finds this cluster.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(bin_directory().join(program));
        forget_environment(&mut command);
        command.env("PGHOST", self.socket_dir()).env("PGPORT", self.port().to_string()).env("PGUSER", "postgres");
        command
    }

    /// A program that works on the files of a stopped cluster, as the server's user (pg_upgrade, pg_resetwal …).
    pub fn server_command(&self, program: &str) -> Command {
        as_server(bin_directory().join(program), self.socket_dir())
    }

    /// The postmaster's process, if it runs.
    pub fn postmaster(&self) -> Option<u32> {
        self.0.postmaster().as_ref().map(Child::id)
    }

    /// Processes of the server with this in their title; the launcher has no row in pg_stat_activity.
    pub fn processes(&self, title: &str) -> Vec<i32> {
        let titled = |process: &u32| {
            std::fs::read(format!("/proc/{process}/cmdline"))
                .is_ok_and(|words| String::from_utf8_lossy(&words).contains(title))
        };
        self.postmaster().map(children_of).unwrap_or_default().into_iter().filter(titled).map(|id| id as i32).collect()
    }

    /// Starts a server that was stopped or killed.
    pub fn start_again(&self) {
        let mut slot = self.0.postmaster();
        assert!(slot.is_none(), "the server runs already");
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.0.log_path())
            .expect("the cluster's directory takes a log file");
        let mut command = as_server(bin_directory().join("postgres"), self.socket_dir());
        command.arg("-D").arg(self.data_dir()).stdin(std::process::Stdio::null());
        command.stdout(log.try_clone().expect("a file handle can be copied")).stderr(log);
        command.envs(self.0.environment.iter().map(|(name, value)| (name, value)));
        // SIGQUIT is the immediate shutdown: the postmaster takes its children with it.
        let mut child = spawn_bound(command, Signal::SIGQUIT).expect("the server's program can be started");
        wait_until("the server to accept connections", || {
            if let Ok(Some(status)) = child.try_wait() {
                panic!("the server ended at its start ({status}):\n{}", self.log());
            }
            self.try_connect("postgres", "postgres", "").is_ok()
        });
        *slot = Some(child);
    }

    /// A fast shutdown: open transactions are rolled back, everything is written.
    pub fn stop_fast(&self) {
        self.0.stop(Signal::SIGINT);
    }

    pub fn restart(&self) {
        self.stop_fast();
        self.start_again();
    }

    /// The whole server dies at once, as when the machine loses power; `start_again` then recovers.
    pub fn kill9(&self) {
        let Some(mut child) = self.0.postmaster().take() else { panic!("the server does not run") };
        // A stopped postmaster makes no more children while they are counted.
        let _ = kill(Pid::from_raw(child.id() as i32), Signal::SIGSTOP);
        let children = children_of(child.id());
        let _ = child.kill();
        let _ = child.wait();
        for process in &children {
            let _ = kill(Pid::from_raw(*process as i32), Signal::SIGKILL);
        }
        wait_until("the killed server to be gone", || !children.iter().any(|process| running(*process)));
    }

    /// Everything the server has logged.
    pub fn log(&self) -> String {
        self.log_since(0)
    }

    /// What it has logged since `log_len()` gave this mark.
    pub fn log_since(&self, mark: usize) -> String {
        let log = fs::read(self.0.log_path()).unwrap_or_default();
        String::from_utf8_lossy(log.get(mark..).unwrap_or_default()).into_owned()
    }

    pub fn log_len(&self) -> usize {
        fs::metadata(self.0.log_path()).map_or(0, |metadata| metadata.len() as usize)
    }
}

impl Inner {
    fn log_path(&self) -> PathBuf {
        self.directory.join("log")
    }

    fn postmaster(&self) -> MutexGuard<'_, Option<Child>> {
        self.postmaster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self, how: Signal) {
        if let Some(mut child) = self.postmaster().take() {
            let _ = kill(Pid::from_raw(child.id() as i32), how);
            let _ = child.wait();
        }
    }

    fn end(&self) {
        self.stop(Signal::SIGQUIT);
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.end();
    }
}
