//! The sidecar's program without its HTTP: a courier that is killed, an inbox.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::concurrency::wait_until;
use crate::config::fresh_directory;
use crate::process::spawn_bound;
use crate::sidecar::sidecar_program;

/// A running `auth-sidecar`; it is killed with the value.
pub struct Program {
    child: Child,
    directory: PathBuf,
}

/// The program with these settings and nothing else in its environment, not yet started.
pub fn sidecar_command(arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(sidecar_program());
    command.env_clear().args(arguments).envs(settings.iter().copied()).stdin(Stdio::null());
    command
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
        wait_until(words, Duration::from_secs(20), || {
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
        wait_until("the program to end", Duration::from_secs(60), || {
            ended = self.child.try_wait().expect("a child can be asked");
            ended.is_some()
        });
        ended.expect("it has ended")
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
