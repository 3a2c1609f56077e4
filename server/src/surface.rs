//! Which methods a listener serves.
//!
//! A service may name methods that only administrators need ([`Server::administrative`](crate::Server::administrative)).
//! With a listener of their own these are served there and nowhere else, and nothing else is served there, so that the
//! network can keep callers apart. Health and reflection are served on both. Asked for at the wrong port, a method is
//! UNIMPLEMENTED, as it would be at a server that never had it: which port it is depends on the address alone and not on
//! who asks, so PERMISSION_DENIED would send people looking for rights.

use std::net::SocketAddr;

use tonic::Status;

use crate::call::Method;

/// What one listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surface {
    /// Everything: there is no other listener.
    Whole,
    /// What is not administrative.
    Public,
    /// What is.
    Administrative,
}

/// Where a connection came from, and to which listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) peer: SocketAddr,
    pub(crate) surface: Surface,
}

impl Surface {
    /// # Errors
    /// When the method is served on the other port.
    pub(crate) fn check(self, method: &Method) -> Result<(), Status> {
        let served = match self {
            Self::Whole => true,
            Self::Public => !method.is_administrative(),
            Self::Administrative => method.is_administrative() || method.is_infrastructure(),
        };
        if served { Ok(()) } else { Err(Status::unimplemented("not served on this port")) }
    }
}
