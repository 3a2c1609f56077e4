//! Who calls, and what that caller may do.
//!
//! Promised, unless `--auth off`: no handler runs before its caller is known and the method's row in the service's
//! table ([`Rules`]) lets it pass. A method without a row is refused to everybody, and a server that serves one does not
//! start. What is refused says nothing about what exists.
//!
//! A caller is known by a client certificate, by a bearer token, or by what a trusted proxy says of its certificate;
//! what it may do stands in the token (`scope`, `accounts`) and in the roles file. Keys and roles are read again when
//! their files change; a file that is broken changes nothing. Knows no message type: whose account a request is about
//! is asked by its handler, which gets at the request no other way ([`Owned`]).

mod certificate;
mod checks;
mod config;
mod denied;
mod forwarded;
mod gate;
mod jwt;
mod principal;
mod right;
mod roles;
mod scope;
mod trust;
mod verified;
mod watch;

pub use config::{AuthConfig, CertificateConfig, Forwarded, TokenConfig};
pub use jwt::KeysError;
pub use principal::{Kind, Principal};
pub use right::{Access, Right, Rules};
pub use roles::RolesError;
pub use scope::{NotOwned, Owned, Scope};
pub use trust::AuthError;

pub(crate) use gate::{Admitted, Gate, Peer, Rule};
