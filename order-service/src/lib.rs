//! Orders, payments and the catalogue: each order is placed once.
pub mod desk;
pub mod order;
pub mod storage;
