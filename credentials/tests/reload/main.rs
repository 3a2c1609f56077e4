//! TLS files that change under a process.

#[cfg(test)]
mod files;
