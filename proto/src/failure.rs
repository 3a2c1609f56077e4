//! An error on its way to a caller, and back out of a status on the other side.
//!
//! A [`Failure`] becomes a [`Status`] with `google.rpc.ErrorInfo` always, `BadRequest` when fields are named, and
//! `RetryInfo` when trying again can help. When the service is overloaded or away, `grpc-retry-pushback-ms` (gRFC A6)
//! says the same to channels that do not read details.

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status, metadata::MetadataValue};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use crate::Reason;

/// The domain of every ErrorInfo.
pub const DOMAIN: &str = "holdfast";

/// The trailer by which a server delays a client's retry (gRFC A6), in milliseconds.
pub const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Why a call is refused, with all that the caller is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    reason: Reason,
    message: String,
    metadata: HashMap<String, String>,
    violations: Vec<(String, String)>,
    retry_after: Option<Duration>,
}

impl Failure {
    /// A failure with a message for people. Machines read the reason.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        let metadata = reason.short_code().map(|code| ("code".into(), code.into()));
        Self {
            reason,
            message: message.into(),
            metadata: metadata.into_iter().collect(),
            violations: Vec::new(),
            retry_after: None,
        }
    }

    /// Adds a fact for machines.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.metadata.insert(key.into(), value.to_string());
        self
    }

    /// Names a field that is wrong.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>, problem: impl ToString) -> Self {
        self.violations.push((field.into(), problem.to_string()));
        self
    }

    /// Says when trying again can help.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// The reason.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The message for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// A fact that was added, by key.
    pub fn fact(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    /// Reads a failure out of a status, if one of our services wrote it.
    pub fn of(status: &Status) -> Option<Self> {
        let info = status.get_details_error_info().filter(|info| info.domain == DOMAIN)?;
        Some(Self {
            reason: info.reason.parse().ok()?,
            message: status.message().into(),
            metadata: info.metadata,
            violations: status
                .get_details_bad_request()
                .map(|bad| bad.field_violations)
                .unwrap_or_default()
                .into_iter()
                .map(|violation| (violation.field, violation.description))
                .collect(),
            retry_after: status.get_details_retry_info().and_then(|info| info.retry_delay),
        })
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let code = failure.reason.code();
        let mut details =
            ErrorDetails::with_error_info(failure.reason.as_str(), DOMAIN, failure.metadata);
        if !failure.violations.is_empty() {
            let violations = failure.violations.into_iter();
            details.set_bad_request(
                violations
                    .map(|(field, problem)| FieldViolation::new(field, problem))
                    .collect::<Vec<_>>(),
            );
        }
        if failure.retry_after.is_some() {
            details.set_retry_info(failure.retry_after);
        }
        let mut status = Self::with_error_details(code, failure.message, details);
        let pushed_back = matches!(code, Code::ResourceExhausted | Code::Unavailable);
        if let Some(delay) = failure.retry_after.filter(|_| pushed_back) {
            let delay = MetadataValue::from(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
            status.metadata_mut().insert(PUSHBACK, delay);
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_survives_the_way_through_a_status() {
        let failure = Failure::new(Reason::OutOfStock, "product 7 has too little stock")
            .with("product_id", 7)
            .retry_after(Duration::from_millis(250));
        let status = Status::from(failure.clone());
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert_eq!(Failure::of(&status), Some(failure));
        assert!(status.metadata().get(PUSHBACK).is_none());
    }

    #[test]
    fn an_overloaded_service_pushes_retries_back() {
        let failure =
            Failure::new(Reason::Overloaded, "busy").retry_after(Duration::from_millis(40));
        let status = Status::from(failure);
        assert_eq!(status.metadata().get(PUSHBACK).map(|v| v.as_bytes()), Some(&b"40"[..]));
    }

    #[test]
    fn a_status_of_somebody_else_is_not_ours() {
        assert_eq!(Failure::of(&Status::unavailable("connection refused")), None);
    }
}
