//! What a cluster is made of before it starts: settings, root key, directories.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{LazyLock, Once};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::sys::statvfs::{FsFlags, statvfs};
use uuid::Uuid;

use crate::cluster::Cluster;
use crate::faults::finite_disk;
use crate::process::{as_server, bin_directory, give_to_server, run, running};

/// How a cluster differs from the usual one.
pub struct ClusterBuilder {
    preload: bool,
    extension: bool,
    durable: bool,
    pub(crate) finite_disk: bool,
    root_key: Option<String>,
    settings: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    initdb_args: Vec<String>,
}

impl ClusterBuilder {
    pub(crate) fn new() -> Self {
        let mut secret = [0; 32];
        fs::File::open("/dev/urandom")
            .and_then(|mut source| source.read_exact(&mut secret))
            .expect("/dev/urandom can be read");
        ClusterBuilder {
            preload: true,
            extension: true,
            durable: false,
            finite_disk: false,
            root_key: Some(format!("1 {}\n", STANDARD.encode(secret))),
            settings: Vec::new(),
            environment: Vec::new(),
            initdb_args: Vec::new(),
        }
    }

    /// Whether the library is in `shared_preload_libraries`.
    pub fn preload(mut self, preload: bool) -> Self {
        self.preload = preload;
        self
    }

    /// No template database with the extension and none of the logins.
    pub fn no_extension(mut self) -> Self {
        self.extension = false;
        self
    }

    /// With fsync, for what must survive a kill by more than luck.
    pub fn durable(mut self) -> Self {
        self.durable = true;
        self
    }

    /// What the root key file holds.
    pub fn root_key(mut self, contents: &str) -> Self {
        self.root_key = Some(contents.to_owned());
        self
    }

    /// The setting names a root key file that is not there.
    pub fn no_root_key(mut self) -> Self {
        self.root_key = None;
        self
    }

    /// A line of postgresql.conf; the last one of a name wins.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A variable in the server's environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn initdb_arg(mut self, arg: &str) -> Self {
        self.initdb_args.push(arg.to_owned());
        self
    }

    /// Makes the cluster and starts it.
    pub fn start(self) -> Cluster {
        let directory = fresh_directory();
        let (port, data, root_key) = (free_port(), directory.join("data"), directory.join("root.key"));

        let mut initdb = as_server(bin_directory().join("initdb"), &directory);
        initdb.args(["--no-sync", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale", "C.UTF-8"]);
        initdb.args(&self.initdb_args).arg("-D").arg(&data);
        run(initdb);

        if let Some(contents) = &self.root_key {
            write_private(&root_key, contents);
        }
        let path = |path: &Path| path.display().to_string();
        let mut settings = vec![
            ("listen_addresses", "127.0.0.1".to_owned()),
            ("port", port.to_string()),
            ("unix_socket_directories", path(&directory)),
            ("max_connections", "300".to_owned()),
            ("max_worker_processes", "16".to_owned()),
            ("wal_level", "replica".to_owned()),
        ];
        if self.preload {
            settings.push(("shared_preload_libraries", "auth".to_owned()));
            settings.push(("auth.root_key_file", path(&root_key)));
            // On a busy machine a storm of sign-ins takes longer than a person would wait.
            settings.push(("auth.hash_queue_timeout", "60s".to_owned()));
        }
        if !self.durable {
            settings.push(("fsync", "off".to_owned()));
            settings.push(("full_page_writes", "off".to_owned()));
        }
        let own = self.settings.iter().map(|(name, value)| (name.as_str(), value.clone()));
        append_settings(&data, settings.into_iter().chain(own));

        let mut environment = self.environment;
        if self.finite_disk {
            environment.extend(finite_disk(&directory));
        }
        let cluster = Cluster::launch(directory, port, environment);
        if self.extension {
            cluster.make_template();
        }
        cluster
    }
}

/// Adds lines to the cluster's postgresql.conf.
pub(crate) fn append_settings<'a>(data: &Path, settings: impl IntoIterator<Item = (&'a str, String)>) {
    let path = data.join("postgresql.conf");
    let lines: String =
        settings.into_iter().map(|(name, value)| format!("{name} = '{}'\n", value.replace('\'', "''"))).collect();
    OpenOptions::new()
        .append(true)
        .open(&path)
        .and_then(|mut file| file.write_all(lines.as_bytes()))
        .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}

/// Writes a file that only the server's user can read.
pub(crate) fn write_private(path: &Path, contents: &str) {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(contents.as_bytes()))
        .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    give_to_server(path);
}

/// A directory that only the server's user can enter, named after this process so that a later one can sweep it.
pub(crate) fn fresh_directory() -> PathBuf {
    static SWEEP: Once = Once::new();
    SWEEP.call_once(sweep);
    // A short name: the path of a unix socket has at most 107 bytes.
    let unique = &Uuid::new_v4().simple().to_string()[..12];
    let directory = base().join(format!("{PREFIX}{}-{unique}", std::process::id()));
    DirBuilder::new()
        .mode(0o700)
        .create(&directory)
        .unwrap_or_else(|error| panic!("cannot make {}: {error}", directory.display()));
    give_to_server(&directory);
    directory
}

const PREFIX: &str = "auth-test-";
const BASES: [&str; 2] = ["/dev/shm", "/tmp"];

/// In memory where there is room: a database is some hundred files, and most tests make one.
fn base() -> &'static Path {
    const ROOM: u64 = 3 << 30;
    static BASE: LazyLock<&Path> = LazyLock::new(|| {
        let has_room = statvfs(BASES[0]).is_ok_and(|memory| {
            memory.blocks_available() * memory.fragment_size() >= ROOM && !memory.flags().contains(FsFlags::ST_NOEXEC)
        });
        Path::new(BASES[usize::from(!has_room)])
    });
    &BASE
}

/// Removes what test processes left that were killed. Their servers have gone by themselves.
fn sweep() {
    for entry in BASES.iter().filter_map(|base| fs::read_dir(base).ok()).flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|owner| !running(owner)) {
            // Another user's leftovers stay, and so does what a sweep running beside this one has just removed.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// A port below those that the system hands out to outgoing connections, so that it is still free after a restart.
pub fn free_port() -> u16 {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test processes that run at the same time begin at different places.
    let begin = (std::process::id() % 600) as u16 * 20;
    (0..COUNT)
        .map(|_| FIRST + (begin + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("one of 12,000 ports is free")
}
