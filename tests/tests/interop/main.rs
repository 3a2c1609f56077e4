//! Clients that are not ours, while servers leave.

#[cfg(test)]
mod grpc_core;
#[cfg(test)]
mod late_stream;
