//! Orders, payments and the catalogue: each order is placed once.
pub mod order;
pub mod storage;
