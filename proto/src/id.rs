//! Ids, each its own type, so that a reservation's id cannot be passed where an order's is meant.

use std::{fmt, sync::Arc};

use thiserror::Error;

/// The longest id a caller may choose, in characters.
pub const MAX_LENGTH: usize = 128;

/// Why something is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum IdError {
    /// Zero or negative, where a number names it.
    #[error("must be greater than zero")]
    NotPositive,
    /// Nothing was given.
    #[error("must not be empty")]
    Empty,
    /// More than [`MAX_LENGTH`] characters.
    #[error("must have at most 128 characters")]
    TooLong,
    /// Control characters, or anything beyond ASCII.
    #[error("must contain printable ASCII characters only")]
    NotPrintable,
}

/// Who asked for a change: the id of a caller as it was authenticated, such as a SPIFFE id. No caller chooses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor(Arc<str>);

impl Actor {
    /// An id that authentication accepted.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(i64);

        impl $name {
            /// Takes a number greater than zero.
            pub fn new(value: i64) -> Result<Self, IdError> {
                if value > 0 { Ok(Self(value)) } else { Err(IdError::NotPositive) }
            }

            /// The number.
            pub fn get(self) -> i64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(Box<str>);

        impl $name {
            /// Takes 1 to 128 printable ASCII characters.
            pub fn new(text: impl Into<Box<str>>) -> Result<Self, IdError> {
                let text = text.into();
                check(&text)?;
                Ok(Self(text))
            }

            /// The characters.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id! {
    /// An account. It is the shard key: every row about money is found by it first.
    AccountId
}
number_id! {
    /// A product of the catalogue.
    ProductId
}
text_id! {
    /// A reservation, unique within its account, chosen by the caller.
    ReserveId
}
text_id! {
    /// An order as the account service knows it: text that it stores and compares, nothing more.
    OrderRef
}
text_id! {
    /// A deposit, unique within its account, chosen by the caller.
    DepositId
}
text_id! {
    /// A refund, unique within its reservation, chosen by the caller.
    RefundId
}
text_id! {
    /// What makes a PlaceOrder idempotent, unique within its account, chosen by the caller.
    IdempotencyKey
}
text_id! {
    /// A stock adjustment, unique within its product, chosen by the caller.
    AdjustmentId
}

fn check(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        Err(IdError::Empty)
    } else if !text.bytes().all(|b| (0x20..=0x7e).contains(&b)) {
        Err(IdError::NotPrintable)
    } else if text.len() > MAX_LENGTH {
        Err(IdError::TooLong)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_one_to_128_printable_ascii_characters() {
        assert_eq!(ReserveId::new(""), Err(IdError::Empty));
        assert_eq!(ReserveId::new("a\nb"), Err(IdError::NotPrintable));
        assert_eq!(ReserveId::new("a\u{7f}"), Err(IdError::NotPrintable));
        assert_eq!(ReserveId::new("é"), Err(IdError::NotPrintable));
        assert_eq!(ReserveId::new("x".repeat(129)), Err(IdError::TooLong));
        assert!(ReserveId::new("x".repeat(128)).is_ok());
        assert!(ReserveId::new("a key ~!").is_ok());
    }

    #[test]
    fn numbers_that_name_something_are_positive() {
        assert_eq!(AccountId::new(0), Err(IdError::NotPositive));
        assert_eq!(AccountId::new(i64::MIN), Err(IdError::NotPositive));
        assert_eq!(AccountId::new(i64::MAX).map(AccountId::get), Ok(i64::MAX));
    }
}
