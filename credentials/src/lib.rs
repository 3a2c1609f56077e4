//! TLS credentials from PEM files, reloaded when the files change. Knows neither server nor client.
//!
//! A [`Recipe`] says which files there are and what they make: [`ServerFiles`] a rustls server's settings,
//! [`ClientFiles`] a client's. [`load`] makes it once, [`Reloader::run`] again whenever a file's content changes.
//!
//! - Files are compared by content, not by time or inode: Kubernetes replaces a mounted secret by moving a symbolic link.
//! - New connections get what is in force; those that exist live on.
//! - **What cannot work never replaces what does.** A file that is missing, is not PEM, does not go with its key, or holds
//!   a certificate that is not valid now is logged with its path and leaves the former in force. A pair that is replaced
//!   one file after the other is given [`SETTLING`] to become whole.
//! - Sessions are not resumed where a certificate has to be verified: a resumed one would skip its expiry and revocation.
//!
//! Metrics, each with the label `files` (the recipe's name): `tls_certificate_expiry_seconds` and
//! `tls_crl_next_update_seconds` (Unix time; of several the earliest), `tls_reload_failing` (1 while the files on disk are
//! not those in force), `tls_reloads_total` by `outcome`.

mod client;
mod error;
mod pem;
mod reload;
mod server;
mod validity;

pub use client::{ClientFiles, Identity, Roots, client_config};
pub use error::TlsError;
pub use pem::Text;
pub use reload::{InForce, Made, Recipe, Reloader, SETTLING, load};
pub use server::ServerFiles;
pub use validity::Validity;
