//! One-time tokens and sign-ups that wait for one: the tables that every mailed link and code will stand on.
//!
//! The flows that write them come with mail; the tables are here so that a dump of today meets them.

pgrx::extension_sql_file!("tokens.sql", name = "tokens", requires = ["users"]);
