//! The sidecar's own program, as an operator starts it: by settings in the environment, ended by signals.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::concurrency::wait_until;
use crate::config::fresh_directory;
use crate::process::{forget_environment, spawn_bound};

/// A running `auth-sidecar`; it is killed with the value.
pub struct Program {
    child: Child,
    directory: PathBuf,
}

/// The program with these settings, not yet started. `AUTH_SIDECAR` names it; otherwise it is the one that cargo built
/// beside this test.
pub fn sidecar_command(arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let path = std::env::var_os("AUTH_SIDECAR").map(PathBuf::from).unwrap_or_else(|| {
        let test = std::env::current_exe().expect("a test knows where it is");
        let built = test.ancestors().nth(2).expect("a test is two directories deep").join("auth-sidecar");
        assert!(built.exists(), "there is no {}: run `cargo build -p auth-sidecar`", built.display());
        built
    });
    let mut command = Command::new(path);
    forget_environment(&mut command);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AUTH_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).envs(settings.iter().copied()).stdin(Stdio::null());
    command
}

/// Runs a command of the sidecar to its end.
pub fn run_sidecar(arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    sidecar_command(arguments, settings).output().expect("the sidecar can be started")
}

impl Program {
    pub fn start(mut command: Command) -> Program {
        let directory = fresh_directory();
        let log = File::create(directory.join("log")).expect("the directory takes a log");
        command.stdout(log.try_clone().expect("a file handle can be copied")).stderr(log);
        let child = spawn_bound(command, Signal::SIGKILL).expect("the program can be started");
        Program { child, directory }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything that it has said.
    pub fn log(&self) -> String {
        fs::read(self.log_path()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    pub fn log_path(&self) -> PathBuf {
        self.directory.join("log")
    }

    #[track_caller]
    pub fn wait_for_log(&mut self, words: &str) {
        wait_until(words, || {
            if let Ok(Some(status)) = self.child.try_wait() {
                assert!(self.log().contains(words), "the program ended ({status}):\n{}", self.log());
            }
            self.log().contains(words)
        });
    }

    pub fn signal(&self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.child.id() as i32), signal);
    }

    /// As when the machine goes: nothing is said to anybody.
    pub fn kill9(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, and how it ended.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        let mut ended = None;
        wait_until("the program to end", || {
            ended = self.child.try_wait().expect("a child can be asked");
            ended.is_some()
        });
        ended.expect("it has ended")
    }

    /// How it ends.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("a child can be waited for")
    }

    pub fn running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill9();
        remove(&self.directory);
    }
}

pub(crate) fn remove(directory: &Path) {
    let _ = fs::remove_dir_all(directory);
}
