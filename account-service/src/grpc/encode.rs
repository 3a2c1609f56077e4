//! The ledger's values as messages.

use database::Position;
use prost_types::Timestamp;
use proto::account::v1 as api;
use time::OffsetDateTime;

use crate::{
    ledger::{Account, Entry, EntryKind, Reservation, State},
    storage::Introduced,
};

pub(super) fn account(account: &Account) -> api::Account {
    api::Account {
        account_id: account.account_id.get(),
        currency: account.currency.code().into(),
        balance: account.balance.to_string(),
        reserved: account.reserved.to_string(),
        available: account.available().to_string(),
        created_at: Some(timestamp(account.created_at)),
    }
}

pub(super) fn reservation(reservation: &Reservation) -> api::Reservation {
    api::Reservation {
        account_id: reservation.account_id.get(),
        reserve_id: reservation.reserve_id.to_string(),
        order_id: reservation.order_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        amount: reservation.amount.to_string(),
        captured_amount: reservation.captured.to_string(),
        refunded_amount: reservation.refunded.to_string(),
        state: state(reservation.state).into(),
        created_at: Some(timestamp(reservation.created_at)),
        expires_at: reservation.expires_at.map(timestamp),
    }
}

pub(super) fn introduced(introduced: Introduced) -> api::HandshakeReply {
    api::HandshakeReply {
        ledger: Some(position(introduced.ledger)),
        caller_highest: Some(position(introduced.caller_highest)),
        now: Some(timestamp(introduced.now)),
    }
}

fn position(Position { database_id, epoch, commits }: Position) -> api::Position {
    api::Position { database_id, epoch, commits }
}

pub(super) fn entry(entry: &Entry) -> api::Entry {
    api::Entry {
        sequence: entry.sequence,
        kind: kind(entry.kind).into(),
        amount: entry.amount.to_string(),
        balance: entry.balance.to_string(),
        reference: entry.reference.to_string(),
        order_id: entry.order_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        created_at: Some(timestamp(entry.created_at)),
    }
}

fn state(state: State) -> api::ReservationState {
    match state {
        State::Held => api::ReservationState::Held,
        State::Captured => api::ReservationState::Captured,
        State::Released => api::ReservationState::Released,
        State::Expired => api::ReservationState::Expired,
        State::Declined(_) => api::ReservationState::Declined,
    }
}

fn kind(kind: EntryKind) -> api::EntryKind {
    match kind {
        EntryKind::Opening => api::EntryKind::Opening,
        EntryKind::Deposit => api::EntryKind::Deposit,
        EntryKind::Capture => api::EntryKind::Capture,
        EntryKind::Refund => api::EntryKind::Refund,
    }
}

fn timestamp(instant: OffsetDateTime) -> Timestamp {
    let nanos = i32::try_from(instant.nanosecond()).expect("a second has 10^9 nanoseconds");
    Timestamp { seconds: instant.unix_timestamp(), nanos }
}
