//! Faults made on purpose: how many of them, a disk that is full, a client that speaks the protocol by hand.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cluster::Cluster;
use crate::config::{ClusterBuilder, write_private};
use crate::process::{give_to_server, run};

/// How many rounds a test of faults runs: `./dev test` has a minute for them, `./dev faults` as long as it takes.
pub fn rounds(short: usize, long: usize) -> usize {
    match std::env::var("AUTH_FAULTS") {
        Ok(form) if form == "long" => long,
        _ => short,
    }
}

/// What `kill` sends to one process of a server, by the pid that pg_stat_activity shows.
pub fn signal(process: i32, signal: Signal) {
    kill(Pid::from_raw(process), signal).unwrap_or_else(|error| panic!("cannot send {signal} to {process}: {error}"));
}

/// The file whose presence fills the disk.
const FULL: &str = "full";

impl ClusterBuilder {
    /// With a disk that `Cluster::fill_disk` can fill: writes that make a file of the server longer then fail as they do on
    /// a full disk. A small file system would need root; this works for everybody.
    pub fn finite_disk(mut self) -> Self {
        self.finite_disk = true;
        self
    }
}

/// Compiles what stands between the server and its disk; the variables that put it there.
pub(crate) fn finite_disk(directory: &Path) -> Vec<(String, String)> {
    let (source, library) = (directory.join("disk.c"), directory.join("disk.so"));
    write_private(&source, include_str!("disk.c"));
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source);
    run(compiler);
    give_to_server(&library);
    let text = |path: PathBuf| path.display().to_string();
    vec![("LD_PRELOAD".into(), text(library)), ("AUTH_TEST_DISK_FULL".into(), text(directory.join(FULL)))]
}

impl Cluster {
    /// From now on no file of the server grows.
    pub fn fill_disk(&self) {
        write_private(&self.socket_dir().join(FULL), "");
    }

    /// There is room again.
    pub fn free_disk(&self) {
        let _ = fs::remove_file(self.socket_dir().join(FULL));
    }
}

/// A connection over TCP that sends and does not wait, for clients that vanish.
pub struct Wire {
    stream: TcpStream,
    pub backend: i32,
}

impl Wire {
    pub fn connect(cluster: &Cluster, db: &str, user: &str) -> Wire {
        Wire::try_connect(cluster, db, user).unwrap_or_else(|error| panic!("cannot connect by hand: {error}"))
    }

    fn try_connect(cluster: &Cluster, db: &str, user: &str) -> io::Result<Wire> {
        let mut stream = TcpStream::connect(("127.0.0.1", cluster.port()))?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut body = 196_608_u32.to_be_bytes().to_vec();
        body.extend_from_slice(format!("user\0{user}\0database\0{db}\0\0").as_bytes());
        stream.write_all(&(body.len() as u32 + 4).to_be_bytes())?;
        stream.write_all(&body)?;
        let mut backend = 0;
        loop {
            let mut head = [0; 5];
            stream.read_exact(&mut head)?;
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
            let mut body = vec![0; length.saturating_sub(4)];
            stream.read_exact(&mut body)?;
            match head[0] {
                b'K' => backend = i32::from_be_bytes([body[0], body[1], body[2], body[3]]),
                b'E' => return Err(io::Error::other(String::from_utf8_lossy(&body).into_owned())),
                b'Z' => return Ok(Wire { stream, backend }),
                _ => {}
            }
        }
    }

    /// Sends a statement; nobody reads what comes of it.
    pub fn send(&mut self, sql: &str) {
        let mut message = vec![b'Q'];
        message.extend_from_slice(&(sql.len() as u32 + 5).to_be_bytes());
        message.extend_from_slice(sql.as_bytes());
        message.push(0);
        self.stream.write_all(&message).unwrap_or_else(|error| panic!("cannot send by hand: {error}"));
    }

    /// Whether an answer has arrived, which stays unread.
    pub fn has_answer(&self) -> bool {
        matches!(self.stream.peek(&mut [0; 1]), Ok(1))
    }

    /// Closes the connection. With an answer unread the kernel says RST, without one FIN.
    pub fn vanish(self) {
        drop(self);
    }
}
