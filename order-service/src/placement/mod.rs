//! Placing an order: one key, one order, however many ask at once.
//!
//! [`Placement::place`] is what a caller waits for; the work itself is a `flight`, a task of its own that nobody's
//! leaving can stop. Of all callers with one key in this process one flight reaches the database; the others wait for
//! it or are refused, as each asked. The steps T0 to T6 are in `flight.rs`.

mod board;
mod flight;

use std::{sync::Arc, time::Duration};

use proto::{Currency, id::ProductId};
use server::TooMuch;
use thiserror::Error;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::{
    accounts::Accounts,
    desk::{Desk, Trouble},
    guard::Guard,
    ledger_link::LedgerLink,
    order::{
        Notice, Order,
        key::{Decided, Outcome},
        request::{Request, Unpriced},
    },
    storage::Overdue,
};
use board::{Board, Full, Seat};
use flight::{Flight, Landing};

/// Flights in this process at once; one more request is refused.
const FLIGHTS_MAX: usize = 20_000;

/// How often a waiting REPLAY looks at a key that another process works on: soon at first, then less often.
const LOOK_FIRST: Duration = Duration::from_millis(5);
const LOOK_SELDOM: Duration = Duration::from_millis(250);

/// What must be left of the caller's deadline for an answer to reach it.
const ANSWER_MARGIN: Duration = Duration::from_millis(250);

/// What a duplicate gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDuplicate {
    /// What the first request was answered.
    Replay,
    /// E301 or E302.
    Reject,
}

/// An order that is placed, now or before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The order as it was placed, whatever became of it since.
    pub order: Order,
    /// Whether an earlier request placed it.
    pub replayed: bool,
}

/// Why an order is not placed, or not by this request.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlaceError {
    /// E301, for who asked to be refused. A REPLAY waits, and its wait ends as [`Self::OutcomeUnknown`].
    #[error("a request with this idempotency key is being processed")]
    InProgress,
    /// E302.
    #[error("the order of this idempotency key is placed already")]
    AlreadyPlaced {
        /// The order.
        order_id: Uuid,
    },
    /// E303.
    #[error("the payment was declined: {cause}")]
    Declined {
        /// The account service's reason.
        cause: String,
    },
    /// E305.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// E306.
    #[error("product {product} has too little stock")]
    OutOfStock {
        /// Which.
        product: ProductId,
    },
    /// The catalogue does not have it.
    #[error("there is no product {product}")]
    UnknownProduct {
        /// Which.
        product: ProductId,
    },
    /// The sum of the lines is beyond what money can be.
    #[error("the lines cost more than 100000000000000 in all")]
    TooLarge,
    /// The account service was not reached yet, or works on another ledger. Nothing was done.
    #[error("the account service cannot be asked now")]
    NoLedger,
    /// A product is in another currency than others of the lines.
    #[error("the lines are in different currencies")]
    MixedCurrencies {
        /// Which.
        product: ProductId,
    },
    /// The request named another currency than that of the lines.
    #[error("the lines are in {currency}")]
    OtherCurrency {
        /// What they are in.
        currency: Currency,
    },
    /// More decimal places than the currency has.
    #[error("the order costs an amount with more decimal places than {currency} has")]
    TooFine {
        /// What it is in.
        currency: Currency,
    },
    /// The account service did not say, or the database did not, or the first request not within this one's deadline.
    #[error("the outcome is not known yet; the same request again finds out")]
    OutcomeUnknown,
    /// The desk could not take it.
    #[error(transparent)]
    Trouble(#[from] Trouble),
}

/// Places orders. Cheap to clone.
#[derive(Clone)]
pub struct Placement {
    parts: Arc<Parts>,
    board: Board,
    tasks: TaskTracker,
    leaving: CancellationToken,
}

/// What flights need.
pub struct Parts {
    /// The database.
    pub desk: Desk,
    /// A first look at Redis.
    pub guard: Guard,
    /// The account service.
    pub accounts: Accounts,
    /// Which ledger the account service works on.
    pub link: LedgerLink,
    /// From which age on a refusal of the ledger is older than any claim: see [`crate::order::standing::outlives`].
    pub outlives: time::Duration,
    /// Where notices go that this process has leased.
    pub notices: mpsc::Sender<Notice>,
    /// Where ids come from.
    pub new_id: fn() -> Uuid,
}

impl Placement {
    /// Places orders with these parts.
    pub fn new(parts: Parts) -> Self {
        Self {
            parts: Arc::new(parts),
            board: Board::new(FLIGHTS_MAX),
            tasks: TaskTracker::new(),
            leaving: CancellationToken::new(),
        }
    }

    /// Places an order, or says what came of an earlier request with its key.
    ///
    /// Dropping the wait stops nothing that has begun.
    pub async fn place(
        &self,
        request: Request,
        on_duplicate: OnDuplicate,
        deadline: Instant,
    ) -> Result<Placed, PlaceError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let answer_by = deadline - ANSWER_MARGIN.min(left / 4);
        let request = Arc::new(request);

