//! The keyring file: found, checked for who else could read it, and checked against this database.

use std::cell::RefCell;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::SystemTime;

use auth_core::keyring::{Keyring, RootKey};
use auth_core::seal::{self, Place, SealError};
use pgrx::pg_sys;
use zeroize::Zeroizing;

use crate::platform::backend;
use crate::platform::error::{Error, Result};
use crate::platform::query::{Query, Type};
use crate::platform::settings;

/// The keyring, as read from the file.
#[derive(Clone)]
pub struct Root(Rc<Keyring>);

#[derive(PartialEq, Clone)]
struct FileState {
    path: PathBuf,
    modified: SystemTime,
    inode: u64,
    length: u64,
}

struct Kept {
    state: FileState,
    root: Root,
    /// Whether the database's own check value was compared and committed.
    checked: bool,
}

thread_local! {
    static KEPT: RefCell<Option<Kept>> = const { RefCell::new(None) };
}

/// The keyring that this database is used with. Writes the check value at the very first use.
pub fn root() -> Result<Root> {
    let root = load()?;
    if KEPT.with_borrow(|kept| kept.as_ref().is_some_and(|kept| kept.checked)) {
        return Ok(root);
    }
    if check(&root)? {
        KEPT.with_borrow_mut(|kept| {
            if let Some(kept) = kept {
                kept.checked = true;
            }
        });
    }
    Ok(root)
}

impl Root {
    /// The keyring without the database's check, for readers: they write nothing, and a wrong key opens nothing.
    pub fn unchecked() -> Result<Root> {
        load()
    }

    pub fn keyring(&self) -> &Keyring {
        &self.0
    }

    pub fn current(&self) -> &RootKey {
        self.0.current()
    }

    pub fn find(&self, id: u32) -> Option<&RootKey> {
        self.0.find(id)
    }

    /// Seals a value for one place: opened from another row or column, it is refused.
    pub fn seal(&self, place: &Place<'_>, plaintext: &[u8]) -> Result<Vec<u8>> {
        Ok(seal::seal(self.0.current(), place, plaintext, backend::random()?))
    }

    pub fn open(&self, place: &Place<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        seal::open(&self.0, place, sealed).map_err(|error| match error {
            SealError::UnknownKey(id) => missing_key(id),
            SealError::Forged | SealError::Malformed => Error::RootKeyMismatch {
                what: format!("a sealed value of auth.{} does not open with this keyring", place.table),
            },
        })
    }
}

/// What is wrong with the file now, whatever was kept of it: its owner and mode may have changed since.
pub fn fault() -> Option<Error> {
    let file = settings::ROOT_KEY_FILE.get().map(|path| PathBuf::from(path.to_string_lossy().into_owned()));
    let metadata = file.as_ref().and_then(|path| Some((path, std::fs::metadata(path).ok()?)));
    load().err().or_else(|| metadata.and_then(|(path, metadata)| check_place(path, &metadata).err()))
}

/// A key that this database was used with and that the keyring lacks now, or one that nobody knows.
pub fn unknown(id: u32) -> Result<Option<Error>> {
    static KNOWN: Query = Query::write("select from auth.key_check where key_id = $1", &[Type::INT8OID]);
    let is_known = KNOWN.first(&[i64::from(id).into()], |_| Ok(()))?.is_some();
    Ok(is_known.then(|| missing_key(id)))
}

fn missing_key(id: u32) -> Error {
    Error::RootKeyMismatch { what: format!("root key {id} is not in the keyring") }
}

fn load() -> Result<Root> {
    let path = settings::ROOT_KEY_FILE
        .get()
        .map(|path| PathBuf::from(path.to_string_lossy().into_owned()))
        .filter(|path| !path.as_os_str().is_empty())
        .ok_or_else(|| missing("auth.root_key_file is not set", Path::new("/etc/postgresql/auth.key")))?;
    let metadata = std::fs::metadata(&path)
        .map_err(|error| missing(&format!("the keyring file cannot be read: {}", error.kind()), &path))?;
    let state = FileState {
        modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        inode: metadata.ino(),
        length: metadata.len(),
        path,
    };
    if let Some(root) =
        KEPT.with_borrow(|kept| kept.as_ref().filter(|kept| kept.state == state).map(|kept| kept.root.clone()))
    {
        return Ok(root);
    }
    check_place(&state.path, &metadata)?;
    let text = std::fs::read_to_string(&state.path)
        .map(Zeroizing::new)
        .map_err(|error| missing(&format!("the keyring file cannot be read: {}", error.kind()), &state.path))?;
    let keyring = Keyring::parse(&text)
        .map_err(|error| missing(&format!("the keyring file is not well formed: {error}"), &state.path))?;
    let root = Root(Rc::new(keyring));
    KEPT.set(Some(Kept { state, root: root.clone(), checked: false }));
    Ok(root)
}

