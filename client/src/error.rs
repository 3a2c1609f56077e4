//! How calls fail.

use std::error::Error as StdError;
use std::fmt;

use crate::code::Code;

/// Any error, boxed.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// A call that failed in the channel, as opposed to one that a server answered with a status.
///
/// Its [`source`](StdError::source) is a `tonic::Status` with the same code and message, so a tonic
/// stub gives its caller exactly this code. This file is the only one that knows tonic's type.
#[derive(Debug)]
pub struct Error {
    code: Code,
    status: tonic::Status,
}

impl Error {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, status: tonic::Status::new(tonic::Code::from_i32(code as i32), message) }
    }

    /// The caller's own request body failed; a status among its causes is passed on as it is.
    pub(crate) fn request_body(error: BoxError) -> Self {
        let cancelled =
            |error: BoxError| tonic::Status::cancelled(format!("the request body failed: {error}"));
        let status = tonic::Status::try_from_error(error).unwrap_or_else(cancelled);
        let number = u64::try_from(status.code() as i32).unwrap_or_default();
        Self { code: Code::from_number(number).unwrap_or(Code::Unknown), status }
    }

    /// The status code that a caller sees.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What happened, for people.
    pub fn message(&self) -> &str {
        self.status.message()
    }
}

/// Whether a stub can read the status details in these headers, if there are any: tonic panics where it
/// cannot. Asked of tonic's own reader, so that the two never differ.
pub(crate) fn details_are_readable(headers: &http::HeaderMap) -> bool {
    const DETAILS: &str = "grpc-status-details-bin";
    let Some(details) = headers.get(DETAILS) else { return true };
    let mut alone = http::HeaderMap::with_capacity(1);
    alone.insert(DETAILS, details.clone());
    let metadata = tonic::metadata::MetadataMap::from_headers(alone);
    metadata.get_bin(DETAILS).is_none_or(|details| details.to_bytes().is_ok())
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.message())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.status)
    }
}
