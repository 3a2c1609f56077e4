//! The serving half over real sockets: calls, connections, readiness, drain.

mod calls;
#[cfg(test)]
mod compressed;
mod connections;
mod drain;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod manners;
mod readiness;
#[cfg(test)]
mod support;
#[cfg(test)]
mod surface;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod trail;
#[cfg(test)]
mod web;
