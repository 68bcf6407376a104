//! Codes by SMS: signing in and signing up by a phone number, the phone as a second factor, and changing one's number.
//!
//! Promises: a code is spent once, whoever rolls back, and is good for the number that it was sent to; wrong ones lock the
//! number, and a new code is no new chance; an account is made when its number is proved; what is sent is bounded for each
//! number, network and the whole database. Threats: a guess, a second use, a number that somebody else has by now, an answer
//! that tells who has an account, somebody who earns by every SMS that we pay for.
//!
//! A code belongs to a number and not to an account: whether there is one is asked when the code is right. So a request does
//! the same for a number that has an account and for one that has none, and there is no second table for those who wait.

mod change;
mod codes;
pub mod factor;
mod send;
mod verify;

use pgrx::extension_sql_file;

extension_sql_file!("sms.sql", name = "sms", requires = ["otp", "factors"]);
