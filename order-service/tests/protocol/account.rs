//! The account service: one account, a reservation for each order id. One order costs one.
//!
//! Mirrors `account-service/src/ledger/holds.rs` (`reserve`, `capture`, `release`), which this service must not link.
//! Holds do not expire here: theirs is a week, far beyond the time after which an undecided key is given up.

use proto::Reason;

use super::{Guards, ORDERS};

/// The account and its reservations, by order id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Account {
    pub(crate) available: u8,
    pub(crate) reservations: [Reservation; ORDERS],
}

/// A reservation, and what the properties need to know of its past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Reservation {
    pub(crate) state: State,
    /// It was declined, released, or released before it was made.
    pub(crate) refused: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum State {
    #[default]
    Absent,
    Held,
    Captured,
    Released {
        /// Before it was reserved.
        tombstone: bool,
    },
    Declined,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Reply {
    Done,
    Refused(Reason),
}

impl Account {
    pub(crate) fn new(available: u8) -> Self {
        Self { available, reservations: Default::default() }
    }

    pub(crate) fn reserve(&mut self, order_id: u8, guards: &Guards) -> Reply {
        let reservation = &mut self.reservations[usize::from(order_id)];
        match reservation.state {
            State::Absent if self.available > 0 => {
                self.available -= 1;
                reservation.state = State::Held;
                Reply::Done
            }
            State::Absent => {
                reservation.refused = true;
                if guards.declines_are_stored {
                    reservation.state = State::Declined;
                }
                Reply::Refused(Reason::InsufficientFunds)
            }
            State::Held | State::Captured => Reply::Done,
            State::Released { .. } => Reply::Refused(Reason::ReservationReleased),
            State::Declined => Reply::Refused(Reason::InsufficientFunds),
        }
    }

    pub(crate) fn capture(&mut self, order_id: u8) -> Reply {
        let reservation = &mut self.reservations[usize::from(order_id)];
        match reservation.state {
            State::Held => {
                reservation.state = State::Captured;
                Reply::Done
            }
            State::Captured => Reply::Done,
            State::Absent => Reply::Refused(Reason::ReservationNotFound),
            State::Released { .. } => Reply::Refused(Reason::ReservationReleased),
            State::Declined => Reply::Refused(Reason::ReservationDeclined),
        }
    }

    pub(crate) fn release(&mut self, order_id: u8, guards: &Guards) -> Reply {
        let reservation = &mut self.reservations[usize::from(order_id)];
        match reservation.state {
            State::Captured => return Reply::Refused(Reason::ReservationCaptured),
            State::Held => {
                self.available += 1;
                reservation.state = State::Released { tombstone: false };
            }
            State::Absent if guards.releases_leave_tombstones => {
                reservation.state = State::Released { tombstone: true };
            }
            State::Absent | State::Released { .. } | State::Declined => {}
        }
        reservation.refused = true;
        Reply::Done
    }
}
