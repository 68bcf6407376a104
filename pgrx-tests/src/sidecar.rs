//! The sidecar as users run it: its binary, its settings in the environment, real HTTP.

use nix::sys::signal::Signal;

use crate::concurrency::wait_until;
use crate::config::free_port;
use crate::database::Database;
use crate::http::Ask;
use crate::program::{Program, sidecar_command};

/// A running sidecar; it ends with the value.
pub struct Sidecar {
    program: Program,
    port: u16,
}

impl Sidecar {
    /// In front of a database, as its login of that name; `settings` are variables of the environment.
    #[track_caller]
    pub fn start(database: &Database, settings: &[(&str, &str)]) -> Sidecar {
        Sidecar::start_at(&database.url("sidecar"), settings)
    }

    /// In front of whatever answers under a URL, a pool for example.
    #[track_caller]
    pub fn start_at(url: &str, settings: &[(&str, &str)]) -> Sidecar {
        let port = free_port();
        let listen = format!("127.0.0.1:{port}");
        let external = format!("http://{listen}/auth/v1");
        let own = [("AUTH_DATABASE__URL", url), ("AUTH_HTTP__LISTEN", &listen), ("AUTH_EXTERNAL_URL", &external)];
        let mut command = sidecar_command(&["serve"], &own);
        command.envs(settings.iter().copied());
        let mut program = Program::start(command);
        wait_until("the sidecar to answer", || {
            assert!(program.running(), "the sidecar ended at its start: {}", program.log());
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Sidecar { program, port }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Everything that it has written so far.
    pub fn log(&self) -> String {
        self.program.log()
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
        self.program.signal(Signal::SIGTERM);
    }

    /// Waits for its end and says how it ended.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.program.wait().code()
    }
}
