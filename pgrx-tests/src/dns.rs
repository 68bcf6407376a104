//! A real DNS server on loopback (Debian's dnsmasq), which knows only what it is told.

use std::net::TcpStream;
use std::process::{Command, Stdio};

use crate::concurrency::wait_until;
use crate::config::free_port;
use crate::program::Program;

/// A running server; it ends with the value.
pub struct Dns {
    program: Program,
    port: u16,
}

impl Dns {
    /// `records` are options of dnsmasq; it refuses what they do not speak of.
    #[track_caller]
    pub fn start(records: &[&str]) -> Dns {
        let port = free_port();
        let mut command = Command::new("/usr/sbin/dnsmasq");
        command.args(["--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--bind-interfaces"]);
        command.args(["--listen-address=127.0.0.1", &format!("--port={port}")]).args(records).stdin(Stdio::null());
        let mut program = Program::start(command);
        wait_until("the DNS server to answer", || {
            assert!(program.running(), "dnsmasq ended at its start: {}", program.log());
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Dns { program, port }
    }

    /// As a setting of the sidecar names it.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.program.kill9();
    }
}
