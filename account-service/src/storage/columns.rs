//! How values lie in columns: NUMERIC(19,4) and timestamptz on PostgreSQL, integers on SQLite (units of 10^-4,
//! microseconds since 1970), names for states.
//!
//! A stored value that nobody here can have written is an error of the read, never a guess.

use proto::{Currency, Money};
use rust_decimal::Decimal;
use sqlx::{Decode, Postgres, Sqlite, Type, error::BoxDynError};
use time::OffsetDateTime;

use crate::ledger::{Decline, EntryKind, State};

/// An amount in its column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Amount(pub(super) Money);

/// An instant in its column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Instant(pub(super) OffsetDateTime);

impl Type<Postgres> for Amount {
    fn type_info() -> sqlx::postgres::PgTypeInfo {
        <Decimal as Type<Postgres>>::type_info()
    }
}

impl<'r> Decode<'r, Postgres> for Amount {
    fn decode(value: sqlx::postgres::PgValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(Self(Money::from_decimal(<Decimal as Decode<Postgres>>::decode(value)?)?))
    }
}

impl Type<Sqlite> for Amount {
    fn type_info() -> sqlx::sqlite::SqliteTypeInfo {
        <i64 as Type<Sqlite>>::type_info()
    }

    fn compatible(ty: &sqlx::sqlite::SqliteTypeInfo) -> bool {
        <i64 as Type<Sqlite>>::compatible(ty)
    }
}

impl<'r> Decode<'r, Sqlite> for Amount {
    fn decode(value: sqlx::sqlite::SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(Self(Money::from_units(<i64 as Decode<Sqlite>>::decode(value)?)?))
    }
}

impl Type<Postgres> for Instant {
    fn type_info() -> sqlx::postgres::PgTypeInfo {
        <OffsetDateTime as Type<Postgres>>::type_info()
    }
}

impl<'r> Decode<'r, Postgres> for Instant {
    fn decode(value: sqlx::postgres::PgValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(Self(<OffsetDateTime as Decode<Postgres>>::decode(value)?))
    }
}

impl Type<Sqlite> for Instant {
    fn type_info() -> sqlx::sqlite::SqliteTypeInfo {
        <i64 as Type<Sqlite>>::type_info()
    }

    fn compatible(ty: &sqlx::sqlite::SqliteTypeInfo) -> bool {
        <i64 as Type<Sqlite>>::compatible(ty)
    }
}

impl<'r> Decode<'r, Sqlite> for Instant {
    fn decode(value: sqlx::sqlite::SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(Self(instant(<i64 as Decode<Sqlite>>::decode(value)?)?))
    }
}

/// Microseconds since 1970, as SQLite keeps an instant.
pub(super) fn micros(instant: OffsetDateTime) -> i64 {
    i64::try_from(instant.unix_timestamp_nanos() / 1000).expect("years up to 9999 fit in an i64")
}

/// The instant of a count of microseconds since 1970.
fn instant(micros: i64) -> Result<OffsetDateTime, time::error::ComponentRange> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000)
}

/// The columns `state`, `decline` and `cause`.
pub(super) type StateNames<'a> = (&'a str, Option<&'a str>, Option<&'a str>);

/// `decline` is one of the two that the first version knows, so that it reads every row; `cause` is exact where it
/// differs.
pub(super) fn state_names(state: State) -> StateNames<'static> {
    let decline = match state {
        State::Held => return ("HELD", None, None),
        State::Captured => return ("CAPTURED", None, None),
        State::Released => return ("RELEASED", None, None),
        State::Expired => return ("EXPIRED", None, None),
        State::Declined(decline) => decline,
    };
    let (decline, cause) = match decline {
        Decline::InsufficientFunds => ("INSUFFICIENT_FUNDS", None),
        Decline::AccountNotFound => ("ACCOUNT_NOT_FOUND", None),
        Decline::CurrencyMismatch => ("INSUFFICIENT_FUNDS", Some("CURRENCY_MISMATCH")),
        Decline::AmountPrecision => ("INSUFFICIENT_FUNDS", Some("AMOUNT_PRECISION")),
    };
    ("DECLINED", Some(decline), cause)
}

/// The state of these columns. A cause that a later version wrote is left at what `decline` says.
pub(super) fn state(names: StateNames<'_>) -> sqlx::Result<State> {
    let states = [
        State::Held,
        State::Captured,
        State::Released,
        State::Expired,
        State::Declined(Decline::InsufficientFunds),
        State::Declined(Decline::AccountNotFound),
        State::Declined(Decline::CurrencyMismatch),
        State::Declined(Decline::AmountPrecision),
    ];
    let (state, decline, _) = names;
    let named = |names| states.into_iter().find(|known| state_names(*known) == names);
    named(names).or_else(|| named((state, decline, None))).ok_or_else(|| unknown("state", state))
}

/// The column `kind`.
pub(super) fn kind_name(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::Opening => "OPENING",
        EntryKind::Deposit => "DEPOSIT",
        EntryKind::Capture => "CAPTURE",
        EntryKind::Refund => "REFUND",
    }
}

/// The kind of the column `kind`.
pub(super) fn kind(name: &str) -> sqlx::Result<EntryKind> {
    let found = EntryKind::ALL.into_iter().find(|kind| kind_name(*kind) == name);
    found.ok_or_else(|| unknown("kind", name))
}

/// The currency of the column `currency`.
pub(super) fn currency(code: &str) -> sqlx::Result<Currency> {
    code.parse().map_err(|_| unknown("currency", code))
}

/// A value of another shape than anything that is ever written.
pub(super) fn damaged(error: impl Into<BoxDynError>) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}

fn unknown(column: &str, value: &str) -> sqlx::Error {
    damaged(format!("unknown {column} {value:?}"))
}
