//! One key's way from claimed to decided: steps T0 to T6.
//!
//! - *Locate* (T0, D, T1): claim the key, or find out whose it is, or take it over when nobody holds it any more.
//! - *Reserve* (T2): with no transaction open anywhere.
//! - *Decide* (T3, T3', T4): one transaction, fence first.
//! - *Unknown* (T5, T6): a reservation whose outcome is not known gives the lease back; a commit whose outcome is not
//!   known is read, and only if the key is still ours run again.
//!
//! Bounds: the reservation has its own timeout; every loop here has a written number of rounds. A flight that runs out
//! of them leaves the key to the next request or to the completer, with the same ids.

mod locate;

use std::{mem, sync::Arc, time::Duration};

use failpoint::{Point, draws_ids, reach};
use tokio::time::{Instant, sleep};
use tonic::Status;
use uuid::Uuid;

use super::{Parts, board::Signals};
use crate::{
    accounts::Reserved,
    desk::Trouble,
    order::{
        decision::{Settled, Settlement, Verdict},
        ids::OrderIds,
        key::{Claim, Decided, KeyRow, KeyState, Outcome},
        request::{Request, Unpriced},
        standing::{self, Standing},
    },
    storage::{NewClaim, Overdue},
};
use locate::Located;

/// Times a flight tries to find out whose a key is; each further one means that somebody else just moved it.
const LOCATE_ROUNDS: u32 = 5;
const LOCATE_PAUSE: Duration = Duration::from_millis(20);

/// Times a flight asks for a reservation under what the answer before told it: a price, or the next life of the key.
const RESERVE_ROUNDS: u32 = 64;

/// How long a request waits for the account service before anything is claimed for it.
const LINK_PATIENCE: Duration = Duration::from_secs(5);

/// First fences are below 2^30.
const FIRST_FENCE_MASK: u32 = (1 << 30) - 1;

/// Times a flight tries to decide, with a pause between them that doubles: in all about three seconds.
const DECIDE_ROUNDS: u32 = 6;
const DECIDE_PAUSE: Duration = Duration::from_millis(50);

/// What came of a flight: the same for everybody who waited.
#[derive(Debug)]
pub(super) enum Landing {
    /// The key is decided.
    Decided {
        claim: Claim,
        decided: Decided,
        /// By this flight.
        fresh: bool,
    },
    /// Another process works on it.
    Running,
    /// Another request used the key.
    Reused,
    /// The basket has no price, and nothing was claimed.
    Unpriced(Unpriced),
    /// The account service was not reached yet, or works on another ledger. Nothing was claimed.
    NoLedger,
    /// The key is claimed and undecided.
    Unknown,
    /// The desk failed before anything was claimed, or the service did.
    Trouble(Trouble),
}

/// A flight under way.
pub(super) struct Flight {
    parts: Arc<Parts>,
    signals: Signals,
}

impl Flight {
    pub(super) fn new(parts: Arc<Parts>, signals: Signals) -> Self {
        Self { parts, signals }
    }

    /// Flies for a request.
    pub(super) async fn place(self, request: Arc<Request>) -> Landing {
        let look = self.parts.guard.look(&request).await;
        let landing = self.find(request, look.is_taken()).await;
        if let Landing::Decided { .. } = landing {
            look.keep();
        }
        landing
    }

    /// `taken`: somebody probably has the key, so it is read before it is claimed.
    async fn find(&self, request: Arc<Request>, taken: bool) -> Landing {
        // A pod that has just started has not been told its database's id yet.
        if self.ids().is_none() {
            self.parts.link.clone().is_linked(Instant::now() + LINK_PATIENCE).await;
        }
        let Some(ids) = self.ids() else { return Landing::Trouble(Trouble::Unavailable) };
        let order_id = if draws_ids() { (self.parts.new_id)() } else { ids.derive(&request, 0) };
        let claim = NewClaim { request, order_id, fence: self.first_fence() };
        let mut perhaps_claimed = false;
        let mut pause = LOCATE_PAUSE;
        let mut read_first = taken;
        for _ in 0..LOCATE_ROUNDS {
            match self.locate(&claim, mem::take(&mut read_first), &mut perhaps_claimed).await {
                Ok(Located::Ours(ours)) => {
                    let is_fresh = ours.fence == claim.fence;
                    return self.work(ours, is_fresh).await;
                }
                Ok(Located::Landed(landing)) => return landing,
                Ok(Located::Moved) => {}
                // The next round reads its own row, if there is one.
                Err(Trouble::OutcomeUnknown) => perhaps_claimed = true,
                Err(Trouble::Unavailable | Trouble::Full) if perhaps_claimed => {}
                Err(trouble) if !perhaps_claimed => return Landing::Trouble(trouble),
                Err(_) => return Landing::Unknown,
            }
            sleep(pause).await;
            pause *= 2;
        }
        Landing::Unknown
    }

