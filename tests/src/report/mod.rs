//! A run as one HTML page that needs no network: facts, tables, and what happened when.

mod chart;
mod page;

pub use page::{Page, Table};
