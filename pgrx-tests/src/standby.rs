//! A hot standby of a cluster.

use postgres::types::PgLsn;

use crate::cluster::Cluster;
use crate::concurrency::wait_until;
use crate::config::{append_settings, free_port, fresh_directory, write_private};
use crate::process::{as_server, bin_directory, run};

impl Cluster {
    /// A streaming hot standby with the same root key in a file of its own.
    pub fn standby(&self) -> Cluster {
        let (directory, port) = (fresh_directory(), free_port());
        let data = directory.join("data");
        let mut backup = as_server(bin_directory().join("pg_basebackup"), &directory);
        backup.args(["-R", "-X", "stream", "-c", "fast", "--no-sync", "-U", "postgres", "-h"]).arg(self.socket_dir());
        backup.arg("-p").arg(self.port().to_string()).arg("-D").arg(&data);
        run(backup);

        let mut settings =
            vec![("port", port.to_string()), ("unix_socket_directories", directory.display().to_string())];
        if let Ok(contents) = std::fs::read_to_string(self.root_key_path()) {
            let root_key = directory.join("root.key");
            write_private(&root_key, &contents);
            settings.push(("auth.root_key_file", root_key.display().to_string()));
        }
        append_settings(&data, settings);
        Cluster::launch(directory, port, Vec::new())
    }

    /// Waits until the standby has replayed everything that is committed here by now.
    pub fn wait_replay(&self, standby: &Cluster) {
        let position = |cluster: &Cluster, function: &str| -> Option<PgLsn> {
            let row = cluster.connect("postgres", "postgres").query_one(&format!("select {function}()"), &[]);
            row.expect("a position in the write-ahead log can be asked for").get(0)
        };
        let written = position(self, "pg_current_wal_flush_lsn");
        wait_until("the standby to replay", || position(standby, "pg_last_wal_replay_lsn") >= written);
    }

    /// Makes a standby a primary.
    pub fn promote(&self) {
        let row = self.connect("postgres", "postgres").query_one("select pg_promote(true, 60)", &[]);
        assert!(row.expect("a standby can be promoted").get::<_, bool>(0), "the standby was promoted");
    }
}