    /// Flies for a key that somebody left behind.
    pub(super) async fn resume(self, Overdue { row, give_up }: Overdue) -> Landing {
        match self.take_over(row.claim).await {
            Ok(Some(claim)) if give_up && !self.was_placed(&claim).await => {
                self.decide(claim, Verdict::GaveUp).await
            }
            Ok(Some(claim)) => self.work(claim, false).await,
            Ok(None) => Landing::Running,
            Err(trouble) => Landing::Trouble(trouble),
        }
    }

    /// Whether an order was placed on this key and lost with its database's last commits: its money was taken, and whoever
    /// placed it was told so.
    async fn was_placed(&self, claim: &Claim) -> bool {
        let before = self.parts.accounts.reservation(claim).await;
        before.is_ok_and(|before| before.is_some_and(|before| before.is_paid()))
    }

    /// T2, and T3 after it. `is_fresh`: this flight claimed the key, and took it over from nobody. More than one round only
    /// where a reservation was there before its claim.
    async fn work(&self, mut claim: Claim, is_fresh: bool) -> Landing {
        self.signals.work();
        for _ in 0..RESERVE_ROUNDS {
            match self.reserve(&claim, is_fresh).await {
                Ok(Standing::Final(verdict)) => {
                    reach(match verdict {
                        Verdict::Reserved => Point::Reserved,
                        Verdict::Declined { .. } | Verdict::GaveUp => Point::Declined,
                    });
                    return self.decide(claim, verdict).await;
                }
                Ok(Standing::Outlived) => match self.next_generation(&claim) {
                    Some(order_id) => claim.order_id = order_id,
                    None => return self.hand_back(claim).await,
                },
                Ok(Standing::Priced(amount)) => claim.amount = amount,
                Err(status) => {
                    reach(Point::ReserveUnknown);
                    metrics::counter!("order_reserve_unknown_total").increment(1);
                    tracing::warn!(order_id = %claim.order_id, %status, "a reservation's outcome is not known");
                    return self.hand_back(claim).await;
                }
            }

            // The row must say what is asked for next before it is asked for.
            match self.parts.desk.amend(claim.clone()).await {
                Ok(true) => {}
                Ok(false) => return Landing::Running,
                Err(_) => return Landing::Unknown,
            }
        }
        self.hand_back(claim).await
    }

    /// Asks for the reservation, and thinks about one that was there before.
    async fn reserve(&self, claim: &Claim, is_fresh: bool) -> Result<Standing, Status> {
        let Reserved { verdict, replayed, mismatches } = self.parts.accounts.reserve(claim).await?;
        if !replayed {
            return Ok(Standing::Final(verdict));
        }

        // Nothing is decided by a reservation that cannot be read: it may have been given back, or be of an earlier life.
        let before = self.parts.accounts.reservation(claim).await?;
        let before = before.ok_or_else(|| Status::unavailable("the reservation is gone"))?;
        Ok(standing::judge(verdict, mismatches, is_fresh, &before, self.parts.outlives))
    }

    /// The id of the key's order in the next life of the key. `None`: this one's id was not derived.
    fn next_generation(&self, claim: &Claim) -> Option<Uuid> {
        let ids = self.ids()?;
        let generation = ids.generation_of(&claim.request, claim.order_id)?;
        Some(ids.derive(&claim.request, generation + 1))
    }

