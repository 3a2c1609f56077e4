//! The ledger's core: its state machine a sentence a test, and random histories against a naive model.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops where it stands")]

mod commands;
mod currency;
#[expect(clippy::wildcard_enum_match_arm, reason = "the model picks single facts out of many")]
mod model;
mod properties;
mod shelf;
mod states;