/// A keyring that others can read, or that every base backup holds, protects nothing.
fn check_place(path: &Path, metadata: &std::fs::Metadata) -> Result<()> {
    // SAFETY: geteuid cannot fail.
    let server_user = unsafe { libc::geteuid() };
    if metadata.mode() & 0o077 != 0 || metadata.uid() != server_user || !metadata.is_file() {
        return Err(Error::RootKeyMissing {
            what: "the keyring file can be read by others".into(),
            hint: format!("chown it to the server's user and: chmod 600 {}", path.display()),
        });
    }
    // SAFETY: DataDir is set before any backend starts and never changes.
    let data_directory = unsafe { std::ffi::CStr::from_ptr(pg_sys::DataDir) }.to_string_lossy().into_owned();
    let inside = match (path.canonicalize(), Path::new(&data_directory).canonicalize()) {
        (Ok(path), Ok(data_directory)) => path.starts_with(data_directory),
        _ => true,
    };
    if inside {
        return Err(Error::RootKeyMissing {
            what: "the keyring file is inside the data directory".into(),
            hint: "every base backup would hold it; move it and set auth.root_key_file".into(),
        });
    }
    Ok(())
}

fn missing(what: &str, path: &Path) -> Error {
    Error::RootKeyMissing {
        what: what.into(),
        hint: format!(
            "as the server's user: (umask 077; printf '1 %s\\n' \"$(head -c 32 /dev/urandom | base64)\" > {path}) \
             and in postgresql.conf: auth.root_key_file = '{path}'",
            path = path.display()
        ),
    }
}

/// Compares with what this database knows of the key; true once that is committed knowledge.
fn check(root: &Root) -> Result<bool> {
    static KNOWN: Query = Query::write("select check_value from auth.key_check where key_id = $1", &[Type::INT8OID]);
    static REMEMBER: Query = Query::write(
        "insert into auth.key_check (key_id, check_value) values ($1, $2) on conflict (key_id) do nothing",
        &[Type::INT8OID, Type::BYTEAOID],
    );
    let key = root.current();
    let id = i64::from(key.id());
    let expected = key.check_value();
    let known = || KNOWN.first(&[id.into()], |row| row.required::<Vec<u8>>(1));
    let mut found = known()?;
    if found.is_none() && is_ours(root)? && super::First::CheckValue.is_made_by_the_worker() {
        found = known()?;
    }
    let (found, is_new) = match found {
        Some(found) => (Some(found), false),
        None => {
            REMEMBER.execute(&[id.into(), expected.to_vec().into()])?;
            (known()?, true)
        }
    };
    match found {
        Some(found) if found == expected => Ok(!is_new),
        // In a snapshot that is older than another session's insert the row stays unseen: not ours to judge yet.
        None => Ok(false),
        Some(_) => {
            Err(Error::RootKeyMismatch { what: format!("root key {id} is not the one this database was used with") })
        }
    }
}

/// Whether the database is new, or the keyring holds a key that it was used with: a key of another keyring is not noted for
/// good.
fn is_ours(root: &Root) -> Result<bool> {
    static KEYS: Query = Query::write("select key_id, check_value from auth.key_check", &[]);
    let (mut is_new, mut is_known) = (true, false);
    KEYS.each(&[], |row| {
        is_new = false;
        let id = u32::try_from(row.required::<i64>(1)?).ok();
        let key = id.and_then(|id| root.find(id));
        let check_value: Vec<u8> = row.required(2)?;
        is_known |= key.is_some_and(|key| key.check_value().as_slice() == check_value);
        Ok(())
    })?;
    Ok(is_new || is_known)
}
