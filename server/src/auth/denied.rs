//! Refusals: UNAUTHENTICATED where the caller is not known, PERMISSION_DENIED where it may not.
//!
//! Both are decided before anything is looked up, so neither says whether what was asked for exists. The caller is told
//! which right it lacks, as it is no secret; why a token was not believed it is told in one of three words (RFC 6750),
//! and the log in more.

use std::collections::HashMap;

use thiserror::Error;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::certificate::NamelessError;
use super::checks::PERIOD;
use super::forwarded::NobodyForwarded;
use super::jwt::TokenError;
use super::right::Right;

/// Why a call is refused before its handler.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum Denied {
    #[error("the call carries no credential")]
    NoCredential,
    #[error("the authorization header must be one bearer token")]
    NotBearer,
    #[error("the token is not valid: {0}")]
    Token(#[from] TokenError),
    #[error(transparent)]
    Certificate(#[from] NamelessError),
    #[error(transparent)]
    Forwarded(#[from] NobodyForwarded),
    #[error("the trusted header names another caller than the certificate of the connection")]
    Conflict,
    #[error("the caller needs the right {0}")]
    Right(Right),
    #[error("the caller needs the right {own} or {any}")]
    Owner { own: Right, any: Right },
    #[error("nobody may call this method")]
    NoRule,
    #[error("there is no such method")]
    NoMethod,
    #[error("too many calls with forged tokens come from there")]
    TooManyInVain,
}

impl Denied {
    pub(crate) fn status(self, domain: &str) -> Status {
        match self {
            Self::NoCredential
            | Self::NotBearer
            | Self::Token(_)
            | Self::Certificate(_)
            | Self::Forwarded(_)
            | Self::Conflict => self.unauthenticated(domain),
            Self::Right(_) | Self::Owner { .. } | Self::NoRule => {
                let reason = ErrorDetails::with_error_info(
                    "PERMISSION_DENIED",
                    domain,
                    HashMap::<String, String>::new(),
                );
                Status::with_error_details(Code::PermissionDenied, self.to_string(), reason)
            }
            Self::NoMethod => Status::unimplemented(""),
            Self::TooManyInVain => self.later(),
        }
    }

    fn unauthenticated(self, domain: &str) -> Status {
        let reason = ErrorDetails::with_error_info(
            "UNAUTHENTICATED",
            domain,
            HashMap::<String, String>::new(),
        );
        let mut status = Status::with_error_details(Code::Unauthenticated, self.told(), reason);
        let is_bad_token = matches!(self, Self::Token(_) | Self::NotBearer);
        let challenge = if is_bad_token { r#"Bearer error="invalid_token""# } else { "Bearer" };
        status.metadata_mut().insert("www-authenticate", MetadataValue::from_static(challenge));
        status
    }

    /// Its token may be good: it was not looked at, and the same call may come again.
    fn later(self) -> Status {
        let mut status = Status::resource_exhausted(self.to_string());
        let pushback_ms = u64::try_from(PERIOD.as_millis()).unwrap_or(u64::MAX);
        status.metadata_mut().insert("grpc-retry-pushback-ms", MetadataValue::from(pushback_ms));
        status
    }

    /// What the caller is told. A token's time is named, since its bearer can do something about it.
    fn told(self) -> String {
        let is_untimely = matches!(self, Self::Token(TokenError::Expired | TokenError::Early));
        if matches!(self, Self::Token(_)) && !is_untimely {
            return "the token is not valid".to_owned();
        }
        self.to_string()
    }
}
