//! What the two books say about one order. Plain data.

use std::time::Duration;

use proto::Money;
use uuid::Uuid;

use crate::origin::Origin;

/// An order, or a reservation by an order's id. Ordered as both databases order them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// The account whose money it is.
    pub account: i64,
    /// The order's id, and its reservation's.
    pub id: Uuid,
}

/// A row, and how old it is by the clock of the database that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aged<T> {
    /// What it says.
    pub row: T,
    /// Time since it was written first.
    pub age: Duration,
}

/// An order, as the order service has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// What it costs.
    pub amount: Money,
    /// Whether it was cancelled.
    pub cancelled: bool,
}

/// A reservation, as the account service has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Where it stands.
    pub state: State,
    /// What was asked for.
    pub amount: Money,
    /// What was taken.
    pub captured: Money,
    /// What was given back of it.
    pub refunded: Money,
    /// Whether this pair gave all of it back: a cancellation did, or a repair.
    pub returned: bool,
    /// Who made it.
    pub origin: Origin,
}

/// The states of a reservation; only [`State::Held`] moves on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The money is held.
    Held,
    /// It was taken.
    Captured,
    /// It was given back before it was taken.
    Released,
    /// Its time was over.
    Expired,
    /// It was never held.
    Declined,
}

/// An outbox row: what the account service must still be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What.
    pub action: Told,
    /// Whether the account service has refused it.
    pub refused: bool,
}

/// What an outbox row asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Take what is held.
    Capture,
    /// Give back what is held.
    Release,
    /// Give back what was taken.
    Refund,
}

/// Everything that both books say about one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Which order.
    pub name: Name,
    /// In the order service's book.
    pub order: Option<Aged<Order>>,
    /// In the account service's book.
    pub reservation: Option<Aged<Reservation>>,
    /// Its rows in the outbox.
    pub waiting: Vec<Aged<Notice>>,
    /// Its settlements that were given up by hand.
    pub resolved: Vec<Told>,
    /// Whether a key of this order is claimed and not decided yet.
    pub undecided: bool,
}

impl Reservation {
    /// What was taken and not given back.
    #[must_use]
    pub fn left(&self) -> Money {
        self.captured.checked_sub(self.refunded).unwrap_or(Money::ZERO)
    }
}

impl State {
    /// As the account service's table has it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "HELD" => Some(Self::Held),
            "CAPTURED" => Some(Self::Captured),
            "RELEASED" => Some(Self::Released),
            "EXPIRED" => Some(Self::Expired),
            "DECLINED" => Some(Self::Declined),
            _ => None,
        }
    }

    /// For sentences.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Captured => "captured",
            Self::Released => "released",
            Self::Expired => "expired",
            Self::Declined => "declined",
        }
    }
}

impl Told {
    /// As the order service's table has it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "CAPTURE" => Some(Self::Capture),
            "RELEASE" => Some(Self::Release),
            "REFUND" => Some(Self::Refund),
            _ => None,
        }
    }
}

impl Case {
    /// A name of which neither book says anything.
    #[must_use]
    pub fn unknown(name: Name) -> Self {
        let (waiting, resolved) = (Vec::new(), Vec::new());
        Self { name, order: None, reservation: None, waiting, resolved, undecided: false }
    }

    /// How long the pair has had this order: since it was placed, else since its money was reserved.
    #[must_use]
    pub fn age(&self) -> Duration {
        let order = self.order.as_ref().map(|order| order.age);
        order.or(self.reservation.as_ref().map(|held| held.age)).unwrap_or_default()
    }

    /// Whether both say the same, whatever their ages.
    pub(crate) fn same_rows(&self, other: &Self) -> bool {
        let notices =
            |case: &Self| case.waiting.iter().map(|notice| notice.row.clone()).collect::<Vec<_>>();
        self.order.as_ref().map(|it| &it.row) == other.order.as_ref().map(|it| &it.row)
            && self.reservation.as_ref().map(|it| &it.row)
                == other.reservation.as_ref().map(|it| &it.row)
            && notices(self) == notices(other)
            && self.resolved == other.resolved
            && self.undecided == other.undecided
    }
}

/// Cases in few words, for tests of the rules and of the plan.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    pub(crate) const NAME: Name =
        Name { account: 1, id: Uuid::from_u128(0x01932c07_209c_7000_8000_000000000001) };

    pub(crate) fn money(text: &str) -> Money {
        Money::parse_or_zero(text).unwrap()
    }

    pub(crate) fn without_order() -> Case {
        Case::unknown(NAME)
    }

    pub(crate) fn ordered(amount: &str) -> Case {
        let row = Order { amount: money(amount), cancelled: false };
        Case { order: Some(Aged { row, age: Duration::from_secs(600) }), ..without_order() }
    }

    pub(crate) fn held(amount: &str) -> Reservation {
        let (state, amount, origin) = (State::Held, money(amount), Origin::Perhaps);
        let nothing = Money::ZERO;
        Reservation { state, amount, captured: nothing, refunded: nothing, returned: false, origin }
    }

    pub(crate) fn captured(captured: &str, refunded: &str) -> Reservation {
        let (amount, refunded) = (money(captured), money(refunded));
        Reservation { captured: amount, refunded, ..held(captured).state(State::Captured) }
    }

    /// All of a case's rows wait for this long, or were refused.
    pub(crate) fn waiting(mut case: Case, age: Duration, refused: bool) -> Case {
        for notice in &mut case.waiting {
            (notice.age, notice.row.refused) = (age, refused);
        }
        case
    }

    impl Reservation {
        pub(crate) fn state(self, state: State) -> Self {
            Self { state, ..self }
        }

        pub(crate) fn origin(self, origin: Origin) -> Self {
            Self { origin, ..self }
        }

        pub(crate) fn returned(self) -> Self {
            Self { returned: true, ..self }
        }
    }

    impl Case {
        pub(crate) fn on(self, row: Reservation) -> Self {
            let age = Duration::from_secs(600);
            Self { reservation: Some(Aged { row, age }), ..self }
        }

        pub(crate) fn cancelled(mut self) -> Self {
            self.order.as_mut().unwrap().row.cancelled = true;
            self
        }

        pub(crate) fn waits(mut self, action: Told) -> Self {
            let row = Notice { action, refused: false };
            self.waiting.push(Aged { row, age: Duration::ZERO });
            self
        }

        pub(crate) fn resolved(mut self, action: Told) -> Self {
            self.resolved.push(action);
            self
        }

        pub(crate) fn undecided(self) -> Self {
            Self { undecided: true, ..self }
        }
    }
}
