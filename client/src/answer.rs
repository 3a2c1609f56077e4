//! What the headers and trailers of an answer say, before they reach the caller.
//!
//! A stub trusts them: tonic panics at status details that are no base64. And what answers need not be
//! a gRPC server at all, but a proxy in front of one.

use http::{HeaderMap, StatusCode};

use crate::code::Code;
use crate::error::{Error, details_are_readable};

/// Metadata that must not reach the caller: longer than `bytes_max`, or broken.
pub(crate) fn check(headers: &HeaderMap, bytes_max: u32) -> Result<(), Error> {
    let bytes = list_bytes(headers);
    if bytes > bytes_max as usize {
        let text = format!("the answer has {bytes} bytes of metadata, more than {bytes_max}");
        return Err(Error::new(Code::ResourceExhausted, text));
    }
    if !details_are_readable(headers) {
        let text = "the server's grpc-status-details-bin is no base64";
        return Err(Error::new(Code::Internal, text));
    }
    Ok(())
}

/// The error for an answer that no gRPC server gave.
pub(crate) fn not_grpc(status: StatusCode, headers: &HeaderMap) -> Option<Error> {
    /// Of a content type, as much as a message should repeat.
    const SHOWN: usize = 80;
    if headers.contains_key("grpc-status") {
        return None;
    }

    let kind = headers.get("content-type").and_then(|kind| kind.to_str().ok());
    let is_grpc = kind.is_none_or(|kind| kind.starts_with("application/grpc"));
    if status == StatusCode::OK && is_grpc {
        return None;
    }

    let shown: String = kind.unwrap_or("no content type").chars().take(SHOWN).collect();
    let text = format!("the answer is no gRPC: HTTP {} ({shown})", status.as_u16());
    Some(Error::new(Code::from_http(status), text))
}

/// The length of a header list as HTTP/2 reckons it (RFC 9113, 6.5.2).
pub(crate) fn list_bytes(headers: &HeaderMap) -> usize {
    const ENTRY: usize = 32;
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ENTRY).sum()
}
