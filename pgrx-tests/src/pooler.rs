//! PgBouncer in transaction mode in front of a cluster.

use std::path::PathBuf;
use std::process::{Child, Stdio};

use nix::sys::signal::Signal;
use postgres::{Client, NoTls};

use crate::client::described;
use crate::cluster::Cluster;
use crate::concurrency::wait_until;
use crate::config::{free_port, write_private};
use crate::process::{as_server, spawn_bound};

/// A running pool; it ends with the value.
///
/// Each transaction may meet another server connection, so a named prepared statement made outside the transaction
/// that uses it is lost: use `client.transaction()`, `query_typed` or `simple_query`.
pub struct Pooler {
    cluster: Cluster,
    database: String,
    port: u16,
    child: Child,
    files: PathBuf,
}

impl Cluster {
    /// A pool whose server connections, at most `pool_size`, all log in as `user`, whatever name a client gives.
    pub fn pgbouncer(&self, db: &str, user: &str, pool_size: u32) -> Pooler {
        let port = free_port();
        let files = self.socket_dir().join(format!("pgbouncer-{port}.ini"));
        let (socket_dir, server_port) = (self.socket_dir().display(), self.port());
        write_private(
            &files,
            &format!(
                "[databases]
{db} = host={socket_dir} port={server_port} dbname={db} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 1000
ignore_startup_parameters = extra_float_digits,options
"
            ),
        );
        let mut command = as_server("/usr/sbin/pgbouncer", self.socket_dir());
        command.arg("-q").arg(&files).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = spawn_bound(command, Signal::SIGKILL).expect("pgbouncer is installed");
        let mut pooler = Pooler { cluster: self.handle(), database: db.to_owned(), port, child, files };
        wait_until("pgbouncer to accept connections", || {
            if let Ok(Some(status)) = pooler.child.try_wait() {
                panic!("pgbouncer ended at its start: {status}");
            }
            pooler.try_connect(user).is_ok()
        });
        pooler
    }
}

impl Pooler {
    #[track_caller]
    pub fn connect(&self, user: &str) -> Client {
        match self.try_connect(user) {
            Ok(client) => client,
            Err(error) => panic!("cannot connect to the pool as {user}: {}", described(&error)),
        }
    }

    fn try_connect(&self, user: &str) -> Result<Client, postgres::Error> {
        let mut config = Client::configure();
        config.host("127.0.0.1").port(self.port).dbname(&self.database).user(user).connect(NoTls)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub fn url(&self, user: &str) -> String {
        format!("postgresql://{user}@127.0.0.1:{}/{}", self.port, self.database)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.files);
    }
}
