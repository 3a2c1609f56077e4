//! The gRPC face: reads requests, writes answers. It knows no SQL, and only `status` makes a status.

mod catalog;
mod encode;
mod orders;
mod pages;
mod parse;
mod rules;
mod status;
mod trail;

pub use catalog::CatalogApi;
pub use orders::OrderApi;
pub use pages::Pages;
pub(crate) use rules::RULES;
pub(crate) use trail::{ADMINISTRATIVE, AUDITED};