        let mut pause = LOOK_FIRST;
        loop {
            let mut seat = self.board(&request)?;
            let first = seat.is_pilot();
            if !first && on_duplicate == OnDuplicate::Reject {
                // Until it is known whose the key is, the answer may still be E302 or E305.
                match timeout_at(answer_by, seat.is_working()).await {
                    Ok(true) => return Err(duplicate("E301", PlaceError::InProgress)),
                    Ok(false) => {}
                    Err(_) => return Err(PlaceError::OutcomeUnknown),
                }
            }
            let waited = timeout_at(answer_by, seat.landed()).await;
            match waited.as_deref() {
                Ok(Landing::Running) if on_duplicate == OnDuplicate::Replay => {}
                Ok(landing) => return answer(landing, first, on_duplicate),
                Err(_) if first => return Err(PlaceError::OutcomeUnknown),
                Err(_) => return Err(unanswered()),
            }

            tokio::select! {
                biased;
                () = self.leaving.cancelled() => return Err(PlaceError::OutcomeUnknown),
                () = sleep_until(answer_by) => return Err(unanswered()),
                () = sleep(pause) => {}
            }
            pause = (pause * 2).min(LOOK_SELDOM);
        }
    }

    /// Drives a key on whose worker is gone, without waiting for it; `place` is dropped when it has landed. Answers false
    /// and does nothing when this process works on it already, or has no room for one more flight: the key stays overdue.
    pub fn resume(&self, overdue: Overdue, place: impl Send + 'static) -> bool {
        let request = Arc::clone(&overdue.row.claim.request);
        let mut flies = false;
        let _full_is_false_too = self.seat(&request, |flight| {
            flies = true;
            async move {
                let landing = flight.resume(overdue).await;
                drop(place);
                landing
            }
        });
        tracing::debug!(flies, "a key that was left behind");
        flies
    }

    /// Whether the ledger that pays for these orders may be asked.
    pub fn has_ledger(&self) -> bool {
        self.parts.link.ledger().is_ok()
    }

    /// From now on nobody waits here for another process: a lease may last longer than this process has left. Such
    /// callers are told that the outcome is not known, and ask another process.
    pub fn send_away(&self) {
        self.leaving.cancel();
    }

    /// Waits until no flight is under way, at most until `until`. Answers how many are left.
    pub async fn finish(&self, until: Instant) -> usize {
        self.tasks.close();
        let _ = timeout_at(until, self.tasks.wait()).await;
        self.tasks.len()
    }

    fn board(&self, request: &Arc<Request>) -> Result<Seat, Trouble> {
        let wanted = Arc::clone(request);
        self.seat(request, |flight| flight.place(wanted)).map_err(|Full| Trouble::Full)
    }

    fn seat<F: Future<Output = Landing> + Send + 'static>(
        &self,
        request: &Request,
        fly: impl FnOnce(Flight) -> F,
    ) -> Result<Seat, Full> {
        // A flight outlives the call that began it, and counts for its caller as long as it is under way.
        let hold = server::hold(1).map_err(|TooMuch| Full)?;
        let key = (request.account, request.key.clone(), request.digest(), request.currency);
        self.board.seat(key, |signals| {
            let flight = Flight::new(Arc::clone(&self.parts), signals.clone());
            let flight = fly(flight);
            self.tasks.spawn(async move {
                signals.land(flight.await);
                drop(hold);
            });
        })
    }
}

impl From<Unpriced> for PlaceError {
    fn from(unpriced: Unpriced) -> Self {
        match unpriced {
            Unpriced::UnknownProduct(product) => Self::UnknownProduct { product },
            Unpriced::TooLarge => Self::TooLarge,
            Unpriced::MixedCurrencies(product) => Self::MixedCurrencies { product },
            Unpriced::OtherCurrency(currency) => Self::OtherCurrency { currency },
            Unpriced::TooFine(currency) => Self::TooFine { currency },
        }
    }
}

/// What one caller is told of a landing.
fn answer(landing: &Landing, first: bool, on_duplicate: OnDuplicate) -> Result<Placed, PlaceError> {
    let (claim, Decided { outcome, at }, fresh) = match landing {
        Landing::Decided { claim, decided, fresh } => (claim, decided, *fresh && first),
        Landing::Running => return Err(duplicate("E301", PlaceError::InProgress)),
        Landing::Reused => return Err(duplicate("E305", PlaceError::KeyReused)),
        Landing::Unpriced(unpriced) => return Err((*unpriced).into()),
        Landing::NoLedger => return Err(PlaceError::NoLedger),
        Landing::Unknown => return Err(PlaceError::OutcomeUnknown),
        Landing::Trouble(trouble) => return Err((*trouble).into()),
    };
    match outcome {
        Outcome::Declined { cause } => Err(PlaceError::Declined { cause: cause.clone() }),
        Outcome::OutOfStock { product_id } => Err(PlaceError::OutOfStock { product: *product_id }),
        Outcome::Placed { payment_id } => {
            let order = claim.order(*payment_id, *at);
            if !fresh && on_duplicate == OnDuplicate::Reject {
                let order_id = order.order_id;
                return Err(duplicate("E302", PlaceError::AlreadyPlaced { order_id }));
            }
            if !fresh {
                metrics::counter!("order_duplicates_total", "answer" => "replay").increment(1);
            }
            Ok(Placed { order, replayed: !fresh })
        }
    }
}

/// A REPLAY whose wait for the first request, or for the take-over of its key, ended first. It is the request that the key
/// stands for, so sending it again is right: the code is one that usual retry policies retry, which ABORTED (E301) is not.
fn unanswered() -> PlaceError {
    duplicate("unanswered", PlaceError::OutcomeUnknown)
}

/// Counts a duplicate (B10).
fn duplicate(code: &'static str, error: PlaceError) -> PlaceError {
    metrics::counter!("order_duplicates_total", "answer" => code).increment(1);
    error
}
