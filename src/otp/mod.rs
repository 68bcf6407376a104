//! Mailed links and codes: signing in, signing up and confirming by them.
//!
//! Promises: a code or link is spent once, whoever rolls back; it is good for one purpose, account and address; five wrong
//! codes end it; no account exists before its address is proved where that is asked for. Threats: a scanner that follows
//! links, a guess, a code of another purpose or person, an answer that tells who has an account.

mod send;
mod verify;

use pgrx::extension_sql_file;

extension_sql_file!("otp.sql", name = "otp", requires = ["password"]);