    fn ids(&self) -> Option<OrderIds> {
        self.parts.desk.database_id().map(OrderIds::of_database)
    }

    /// Random, and far enough from the end for any number of takeovers.
    fn first_fence(&self) -> i32 {
        let random = (self.parts.new_id)().as_u128() as u32;
        1 + (random & FIRST_FENCE_MASK) as i32
    }

    async fn decide(&self, claim: Claim, verdict: Verdict) -> Landing {
        let settlement = Settlement { claim, verdict, payment_id: (self.parts.new_id)() };
        let mut pause = DECIDE_PAUSE;
        for _ in 0..DECIDE_ROUNDS {
            match self.parts.desk.decide(settlement.clone()).await {
                Ok(settled) => return self.decided(settlement, settled).await,
                Err(Trouble::Failed) => {
                    self.hand_back(settlement.claim).await;
                    return Landing::Trouble(Trouble::Failed);
                }
                Err(Trouble::OutcomeUnknown) => {
                    reach(Point::CommitUnknown);
                    metrics::counter!("order_commit_unknown_total").increment(1);
                    if let Some(landing) = self.read_back(&settlement).await {
                        return landing;
                    }
                }
                Err(Trouble::Full | Trouble::Unavailable) => {}
            }
            sleep(pause).await;
            pause *= 2;
        }
        self.hand_back(settlement.claim).await
    }

    async fn decided(&self, settlement: Settlement, settled: Settled) -> Landing {
        if let Some(notice) = settled.notice {
            // A full queue is no loss: the row falls due, and somebody leases it.
            drop(self.parts.notices.try_send(notice));
        }
        match settled.decided {
            Some(decided) => {
                reach(match decided.outcome {
                    Outcome::Placed { .. } => Point::Placed,
                    Outcome::Declined { .. } => Point::DeclineStored,
                    Outcome::OutOfStock { .. } => Point::SoldOut,
                });
                count(&decided.outcome);
                Landing::Decided { claim: settlement.claim, decided, fresh: true }
            }
            None => self.overtaken(settlement).await,
        }
    }

    /// The fence did not hold: whoever has the key now decides, and what they decided is everybody's answer.
    async fn overtaken(&self, settlement: Settlement) -> Landing {
        metrics::counter!("order_fenced_total").increment(1);
        tracing::warn!(
            order_id = %settlement.claim.order_id,
            fence = settlement.claim.fence,
            "was overtaken: wrote nothing"
        );
        self.read_back(&settlement).await.unwrap_or(Landing::Running)
    }

    /// T6: reads what became of a settlement. `None`: not known, or the key is still this flight's to decide.
    async fn read_back(&self, settlement: &Settlement) -> Option<Landing> {
        let Claim { request, fence, order_id, .. } = &settlement.claim;
        let row = self.parts.desk.key(request.account, request.key.clone()).await.ok()??;
        if !row.is_of(request) {
            return Some(Landing::Reused);
        }
        let KeyRow { claim, state, .. } = row;
        match state {
            KeyState::Decided(decided) => {
                let fresh = decided.outcome == settlement.expected();
                Some(Landing::Decided { claim, decided, fresh })
            }
            KeyState::Running { .. } if (claim.order_id, claim.fence) == (*order_id, *fence) => {
                None
            }
            KeyState::Running { .. } => Some(Landing::Running),
        }
    }

    /// T5: whoever asks next need not wait for the lease.
    async fn hand_back(&self, claim: Claim) -> Landing {
        let order_id = claim.order_id;
        if let Err(error) = self.parts.desk.hand_back(claim).await {
            tracing::debug!(%order_id, %error, "a lease was not handed back and will end by itself");
        }
        reach(Point::HandedBack);
        Landing::Unknown
    }
}

fn count(outcome: &Outcome) {
    let outcome = match outcome {
        Outcome::Placed { .. } => "placed",
        Outcome::Declined { .. } => "declined",
        Outcome::OutOfStock { .. } => "out_of_stock",
    };
    metrics::counter!("orders_decided_total", "outcome" => outcome).increment(1);
}
