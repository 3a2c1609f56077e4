//! Everything wrong with the configuration, told at once.

use std::fmt;

/// Collects bad settings while they are validated, so that a person corrects all of them in
/// one go. Values of settings that may hold a password belong in [`Problems::add`] without
/// their value.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Problems {
    found: Vec<String>,
}

impl Problems {
    /// No problems yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that the setting of this flag is wrong, and why. The message names the flag and
    /// its environment variable, which is the flag in capitals: `--admin-listen` is
    /// `ADMIN_LISTEN`.
    pub fn add(&mut self, flag: &str, why: impl fmt::Display) {
        self.found.push(format!("{flag} ({}): {why}", variable_of(flag)));
    }

    /// Parses the raw value of a flag, or notes the problem and answers `None`.
    pub fn parse<T, E: fmt::Display>(
        &mut self,
        flag: &str,
        raw: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        match parse(raw) {
            Ok(value) => Some(value),
            Err(why) => {
                self.add(flag, format_args!("{raw:?} {why}"));
                None
            }
        }
    }

    /// The value when nothing is wrong.
    ///
    /// # Errors
    /// All problems noted so far.
    pub fn none_or<T>(self, value: T) -> Result<T, Self> {
        if self.found.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "bad configuration:")?;
        self.found.iter().try_for_each(|problem| write!(formatter, "\n  {problem}"))
    }
}

impl std::error::Error for Problems {}

fn variable_of(flag: &str) -> String {
    flag.trim_start_matches('-').replace('-', "_").to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_told_with_flag_variable_and_value() {
        let mut problems = Problems::new();
        let port = problems
            .parse("--admin-port", "x1", |raw| raw.parse::<u16>().map_err(|_| "is not a port"));
        assert_eq!(port, None);
        problems.add("--database-url", "names no database");
        let told = problems.none_or(()).unwrap_err().to_string();
        assert_eq!(
            told,
            "bad configuration:\n  --admin-port (ADMIN_PORT): \"x1\" is not a port\n  \
             --database-url (DATABASE_URL): names no database"
        );
    }
}
