//! What became of an attempt: the one place that decides whether a call can have run.
//!
//! Never by status code: UNAVAILABLE says nothing about whether the server worked. The evidence is
//! what left this process and what the peer said ([`Facts`]), whatever error text h2 found for it.

use h2::Reason;

use crate::code::Code;
use crate::connection::Facts;

/// Why an attempt brought no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The connection was already going away and gave no stream.
    NotOpened,
    /// The stream's headers never reached the socket.
    NotWritten,
    /// A GOAWAY named an earlier stream as the last one looked at.
    Disowned,
    /// RST_STREAM REFUSED_STREAM.
    Refused,
    /// RST_STREAM with any other reason.
    Reset(Reason),
    /// Reset, closed, or silent beyond the keepalive timeout, after the headers were written.
    ConnectionLost,
    /// The peer broke the protocol; h2 ended the stream or the connection.
    ProtocolBroken,
    /// No response headers within the attempt's own timeout.
    AttemptTimeout,
    /// h2 refuses the request as such, whatever the connection.
    RequestInvalid,
    /// The request's metadata is longer than the peer said that it reads.
    MetadataTooLong,
}

/// What a failed attempt allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Nothing left this process: send elsewhere, as often as needed until the deadline.
    Unsent,
    /// The server said that it did nothing: send elsewhere, once for free.
    Unprocessed,
    /// The server may have run the call: only idempotent methods are sent again.
    Ambiguous,
    /// Trying again changes nothing.
    Final,
}

impl Cause {
    /// What the error of a stream on this connection means.
    pub(crate) fn of_stream(error: &h2::Error, stream: u32, facts: &Facts) -> Self {
        if error.is_reset() && error.is_remote() {
            return match error.reason() {
                Some(Reason::REFUSED_STREAM) => Self::Refused,
                Some(reason) => Self::Reset(reason),
                None => Self::ProtocolBroken,
            };
        }
        if facts.was_disowned(stream) {
            Self::Disowned
        } else if !facts.was_written(stream) {
            Self::NotWritten
        } else if error.is_library() {
            Self::ProtocolBroken
        } else {
            Self::ConnectionLost
        }
    }

    /// What may be done about it.
    pub(crate) fn class(self) -> Class {
        match self {
            Self::NotOpened | Self::NotWritten => Class::Unsent,
            Self::Disowned | Self::Refused => Class::Unprocessed,
            Self::Reset(_) | Self::ConnectionLost | Self::ProtocolBroken | Self::AttemptTimeout => {
                Class::Ambiguous
            }
            Self::RequestInvalid | Self::MetadataTooLong => Class::Final,
        }
    }

    /// The status code that the caller sees if this ends the call
    /// (grpc/grpc `doc/PROTOCOL-HTTP2.md`, "Errors").
    pub(crate) fn code(self) -> Code {
        match self {
            Self::NotOpened
            | Self::NotWritten
            | Self::Disowned
            | Self::Refused
            | Self::ConnectionLost
            | Self::AttemptTimeout => Code::Unavailable,
            Self::Reset(reason) => code_of_reset(reason),
            Self::ProtocolBroken | Self::RequestInvalid => Code::Internal,
            Self::MetadataTooLong => Code::ResourceExhausted,
        }
    }
}

fn code_of_reset(reason: Reason) -> Code {
    match reason {
        Reason::REFUSED_STREAM => Code::Unavailable,
        Reason::CANCEL => Code::Cancelled,
        Reason::ENHANCE_YOUR_CALM => Code::ResourceExhausted,
        Reason::INADEQUATE_SECURITY => Code::PermissionDenied,
        _ => Code::Internal,
    }
}
