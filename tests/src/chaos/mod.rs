//! Chaos: a full pair under a seeded schedule of faults, clients that keep every answer, a judge at the end.
//!
//! What is pure is apart: [`schedule`] says from the seed what goes wrong when, [`checker`] judges a history against the
//! books. The rest carries out, calls, and reads.

mod again;
pub mod books;
mod callers;
mod calls;
pub mod checker;
pub mod history;
mod place;
mod restore;
mod run;
pub mod schedule;
mod sometimes;
pub mod state;
mod world;

pub use place::Place;
pub use run::{Order, Report, run};
