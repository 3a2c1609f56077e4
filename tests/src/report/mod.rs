//! A run as one HTML page that needs no network: the verdict, where it was measured, what happened when, and figures.

mod axis;
mod chart;
mod machine;
mod page;
mod words;

pub use page::{Page, Table, Verdict};
