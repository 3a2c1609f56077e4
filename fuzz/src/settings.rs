//! How long to search, and from where.

use std::time::Duration;

/// What a test does: enough to notice that something broke, and soon done.
const INPUTS: u64 = 50_000;
const TIME: Duration = Duration::from_secs(3);

/// Searches vary it.
const SEED: u64 = 1;

pub(crate) struct Settings {
    pub(crate) seed: u64,
    pub(crate) time: Duration,
    /// `None`: the time alone counts.
    pub(crate) inputs_max: Option<u64>,
}

impl Settings {
    /// # Panics
    /// When a variable is no number.
    pub(crate) fn read() -> Self {
        let seed = number("FUZZ_SEED").unwrap_or(SEED);
        match number("FUZZ_SECONDS") {
            None => Self { seed, time: TIME, inputs_max: Some(INPUTS) },
            Some(seconds) => Self { seed, time: Duration::from_secs(seconds), inputs_max: None },
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a test has no flags where `cargo test` starts it")]
fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {value}")))
}
