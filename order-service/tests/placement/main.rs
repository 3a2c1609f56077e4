//! Whole order services, in this process, against an account service that does as it is told.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops where it stands")]

mod accounts;
mod bugs;
mod channel;
mod currency;
mod duplicates;
mod outcomes;
#[expect(dead_code, reason = "tests/store uses all of it")]
#[path = "../support/mod.rs"]
mod support;
mod world;
