//! Where a call comes from, and what happens to the audit when the transaction ends.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;

use pgrx::datum::Inet;
use pgrx::prelude::*;

use crate::events;
use crate::platform::backend;
use crate::platform::error::{Answer, Error, Result};
use crate::platform::settings;

const USER_AGENT_BYTES: usize = 256;

struct Context {
    transaction: u32,
    address: Option<IpAddr>,
    user_agent: Option<String>,
}

thread_local! {
    static CONTEXT: RefCell<Option<Context>> = const { RefCell::new(None) };
    /// The transaction has written audit rows, which are to be sealed once it has committed.
    static UNSEALED: Cell<bool> = const { Cell::new(false) };
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
}

#[pg_extern(sql = false)]
fn set_request_context(ip: Option<Inet>, user_agent: Option<&str>) -> Answer<()> {
    // SAFETY: reads the transaction's state.
    if !unsafe { pg_sys::IsTransactionBlock() } {
        return Err(Error::NoTransaction.into());
    }
    let address = ip.map(|ip| parse(&ip.0)).transpose()?;
    CONTEXT.set(Some(Context { transaction: backend::transaction(), address, user_agent: user_agent.map(shortened) }));
    Ok(())
}

fn parse(ip: &str) -> Result<IpAddr> {
    let address: IpAddr = ip
        .parse()
        .map_err(|_| Error::invalid("ip is not the address of one host", "give an address without a netmask"))?;
    Ok(address.to_canonical())
}

/// Without what could break a line of a log, and not longer than needed to tell programs apart.
fn shortened(user_agent: &str) -> String {
    let mut shortened = String::new();
    for character in user_agent.chars().map(|character| if character.is_control() { ' ' } else { character }) {
        if shortened.len() + character.len_utf8() > USER_AGENT_BYTES {
            break;
        }
        shortened.push(character);
    }
    shortened
}

fn said<T>(read: impl FnOnce(&Context) -> Option<T>) -> Option<T> {
    CONTEXT.with_borrow(|context| {
        context.as_ref().filter(|context| context.transaction == backend::transaction()).and_then(read)
    })
}

/// The client's address as far as it is known, for people to read.
pub fn client_address() -> Option<IpAddr> {
    said(|context| context.address).or_else(backend::peer_address)
}

/// The client's address, if limits may be counted by it: said by a caller that is believed, or that of the connection where
/// the server's owner says that clients connect directly. Behind a pooler everybody has the same.
pub fn trusted_address() -> Option<IpAddr> {
    said(|context| context.address).or_else(|| settings::DIRECT_CLIENTS.get().then(backend::peer_address).flatten())
}

pub fn user_agent() -> Option<String> {
    said(|context| context.user_agent.clone())
}

/// Has the worker look for rows to seal once this transaction has committed.
pub fn seal_after_commit() {
    UNSEALED.set(true);
    if !REGISTERED.replace(true) {
        // SAFETY: the callback below keeps to what one may do there.
        unsafe { pg_sys::RegisterXactCallback(Some(on_transaction_end), std::ptr::null_mut()) };
    }
}

/// Called where nothing may fail any more: only shared memory and a latch.
unsafe extern "C-unwind" fn on_transaction_end(event: pg_sys::XactEvent::Type, _argument: *mut std::ffi::c_void) {
    use pg_sys::XactEvent as E;
    let is_over = matches!(event, E::XACT_EVENT_COMMIT | E::XACT_EVENT_ABORT | E::XACT_EVENT_PREPARE);
    if is_over && UNSEALED.replace(false) && event == E::XACT_EVENT_COMMIT {
        events::want_chores();
    }
}
