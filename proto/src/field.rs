//! Request checks: all wrong fields are reported in one answer, each by name.

use std::fmt::Display;

use crate::{Failure, Reason};

/// Collects what is wrong with a request.
///
/// ```
/// use proto::{Fields, Money, id::AccountId};
/// let mut fields = Fields::default();
/// let account = fields.check("account_id", AccountId::new(-1));
/// let amount = fields.check("amount", Money::parse("1e3"));
/// let failure = fields.finish(|| Some((account?, amount?))).unwrap_err();
/// assert_eq!(failure.reason(), proto::Reason::InvalidRequest);
/// ```
#[derive(Debug, Default)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Passes a good value on and notes a bad one.
    pub fn check<T, E: Display>(&mut self, field: &str, value: Result<T, E>) -> Option<T> {
        value.map_err(|problem| self.wrong(field, problem)).ok()
    }

    /// Notes that a field is wrong.
    pub fn wrong(&mut self, field: &str, problem: impl Display) {
        self.0.push((field.into(), problem.to_string()));
    }

    /// Puts the checked values together, or fails with INVALID_REQUEST and every field that was wrong.
    ///
    /// `values` answers `None` only when a check failed.
    pub fn finish<T>(self, values: impl FnOnce() -> Option<T>) -> Result<T, Failure> {
        if self.0.is_empty() {
            return Ok(values().expect("a value is missing only when its check failed"));
        }
        let named: Vec<_> =
            self.0.iter().map(|(field, problem)| format!("{field} {problem}")).collect();
        let failure = Failure::new(Reason::InvalidRequest, named.join("; "));
        Err(self
            .0
            .into_iter()
            .fold(failure, |failure, (field, problem)| failure.field(field, problem)))
    }
}
