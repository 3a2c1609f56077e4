//! Walking a JSON tree while collecting every problem with its place.
//!
//! A reader answers a default where something is wrong and goes on, so that one pass finds all
//! problems. Numbers follow protobuf's JSON: `3`, `3.0` and `"3"` are the same integer.

use std::cell::RefCell;
use std::fmt;
use std::time::Duration;

use serde_json::Value;

/// Everything that is wrong with a service config, in the order found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(pub Vec<Problem>);

/// One thing that is wrong and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path into the JSON, for example `methodConfig[0].retryPolicy.maxAttempts`.
    pub at: String,
    /// What is wrong, a lowercase fragment.
    pub what: String,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at.is_empty() {
            return f.write_str(&self.what);
        }
        write!(f, "{}: {}", self.at, self.what)
    }
}

/// Where readers of one config put what they find.
#[derive(Default)]
pub(super) struct Problems(RefCell<Vec<Problem>>);

impl Problems {
    pub(super) fn into_result<T>(self, value: T) -> Result<T, ConfigErrors> {
        let problems = self.0.into_inner();
        if problems.is_empty() { Ok(value) } else { Err(ConfigErrors(problems)) }
    }

    pub(super) fn add(&self, at: &str, what: impl Into<String>) {
        self.0.borrow_mut().push(Problem { at: at.to_owned(), what: what.into() });
    }
}

/// A value and its place.
pub(super) struct Node<'a> {
    value: &'a Value,
    at: String,
    problems: &'a Problems,
}

impl<'a> Node<'a> {
    pub(super) fn root(value: &'a Value, problems: &'a Problems) -> Self {
        Self { value, at: String::new(), problems }
    }

    pub(super) fn problem(&self, what: impl Into<String>) {
        self.problems.add(&self.at, what);
    }

    /// A key's value. Absent when the key is missing or null.
    pub(super) fn get(&self, key: &str) -> Option<Node<'a>> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        let dot = if self.at.is_empty() { "" } else { "." };
        Some(Node { value, at: format!("{}{dot}{key}", self.at), problems: self.problems })
    }

    /// A key's value; its absence is a problem.
    pub(super) fn require(&self, key: &str) -> Option<Node<'a>> {
        let found = self.get(key);
        if found.is_none() && self.value.is_object() {
            self.problem(format!("{key} is missing"));
        }
        found
    }

    pub(super) fn expect_object(&self) -> bool {
        let is_object = self.value.is_object();
        if !is_object {
            self.problem("must be an object");
        }
        is_object
    }

    pub(super) fn elements(&self) -> Vec<Node<'a>> {
        let Some(items) = self.value.as_array() else {
            self.problem("must be a list");
            return Vec::new();
        };
        let at = |index| format!("{}[{index}]", self.at);
        let node = |(index, value)| Node { value, at: at(index), problems: self.problems };
        items.iter().enumerate().map(node).collect()
    }

    /// The single key of an object, as `loadBalancingConfig` entries have it.
    pub(super) fn single_key(&self) -> Option<&'a str> {
        let keys: Vec<_> = self.value.as_object()?.keys().collect();
        if let [key] = keys[..] {
            return Some(key);
        }
        self.problem("must have exactly one key, the policy's name");
        None
    }

    pub(super) fn string(&self) -> Option<&'a str> {
        let text = self.value.as_str();
        if text.is_none() {
            self.problem("must be a string");
        }
        text
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        let flag = self.value.as_bool();
        if flag.is_none() {
            self.problem("must be true or false");
        }
        flag
    }

    pub(super) fn number(&self) -> Option<f64> {
        let text = || self.value.as_str().and_then(|text| text.parse().ok());
        let number = self.value.as_f64().or_else(text).filter(|number| number.is_finite());
        if number.is_none() {
            self.problem("must be a number");
        }
        number
    }

    /// A whole number within `least..=most`.
    pub(super) fn integer(&self, least: u32, most: u32) -> Option<u32> {
        let number = self.number()?;
        if number.fract() != 0.0 {
            self.problem("must be a whole number");
            return None;
        }
        if number < f64::from(least) {
            self.problem(format!("must be at least {least}"));
            return None;
        }
        if number > f64::from(most) {
            self.problem(format!("must be at most {most}"));
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole and in range"
        )]
        Some(number as u32)
    }

    /// A duration as protobuf's JSON has it: seconds with at most nine decimals and an `s`.
    pub(super) fn duration(&self) -> Option<Duration> {
        let duration = self.value.as_str().and_then(parse_duration);
        if duration.is_none() {
            self.problem("must be a duration such as \"0.1s\"");
        }
        duration
    }

    /// A duration greater than zero.
    pub(super) fn positive_duration(&self) -> Option<Duration> {
        let duration = self.duration()?;
        if duration.is_zero() {
            self.problem("must be greater than zero");
            return None;
        }
        Some(duration)
    }

    pub(super) fn as_code_number(&self) -> Option<u64> {
        self.value.as_f64().filter(|n| n.fract() == 0.0 && *n >= 0.0).map(|number| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
            {
                number as u64
            }
        })
    }
}

/// Protobuf's own bound for a duration: about ten thousand years.
const DURATION_SECONDS_MAX: u64 = 315_576_000_000;

fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.strip_suffix('s')?;
    let (seconds, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(seconds) || !all_digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let seconds = seconds.parse().ok().filter(|seconds| *seconds <= DURATION_SECONDS_MAX)?;
    let nanos = format!("{fraction:0<9}").parse().ok()?;
    Some(Duration::new(seconds, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_protobuf_writes_them() {
        assert_eq!(parse_duration("0.1s"), Some(Duration::from_millis(100)));
        assert_eq!(parse_duration("1s"), Some(Duration::from_secs(1)));
        assert_eq!(parse_duration("3.000000001s"), Some(Duration::new(3, 1)));
        for bad in ["", "s", "1", ".5s", "1.s", "-1s", "1e3s", "1.0000000001s", "315576000001s"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }
}
