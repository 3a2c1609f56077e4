//! TLS on every line, between real processes: what is refused and how that is told, and files that change under load.

#[cfg(test)]
mod mismatch;
#[cfg(test)]
mod postgres;
#[cfg(test)]
mod redis;
#[cfg(test)]
mod rotation;
#[cfg(test)]
mod support;
