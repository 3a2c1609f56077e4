//! The serving half over real sockets: calls, connections, readiness, drain.

mod calls;
#[cfg(test)]
mod compressed;
mod connections;
mod drain;
#[cfg(test)]
mod fuzz;
mod readiness;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tls;
