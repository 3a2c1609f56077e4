//! Load: requests sent at a pace, and what became of them second by second.
//!
//! A [`Work`] makes one request by its number; a [`Pace`] says when. An open loop sends on schedule,
//! whether or not earlier requests were answered, and measures each from the moment it was *due*:
//! a stall shows in every request that waited behind it (no coordinated omission). A closed loop
//! keeps so many in flight and finds what a system can do.
//!
//! Bounds: at most [`OUTSTANDING_MAX`] requests unanswered; beyond that a due request counts as
//! failed without being sent. Every request has its own deadline, so a run ends.

mod connections;
mod figures;
mod fill;
mod live;
mod measure;
mod mix;
mod pace;
mod prepare;
mod record;
mod stage;
mod work;

pub use connections::Connections;
pub use figures::{CpuUse, Figures};
pub use fill::{History, fill};
pub use live::{LIVE_EVERY, Live};
pub use measure::{Measured, Plan, measure};
pub use mix::{Accounts, Mix, Products};
pub use pace::{OUTSTANDING_MAX, Pace, Run};
pub use prepare::{Opening, open_accounts, put_products};
pub use record::{Answer, Mark, Record, Second, Tally, Verdict};
pub use stage::{Kind, Stage};
pub use work::{Orders, Reserves, Work};
