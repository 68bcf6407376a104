//! Reads of our own tables without SPI, under `SnapshotSelf`: what is committed now, whatever snapshot the caller holds.
//!
//! A revoked session must be seen dead inside an open REPEATABLE READ, in a parallel worker and on a standby, by a caller
//! who has no privilege on the table. SPI would use the query's snapshot, and takes ten times as long.

use std::cell::Cell;
use std::ffi::CStr;

use pgrx::pg_sys;
use pgrx::pg_sys::{AttrNumber, Datum, Oid};

use super::error::{Error, Result};

/// A table of schema `auth`, and the index by which it is probed.
pub struct Relation {
    name: &'static CStr,
    index: &'static CStr,
    columns: &'static [&'static CStr],
    located: Cell<Option<&'static Located>>,
    /// Something about the table changed since it was located; most often nothing that matters here.
    is_stale: Cell<bool>,
    /// Whether a change of its rows makes what backends keep of it stale (`config`, `hooks`, `signing_keys`).
    cached_by_backends: bool,
}

// SAFETY: a backend has one thread.
unsafe impl Sync for Relation {}

#[derive(PartialEq)]
struct Located {
    table: Oid,
    index: Oid,
    columns: Vec<AttrNumber>,
}

/// Bumped when a row of a cached table changed, here or (at its commit) in another backend.
static GENERATION: GenerationCell = GenerationCell(Cell::new(1));

struct GenerationCell(Cell<u64>);
// SAFETY: a backend has one thread.
unsafe impl Sync for GenerationCell {}

/// What a backend keeps of settings, hooks and keys is good while this stays the same. Take it before reading.
#[inline]
pub fn generation() -> u64 {
    GENERATION.0.get()
}

/// Takes in what others have committed meanwhile. Postgres does so at a transaction's start and with each new lock, and in
/// between nobody's call takes one.
pub fn catch_up() {
    // SAFETY: no catalog entry is in use here; every lock that is taken does the same.
    unsafe { pg_sys::AcceptInvalidationMessages() };
}

/// What this backend keeps is stale by its own doing: the next look in the same statement must see it.
pub fn forget() {
    GENERATION.0.set(GENERATION.0.get() + 1);
}

const MAX_RELATIONS: usize = 16;

struct Registry {
    relations: [Cell<Option<&'static Relation>>; MAX_RELATIONS],
    listening: Cell<bool>,
}
// SAFETY: a backend has one thread.
unsafe impl Sync for Registry {}
static REGISTRY: Registry =
    Registry { relations: [const { Cell::new(None) }; MAX_RELATIONS], listening: Cell::new(false) };

/// A value of a row, as long as the row is being looked at.
pub struct Tuple<'a> {
    tuple: pg_sys::HeapTuple,
    descriptor: pg_sys::TupleDesc,
    columns: &'a [AttrNumber],
}

impl Tuple<'_> {
    fn datum(&self, column: usize) -> Option<Datum> {
        let mut is_null = false;
        // SAFETY: the tuple is pinned by the scan; the attribute number is that of an existing column.
        let datum =
            unsafe { pg_sys::heap_getattr(self.tuple, self.columns[column] as i32, self.descriptor, &mut is_null) };
        (!is_null).then_some(datum)
    }

    pub fn is_null(&self, column: usize) -> bool {
        self.datum(column).is_none()
    }

    pub fn uuid(&self, column: usize) -> Option<[u8; 16]> {
        // SAFETY: the column is a uuid: sixteen bytes by reference.
        self.datum(column).map(|datum| unsafe { *datum.cast_mut_ptr::<[u8; 16]>() })
    }

    pub fn int8(&self, column: usize) -> Option<i64> {
        self.datum(column).map(|datum| datum.value() as i64)
    }

    /// A timestamptz, in microseconds since 2000-01-01.
    pub fn time(&self, column: usize) -> Option<i64> {
        self.int8(column)
    }

    /// Any varlena type as pgrx reads it.
    pub fn get<T: pgrx::FromDatum>(&self, column: usize) -> Option<T> {
        // SAFETY: the caller names the column's own type.
        self.datum(column).and_then(|datum| unsafe { T::from_datum(datum, false) })
    }
}

