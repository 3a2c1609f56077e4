//! The gRPC face: reads requests, writes answers. It knows no SQL, and only `status` makes a status.

mod catalog;
mod encode;
mod orders;
mod parse;
mod rules;
mod status;

pub use catalog::CatalogApi;
pub use orders::OrderApi;
pub(crate) use rules::RULES;
