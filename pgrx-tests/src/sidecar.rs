//! The sidecar as users run it: its binary, its settings in the environment, real HTTP.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::concurrency::wait_until;
use crate::config::free_port;
use crate::database::Database;
use crate::http::Ask;
use crate::process::spawn_bound;

/// A running sidecar; it ends with the value.
pub struct Sidecar {
    child: Child,
    port: u16,
    log: PathBuf,
}

/// The binary beside the test's own, or `AUTH_SIDECAR`.
pub fn sidecar_program() -> PathBuf {
    if let Some(program) = std::env::var_os("AUTH_SIDECAR") {
        return program.into();
    }
    let own = std::env::current_exe().expect("a test knows its binary");
    let program = own.ancestors().nth(2).expect("a test's binary is in deps/").join("auth-sidecar");
    assert!(program.is_file(), "{} is missing: cargo build -p auth-sidecar", program.display());
    program
}

/// Runs the binary to its end, with nothing in its environment but this.
pub fn run_sidecar(arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    let mut command = Command::new(sidecar_program());
    command.env_clear().envs(settings.iter().copied()).args(arguments);
    command.output().expect("the sidecar can be started")
}

impl Sidecar {
    /// In front of a database, as its login of that name; `settings` are variables of the environment.
    #[track_caller]
    pub fn start(database: &Database, settings: &[(&str, &str)]) -> Sidecar {
        Sidecar::start_at(&database.url("sidecar"), database.cluster().socket_dir(), settings)
    }

    /// In front of whatever answers under a URL, a pool for example.
    #[track_caller]
    pub fn start_at(url: &str, directory: &Path, settings: &[(&str, &str)]) -> Sidecar {
        let port = free_port();
        let log = directory.join(format!("sidecar-{port}.log"));
        let listen = format!("127.0.0.1:{port}");
        let mut command = Command::new(sidecar_program());
        command.env_clear().arg("serve");
        command.envs([("AUTH_DATABASE__URL", url), ("AUTH_HTTP__LISTEN", &listen)]).envs(settings.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log).expect("a log can be written"));
        let child = spawn_bound(command, Signal::SIGKILL).expect("the sidecar can be started");
        let mut sidecar = Sidecar { child, port, log };
        wait_until("the sidecar to answer", Duration::from_secs(30), || {
            if let Ok(Some(status)) = sidecar.child.try_wait() {
                panic!("the sidecar ended at its start: {status}: {}", sidecar.log());
            }
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        sidecar
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Everything that it has written so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn get(&self, path: &str) -> Ask {
        Ask::new("GET", format!("{}{path}", self.url()))
    }

    pub fn post(&self, path: &str) -> Ask {
        Ask::new("POST", format!("{}{path}", self.url()))
    }

    pub fn put(&self, path: &str) -> Ask {
        Ask::new("PUT", format!("{}{path}", self.url()))
    }

    pub fn delete(&self, path: &str) -> Ask {
        Ask::new("DELETE", format!("{}{path}", self.url()))
    }

    pub fn ask(&self, method: &str, path: &str) -> Ask {
        Ask::new(method, format!("{}{path}", self.url()))
    }

    /// Tells it to stop, as an operator does.
    pub fn terminate(&self) {
        let process = Pid::from_raw(self.child.id().try_into().expect("a process id is small"));
        signal::kill(process, Signal::SIGTERM).expect("a child can be signalled");
    }

    /// Waits for its end and says how it ended.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().expect("a child can be waited for").code()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.log);
    }
}
