//! Queries with plans that a backend keeps.
//!
//! Every statement is a `static Query`: prepared once, in whichever role first runs it, and replanned by Postgres itself
//! when the role or a table changes.

use std::cell::Cell;

use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;
use pgrx::spi::{OwnedPreparedStatement, SpiTupleTable};
use pgrx::{FromDatum, IntoDatum, PgOid};

use super::error::{Error, Result};

pub use pgrx::PgBuiltInOids as Type;

pub struct Query {
    sql: &'static str,
    types: &'static [Type],
    writes: bool,
    plan: Cell<Option<&'static OwnedPreparedStatement>>,
}

// SAFETY: a backend has one thread; the plan belongs to it alone.
unsafe impl Sync for Query {}

/// One row of an answer, columns counted from one.
pub struct Row<'a> {
    table: SpiTupleTable<'a>,
}

impl Query {
    /// A statement that only reads; it takes no transaction id and so runs on a standby.
    pub const fn read(sql: &'static str, types: &'static [Type]) -> Query {
        Query { sql, types, writes: false, plan: Cell::new(None) }
    }

    pub const fn write(sql: &'static str, types: &'static [Type]) -> Query {
        Query { sql, types, writes: true, plan: Cell::new(None) }
    }

    /// Runs it and reads the first row, if there is one.
    pub fn first<T>(
        &'static self,
        arguments: &[DatumWithOid<'_>],
        read: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        self.run(arguments, |table| {
            let mut row = Row { table };
            match row.table.next() {
                Some(_) => read(&row).map(Some),
                None => Ok(None),
            }
        })
    }

    /// Runs it and reads every row.
    pub fn each(
        &'static self,
        arguments: &[DatumWithOid<'_>],
        mut read: impl FnMut(&Row<'_>) -> Result<()>,
    ) -> Result<()> {
        self.run(arguments, |table| {
            let mut row = Row { table };
            while row.table.next().is_some() {
                read(&row)?;
            }
            Ok(())
        })
    }

    /// Runs it for its effect; how many rows it touched.
    pub fn execute(&'static self, arguments: &[DatumWithOid<'_>]) -> Result<u64> {
        // SAFETY: SPI_processed is read right after the statement, in the same backend.
        self.run(arguments, |_| Ok(unsafe { pg_sys::SPI_processed }))
    }

    fn run<T>(
        &'static self,
        arguments: &[DatumWithOid<'_>],
        read: impl FnOnce(SpiTupleTable<'_>) -> Result<T>,
    ) -> Result<T> {
        if self.writes {
            Spi::connect_mut(|client| {
                let plan = self.plan(|types| client.prepare_mut(self.sql, types))?;
                read(client.update(plan, None, arguments)?)
            })
        } else {
            Spi::connect(|client| {
                let plan = self.plan(|types| client.prepare(self.sql, types))?;
                read(client.select(plan, None, arguments)?)
            })
        }
    }

    fn plan<'a>(
        &'static self,
        prepare: impl FnOnce(&[PgOid]) -> pgrx::spi::SpiResult<pgrx::spi::PreparedStatement<'a>>,
    ) -> Result<&'static OwnedPreparedStatement> {
        if let Some(plan) = self.plan.get() {
            return Ok(plan);
        }
        let types: Vec<PgOid> = self.types.iter().map(|builtin| PgOid::from(builtin.oid().value())).collect();
        // Kept for the life of the backend: never dropped, because at exit there is no SPI left to free it with.
        let plan: &'static OwnedPreparedStatement = Box::leak(Box::new(prepare(&types)?.keep()));
        self.plan.set(Some(plan));
        Ok(plan)
    }
}

impl Row<'_> {
    pub fn optional<T: FromDatum + IntoDatum>(&self, column: usize) -> Result<Option<T>> {
        Ok(self.table.get::<T>(column)?)
    }

    pub fn required<T: FromDatum + IntoDatum>(&self, column: usize) -> Result<T> {
        self.optional(column)?.ok_or_else(|| Error::Internal(format!("column {column} of an answer is null")))
    }
}