impl Relation {
    pub const fn new(name: &'static CStr, index: &'static CStr, columns: &'static [&'static CStr]) -> Relation {
        Relation {
            name,
            index,
            columns,
            located: Cell::new(None),
            is_stale: Cell::new(false),
            cached_by_backends: false,
        }
    }

    pub const fn cached(name: &'static CStr, index: &'static CStr, columns: &'static [&'static CStr]) -> Relation {
        Relation {
            name,
            index,
            columns,
            located: Cell::new(None),
            is_stale: Cell::new(false),
            cached_by_backends: true,
        }
    }

    /// Looks at each row whose column `columns[0]` equals this uuid, until `look` answers something.
    ///
    /// A concurrent update that moves a row to another page can hide both of its versions from a scan that is no MVCC
    /// snapshot, so nothing found is asked again.
    pub fn find<T>(&'static self, key: &[u8; 16], mut look: impl FnMut(&Tuple<'_>) -> Option<T>) -> Result<Option<T>> {
        for _ in 0..3 {
            if let Some(found) = self.scan(Some(key), &mut look)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Like `find`, for rows whose absence is the ordinary case and which are never updated.
    pub fn find_inserted<T>(
        &'static self,
        key: &[u8; 16],
        mut look: impl FnMut(&Tuple<'_>) -> Option<T>,
    ) -> Result<Option<T>> {
        self.scan(Some(key), &mut look)
    }

    /// Looks at every row of a small table.
    pub fn every<T>(&'static self, mut look: impl FnMut(&Tuple<'_>) -> Option<T>) -> Result<Option<T>> {
        self.scan(None, &mut look)
    }

    /// The table's oid, for the trigger that announces its changes.
    pub fn table(&'static self) -> Result<Oid> {
        Ok(self.locate()?.table)
    }

    fn scan<T>(
        &'static self,
        key: Option<&[u8; 16]>,
        look: &mut impl FnMut(&Tuple<'_>) -> Option<T>,
    ) -> Result<Option<T>> {
        let located = self.locate()?;
        // SAFETY: the relation is opened with a lock before anything is read and closed after; an ERROR in between is
        // cleaned up by the resource owner. SnapshotSelf needs no registration.
        unsafe {
            let relation = pg_sys::table_open(located.table, pg_sys::AccessShareLock as i32);
            let mut scan_key = pg_sys::ScanKeyData::default();
            let (index, key_count) = match key {
                Some(key) => {
                    pg_sys::ScanKeyInit(
                        &mut scan_key,
                        located.columns[0],
                        pg_sys::BTEqualStrategyNumber as u16,
                        Oid::from(pg_sys::F_UUID_EQ),
                        Datum::from(key.as_ptr()),
                    );
                    (located.index, 1)
                }
                None => (Oid::INVALID, 0),
            };
            let scan = pg_sys::systable_beginscan(
                relation,
                index,
                key.is_some(),
                &raw mut pg_sys::SnapshotSelfData,
                key_count,
                &mut scan_key,
            );
            let mut found = None;
            while found.is_none() {
                let tuple = pg_sys::systable_getnext(scan);
                if tuple.is_null() {
                    break;
                }
                found = look(&Tuple { tuple, descriptor: (*relation).rd_att, columns: &located.columns });
            }
            pg_sys::systable_endscan(scan);
            pg_sys::table_close(relation, pg_sys::AccessShareLock as i32);
            Ok(found)
        }
    }

    fn locate(&'static self) -> Result<&'static Located> {
        if let Some(located) = self.located.get().filter(|_| !self.is_stale.get()) {
            return Ok(located);
        }
        listen(self);
        self.is_stale.set(false);
        let located = self.look_up().inspect_err(|_| self.located.set(None))?;
        if let Some(same) = self.located.get().filter(|known| **known == located) {
            return Ok(same);
        }
        // Leaked on purpose: a scan may be under way when it is replaced, and only a new table or index replaces it.
        let located: &'static Located = Box::leak(Box::new(located));
        self.located.set(Some(located));
        Ok(located)
    }

    fn look_up(&'static self) -> Result<Located> {
        // SAFETY: look-ups in the catalog caches by C strings.
        unsafe {
            let schema = pg_sys::get_namespace_oid(c"auth".as_ptr(), true);
            if schema == Oid::INVALID {
                return Err(Error::NotInstalled);
            }
            let table = pg_sys::get_relname_relid(self.name.as_ptr(), schema);
            let index = pg_sys::get_relname_relid(self.index.as_ptr(), schema);
            if table == Oid::INVALID || index == Oid::INVALID {
                return Err(Error::NotInstalled);
            }
            let columns =
                self.columns.iter().map(|name| pg_sys::get_attnum(table, name.as_ptr())).collect::<Vec<AttrNumber>>();
            if columns.iter().any(|&number| number <= 0) {
                return Err(Error::UpdateNeeded);
            }
            Ok(Located { table, index, columns })
        }
    }
}

/// From now on news of a change of this table reaches us.
fn listen(relation: &'static Relation) {
    if !REGISTRY.listening.replace(true) {
        // SAFETY: the callback below keeps to what one may do there.
        unsafe { pg_sys::CacheRegisterRelcacheCallback(Some(on_invalidation), Datum::from(0)) };
    }
    for place in &REGISTRY.relations {
        match place.get() {
            Some(known) if std::ptr::eq(known, relation) => return,
            Some(_) => continue,
            None => {
                place.set(Some(relation));
                return;
            }
        }
    }
    debug_assert!(false, "MAX_RELATIONS is too small");
}

/// Called in the middle of anything: no catalog access, no allocation, only counters.
unsafe extern "C-unwind" fn on_invalidation(_argument: Datum, relation: Oid) {
    for known in REGISTRY.relations.iter().filter_map(Cell::get) {
        let concerns = relation == Oid::INVALID || known.located.get().is_some_and(|located| located.table == relation);
        if concerns {
            known.is_stale.set(true);
            if known.cached_by_backends {
                GENERATION.0.set(GENERATION.0.get() + 1);
            }
        }
    }
}
