//! Callers that want a service for themselves, and one that has nothing to do with them and is served all the same.
//!
//! Attackers come from 127.0.0.1, the caller from 127.0.0.2. Sizes are such that two cores and a debug build do them; each
//! attack is one that an earlier version did not stand.

#[cfg(test)]
mod admin;
#[cfg(test)]
mod calls;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod scene;
#[cfg(test)]
mod watches;
