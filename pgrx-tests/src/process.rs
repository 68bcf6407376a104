//! Running the server's programs: as a user that PostgreSQL accepts, and never outliving the test process.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::sync::mpsc::{Sender, channel};
use std::sync::{LazyLock, Mutex, PoisonError};

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, User, geteuid, getppid};

/// The programs of the private prefix that `./dev build` makes.
pub fn bin_directory() -> PathBuf {
    let prefix = std::env::var_os("AUTH_PG_PREFIX").map(PathBuf::from).unwrap_or_else(|| {
        panic!("AUTH_PG_PREFIX is not set: run the tests with `./dev test`, which builds the server they need")
    });
    let server = prefix.join("lib/postgresql");
    let version = std::fs::read_dir(&server)
        .ok()
        .and_then(|mut entries| entries.next()?.ok())
        .unwrap_or_else(|| panic!("no PostgreSQL under {}: run `./dev build`", server.display()));
    version.path().join("bin")
}

/// The user that owns the server's files, where that is not whoever runs the tests: PostgreSQL refuses root.
pub(crate) fn server_user() -> Option<User> {
    geteuid().is_root().then(|| {
        User::from_name("postgres")
            .ok()
            .flatten()
            .expect("the operating system user `postgres` exists (package postgresql-15)")
    })
}

/// A command that runs as the server's user, free of whatever PG… variables the caller has.
pub(crate) fn as_server(program: impl AsRef<Path>, directory: &Path) -> Command {
    let mut command = Command::new(program.as_ref());
    forget_environment(&mut command);
    command.current_dir(directory);
    if let Some(user) = server_user() {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw()).env("HOME", directory);
    }
    command
}

pub(crate) fn forget_environment(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    command.env_remove("RUST_BACKTRACE");
}

/// Makes a file or a directory the server's.
pub(crate) fn give_to_server(path: &Path) {
    if let Some(user) = server_user() {
        std::os::unix::fs::chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
            .unwrap_or_else(|error| panic!("cannot give {} to the server's user: {error}", path.display()));
    }
}

/// Runs to the end and panics, with what the program said, unless it succeeded.
pub(crate) fn run(mut command: Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} failed with {}:\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    output
}

type Job = Box<dyn FnOnce() + Send>;

/// The thread that starts every server. The kernel signals a child when the *thread* that forked it ends, and a
/// test's thread ends with the test, so servers are the children of a thread that lives as long as the process.
static NURSERY: LazyLock<Mutex<Sender<Job>>> = LazyLock::new(|| {
    let (sender, jobs) = channel::<Job>();
    std::thread::Builder::new()
        .name("nursery".into())
        .spawn(move || jobs.into_iter().for_each(|job| job()))
        .expect("a thread can be started");
    Mutex::new(sender)
});

/// Starts a server that gets `last_words` as soon as this process is gone, even by SIGKILL.
pub(crate) fn spawn_bound(mut command: Command, last_words: Signal) -> io::Result<Child> {
    let parent = Pid::this();
    // SAFETY: between fork and exec only two system calls are made, and nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            prctl::set_pdeathsig(last_words)?;
            // The parent may have died before the line above.
            if getppid() != parent { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
        });
    }
    let (sender, answer) = channel();
    let job: Job = Box::new(move || {
        // Nobody waits for the answer only if the test is gone; then the child goes with the process.
        let _ = sender.send(command.spawn());
    });
    NURSERY
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .send(job)
        .expect("the nursery thread lives as long as the process");
    answer.recv().expect("the nursery thread answers every job")
}

/// Whether a process exists and has not ended (one that nobody reaped has ended).
pub fn running(process: u32) -> bool {
    state_and_parent(process).is_some_and(|(state, _)| state != 'Z' && state != 'X')
}

/// The processes whose parent is this one.
pub(crate) fn children_of(parent: u32) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|process| state_and_parent(*process).is_some_and(|(_, of)| of == parent))
        .collect()
}

fn state_and_parent(process: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field is the program's name in parentheses and may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}
