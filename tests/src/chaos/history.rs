//! What clients asked and were told, in the order in which they were told.

use std::fmt;

use serde::Serialize;

/// One call and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Operation {
    /// When it was sent, since the run began.
    pub sent_us: u64,
    /// When its answer came, or was given up.
    pub answered_us: u64,
    /// Which pod was called.
    pub pod: usize,
    /// What was asked.
    pub call: Call,
    /// What was told.
    pub answer: Answer,
}

/// A call. All but reads write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Call {
    /// An order by key. Bodies with the same number are equal.
    Place {
        /// Whose.
        account: i64,
        /// By which key.
        key: String,
        /// What for.
        body: Body,
        /// Whether a duplicate wants to be refused.
        reject: bool,
    },
    /// A cancel of an order that was placed.
    Cancel {
        /// Whose.
        account: i64,
        /// Which.
        order_id: String,
    },
    /// A Reserve at the account service, not for an order.
    Reserve {
        /// Whose money.
        account: i64,
        /// Under which id.
        reserve_id: String,
        /// What it is said to be for; perhaps an order of somebody else's.
        order_id: String,
        /// In units of 10^-4.
        units: i64,
    },
    /// A Release of the same kind.
    Release {
        /// Whose money.
        account: i64,
        /// Under which id.
        reserve_id: String,
    },
    /// A deposit.
    Deposit {
        /// Whose money.
        account: i64,
        /// Under which id.
        deposit_id: String,
        /// In units of 10^-4.
        units: i64,
    },
    /// A Refund at the account service of a part of what an order cost.
    Refund {
        /// Whose money.
        account: i64,
        /// Of which order.
        order_id: String,
        /// Under which id.
        refund_id: String,
        /// In units of 10^-4.
        units: i64,
    },
    /// The same question by several callers at once. One refusal is the answer of all.
    Read(Read),
}

/// What is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Read {
    /// An order that its caller was told of.
    Order {
        /// Whose.
        account: i64,
        /// Which.
        order_id: String,
    },
    /// The payment of such an order.
    Payment {
        /// Whose.
        account: i64,
        /// Of which order.
        order_id: String,
    },
    /// A product.
    Product(i64),
}

/// What an order is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Body {
    /// An amount, in units of 10^-4.
    Amount(i64),
    /// So many pieces of a product.
    Pieces(i64, i64),
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Answer {
    /// The order is placed.
    Placed {
        /// Its id.
        order_id: String,
        /// Its payment's.
        payment_id: String,
        /// In units of 10^-4.
        units: i64,
        /// By an earlier request.
        replayed: bool,
    },
    /// Done (of anything but an order).
    Done,
    /// A definite no: the reason, and what it names (an order of E302, a cause of E303).
    Refused {
        /// A name of `proto::Reason`.
        reason: String,
        /// `order_id` or `cause`.
        detail: String,
    },
    /// Nobody knows whether it was done; the code.
    Unknown(String),
}

impl Answer {
    /// The reason of a refusal.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Refused { reason, .. } => Some(reason),
            Self::Placed { .. } | Self::Done | Self::Unknown(_) => None,
        }
    }

    /// The order that it says exists.
    #[must_use]
    pub fn order_id(&self) -> Option<&str> {
        match self {
            Self::Placed { order_id, .. } => Some(order_id),
            Self::Refused { reason, detail } if reason == "PAYMENT_ALREADY_PROCESSED" => {
                Some(detail)
            }
            Self::Refused { .. } | Self::Done | Self::Unknown(_) => None,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent_us, answered_us, pod, call, answer } = self;
        write!(f, "{sent_us}..{answered_us} us, pod {pod}: {call:?} -> {answer:?}")
    }
}
