//! The seventeen status codes of gRPC and sets of them.
//!
//! The channel has its own type so that retry policy, classifier and balancer know no stub library.

/// A gRPC status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are the protocol's own")]
pub enum Code {
    Ok = 0,
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

const NAMES: [(Code, &str); 17] = [
    (Code::Ok, "OK"),
    (Code::Cancelled, "CANCELLED"),
    (Code::Unknown, "UNKNOWN"),
    (Code::InvalidArgument, "INVALID_ARGUMENT"),
    (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
    (Code::NotFound, "NOT_FOUND"),
    (Code::AlreadyExists, "ALREADY_EXISTS"),
    (Code::PermissionDenied, "PERMISSION_DENIED"),
    (Code::ResourceExhausted, "RESOURCE_EXHAUSTED"),
    (Code::FailedPrecondition, "FAILED_PRECONDITION"),
    (Code::Aborted, "ABORTED"),
    (Code::OutOfRange, "OUT_OF_RANGE"),
    (Code::Unimplemented, "UNIMPLEMENTED"),
    (Code::Internal, "INTERNAL"),
    (Code::Unavailable, "UNAVAILABLE"),
    (Code::DataLoss, "DATA_LOSS"),
    (Code::Unauthenticated, "UNAUTHENTICATED"),
];

impl Code {
    /// The code's name as service configs and metrics spell it, for example `UNAVAILABLE`.
    pub fn name(self) -> &'static str {
        NAMES[self as usize].1
    }

    /// The code with this name, in any case (gRFC A6).
    pub fn from_name(name: &str) -> Option<Self> {
        NAMES.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(code, _)| *code)
    }

    /// The code with this number. Absent for numbers that gRPC has not given out.
    pub fn from_number(number: u64) -> Option<Self> {
        NAMES.get(usize::try_from(number).ok()?).map(|(code, _)| *code)
    }

    /// Whether the status speaks of the server's condition rather than of the request.
    pub(crate) fn blames_server(self) -> bool {
        match self {
            Self::Unknown
            | Self::DeadlineExceeded
            | Self::ResourceExhausted
            | Self::Internal
            | Self::Unavailable
            | Self::DataLoss => true,
            Self::Ok
            | Self::Cancelled
            | Self::InvalidArgument
            | Self::NotFound
            | Self::AlreadyExists
            | Self::PermissionDenied
            | Self::FailedPrecondition
            | Self::Aborted
            | Self::OutOfRange
            | Self::Unimplemented
            | Self::Unauthenticated => false,
        }
    }

    /// The code of a `grpc-status` header. What cannot be read is `UNKNOWN`, as the protocol says.
    pub(crate) fn from_header(value: &[u8]) -> Self {
        std::str::from_utf8(value)
            .ok()
            .and_then(|text| text.parse().ok())
            .and_then(Self::from_number)
            .unwrap_or(Self::Unknown)
    }

    /// The code of an HTTP answer that carries no `grpc-status`
    /// (grpc/grpc `doc/http-grpc-status-mapping.md`). 431 is not in that table; HTTP/2 servers answer it
    /// to metadata that is too long for them.
    pub(crate) fn from_http(status: http::StatusCode) -> Self {
        match status.as_u16() {
            400 => Self::Internal,
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            404 => Self::Unimplemented,
            431 => Self::ResourceExhausted,
            429 | 502 | 503 | 504 => Self::Unavailable,
            _ => Self::Unknown,
        }
    }
}

/// A set of status codes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CodeSet(u32);

impl CodeSet {
    /// Whether the set holds `code`.
    pub fn contains(self, code: Code) -> bool {
        self.0 & (1 << code as u8) != 0
    }

    /// Whether the set holds nothing.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Code> for CodeSet {
    fn from_iter<I: IntoIterator<Item = Code>>(codes: I) -> Self {
        Self(codes.into_iter().fold(0, |set, code| set | 1 << code as u8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_names_and_cases_agree() {
        for (index, (code, name)) in NAMES.iter().enumerate() {
            assert_eq!(*code as usize, index);
            assert_eq!(Code::from_name(&name.to_lowercase()), Some(*code));
            assert_eq!(Code::from_header(index.to_string().as_bytes()), *code);
        }
        assert_eq!(Code::from_header(b"17"), Code::Unknown);
        assert_eq!(Code::from_header(b"\xff"), Code::Unknown);
    }

    #[test]
    fn a_set_holds_what_it_was_made_of() {
        let set = CodeSet::from_iter([Code::Unavailable, Code::Ok]);
        assert!(set.contains(Code::Unavailable) && set.contains(Code::Ok));
        assert!(!set.contains(Code::Internal) && !set.is_empty());
    }
}
