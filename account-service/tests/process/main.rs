//! The program itself: its flags, its subcommands, and its death.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops where it stands")]

mod death;
mod flags;
mod program;
#[path = "../support/mod.rs"]
mod support;
mod trail;
mod verify;
