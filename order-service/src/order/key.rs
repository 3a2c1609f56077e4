//! The row behind an idempotency key.
//!
//! A key is claimed once and decided once. Between the two, exactly one worker holds a lease on it; when the lease is
//! over, anybody may take the key over by raising its fence, and from then on the old worker's writes match no row.

use std::sync::Arc;

use proto::{Currency, Money, id::ProductId};
use serde::{Deserialize, Serialize};
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use super::{
    Order,
    request::{Digest, Request},
};

/// The right to work on a key: valid while the fence in the database is this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// What to do.
    pub request: Arc<Request>,
    /// The order's id and the reservation's, the same for every worker of this key.
    pub order_id: Uuid,
    /// The price as it was when the key was claimed.
    pub amount: Money,
    /// What the price is counted in.
    pub currency: Currency,
    /// Drawn at random by the first worker, one more with each takeover. With the order's id it names one claim: ids are
    /// the same for all claims of a key, fences are not.
    pub fence: i32,
    /// Where its row is.
    pub home: Home,
}

/// Where the row of a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Home {
    /// Among the keys, in the partition of this day. SQLite has no partitions: there it is the day of the claim.
    Keys(Date),
    /// It is the order's own row.
    Orders {
        /// When the key was claimed, which is when the order counts as placed.
        claimed_at: OffsetDateTime,
        /// The batch that lists it while it is undecided.
        batch: i64,
    },
}

/// A key row as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// What was claimed, and by which fence it is worked on now.
    pub claim: Claim,
    /// The digest of the request that claimed it.
    pub digest: Digest,
    /// Where it stands.
    pub state: KeyState,
    /// When it was claimed.
    pub created_at: OffsetDateTime,
}

/// Where a key stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyState {
    /// Somebody works on it, or did until the lease was over. The database's clock says which.
    Running {
        /// Nobody holds it any more.
        lease_over: bool,
    },
    /// Decided, for as long as the row lives.
    Decided(Decided),
}

/// How a key was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// What came of it.
    pub outcome: Outcome,
    /// When, by the database's clock.
    pub at: OffsetDateTime,
}

/// What can come of a request. Stored on the key as JSON: names never change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Outcome {
    /// The order was placed.
    Placed {
        /// Its payment.
        payment_id: Uuid,
    },
    /// The account service declined, or the service gave up.
    Declined {
        /// A reason of the account service, or [`GAVE_UP`].
        cause: String,
    },
    /// A product ran out.
    OutOfStock {
        /// Which.
        product_id: ProductId,
    },
}

/// The cause of a decline when the account service could not be reached for too long.
pub const GAVE_UP: &str = "TIMED_OUT";

/// The cause of a decline when the money was given back before the order was placed again.
pub const REFUNDED: &str = "RESERVATION_REFUNDED";

/// What a request that finds its key taken must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Another request used the key: refuse, run nothing.
    Reused,
    /// Answer what was decided.
    Decided(Decided),
    /// It is this very worker's row: an earlier try to claim it went through after all.
    Mine,
    /// Somebody holds it.
    Running,
    /// Nobody holds it any more: take it over.
    LeaseOver,
}

impl KeyRow {
    /// What an order says of the key that placed it, once the row is gone: what the row said. No worker has its fence.
    pub fn of_order(order: &Order) -> Self {
        let request = Arc::new(order.request());
        let digest = request.digest();
        let &Order { order_id, amount, currency, placed_at: at, .. } = order;
        let outcome = Outcome::Placed { payment_id: order.payment_id };
        Self {
            claim: Claim {
                request,
                order_id,
                amount,
                currency,
                fence: 0,
                home: Home::Keys(at.date()),
            },
            digest,
            state: KeyState::Decided(Decided { outcome, at }),
            created_at: at,
        }
    }

    /// Whether this is the request that claimed it: the same account and basket, and no other currency than the one that
    /// was fixed. Lines that name none agree with any.
    pub fn is_of(&self, request: &Request) -> bool {
        let in_currency = |currency| currency == self.claim.currency;
        self.digest == request.digest() && request.currency.is_none_or(in_currency)
    }

    /// Judges the row for a request whose worker would have claimed it under `fence`.
    pub fn judge(&self, request: &Request, fence: i32) -> Finding {
        if !self.is_of(request) {
            return Finding::Reused;
        }
        match &self.state {
            KeyState::Decided(decided) => Finding::Decided(decided.clone()),
            KeyState::Running { .. } if self.claim.fence == fence => Finding::Mine,
            KeyState::Running { lease_over: true } => Finding::LeaseOver,
            KeyState::Running { lease_over: false } => Finding::Running,
        }
    }
}

impl Claim {
    /// The batch that lists it, where its row is the order's.
    pub fn batch(&self) -> Option<i64> {
        match self.home {
            Home::Keys(_) => None,
            Home::Orders { batch, .. } => Some(batch),
        }
    }

    /// The day of the partition that holds its row, where that is among the keys.
    pub fn day(&self) -> Date {
        match self.home {
            Home::Keys(day) => day,
            Home::Orders { claimed_at, .. } => claimed_at.date(),
        }
    }

    /// When its order counts as placed, if that is decided at this time.
    pub fn placed_at(&self, decided_at: OffsetDateTime) -> OffsetDateTime {
        match self.home {
            Home::Keys(_) => decided_at,
            Home::Orders { claimed_at, .. } => claimed_at,
        }
    }

    /// The order as every caller of this key is told it was placed.
    pub fn order(&self, payment_id: Uuid, placed_at: OffsetDateTime) -> Order {
        Order {
            order_id: self.order_id,
            account: self.request.account,
            key: self.request.key.clone(),
            amount: self.amount,
            currency: self.currency,
            basket: self.request.basket.clone(),
            cancelled: false,
            payment_id,
            placed_at,
        }
    }
}

impl Outcome {
    /// Its form in the database.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("an outcome is plain data")
    }

    /// Reads it back.
    pub fn from_json(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }

    /// The key's status with this outcome.
    pub fn status(&self) -> &'static str {
        match self {
            Self::Placed { .. } => "SUCCESS",
            Self::Declined { .. } | Self::OutOfStock { .. } => "FAILED",
        }
    }

    /// The status with this outcome where the key's row is the order's.
    pub fn order_status(&self) -> &'static str {
        match self {
            Self::Placed { .. } => "PLACED",
            Self::Declined { .. } | Self::OutOfStock { .. } => "REFUSED",
        }
    }

    /// The payment that it made.
    pub fn payment_id(&self) -> Option<Uuid> {
        match self {
            Self::Placed { payment_id } => Some(*payment_id),
            Self::Declined { .. } | Self::OutOfStock { .. } => None,
        }
    }

    /// Its form in the database, of a refusal.
    pub fn refusal_json(&self) -> Option<String> {
        self.payment_id().is_none().then(|| self.to_json())
    }
}
