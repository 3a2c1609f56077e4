//! T0, D and T1: whose a key is.

use failpoint::{Point, reach};
use tokio::time::Instant;

use super::{Flight, LINK_PATIENCE, Landing};
use crate::{
    desk::Trouble,
    guard,
    order::key::{Claim, Finding, KeyRow},
    storage::{Claimed, NewClaim},
};

/// Where a key was found.
pub(super) enum Located {
    Ours(Claim),
    Landed(Landing),
    Moved,
}

impl Flight {
    /// Notes in `perhaps_claimed` when, from now on, nobody may be told that nothing was done.
    pub(super) async fn locate(
        &self,
        claim: &NewClaim,
        read_first: bool,
        perhaps_claimed: &mut bool,
    ) -> Result<Located, Trouble> {
        if read_first {
            if let Some(row) = self.read(claim).await? {
                *perhaps_claimed = true;
                return self.judge(claim, row).await;
            }
            guard::count_stale();
        }
        if self.parts.link.ledger().is_err()
            && let Some(located) = self.locate_without_ledger(claim).await?
        {
            return Ok(located);
        }
        reach(Point::BeforeClaim);
        let unpriced = match self.parts.desk.claim(claim.clone()).await? {
            Claimed::Mine(claim) => {
                reach(Point::Claimed);
                return Ok(Located::Ours(claim));
            }
            // By somebody else, or by an earlier round whose answer was lost.
            Claimed::Taken => {
                *perhaps_claimed = true;
                None
            }
            Claimed::Unpriced(unpriced) => Some(unpriced),
        };
        match self.read(claim).await? {
            Some(row) => self.judge(claim, row).await,
            None => {
                Ok(unpriced.map_or(Located::Moved, |why| Located::Landed(Landing::Unpriced(why))))
            }
        }
    }

    /// While the ledger may not be asked no key is claimed or taken over, and those that are decided are answered. `None`:
    /// the ledger may be asked by now.
    async fn locate_without_ledger(&self, claim: &NewClaim) -> Result<Option<Located>, Trouble> {
        let row = self.read(claim).await?;
        let finding = row.as_ref().map(|row| row.judge(&claim.request, claim.fence));
        let landing = match (row, finding) {
            (Some(row), Some(Finding::Decided(decided))) => {
                Landing::Decided { claim: row.claim, decided, fresh: false }
            }
            (_, Some(Finding::Reused)) => Landing::Reused,
            (_, Some(Finding::Running)) => Landing::Running,
            (_, Some(Finding::Mine | Finding::LeaseOver)) | (None, _) | (Some(_), None) => {
                if self.parts.link.clone().is_linked(Instant::now() + LINK_PATIENCE).await {
                    return Ok(None);
                }
                Landing::NoLedger
            }
        };
        Ok(Some(Located::Landed(landing)))
    }

    async fn read(&self, claim: &NewClaim) -> Result<Option<KeyRow>, Trouble> {
        self.parts.desk.key(claim.request.account, claim.request.key.clone()).await
    }

    async fn judge(&self, claim: &NewClaim, row: KeyRow) -> Result<Located, Trouble> {
        reach(Point::DuplicateRead);
        let landing = match row.judge(&claim.request, claim.fence) {
            Finding::Mine => return Ok(Located::Ours(row.claim)),
            Finding::LeaseOver => {
                return Ok(self.take_over(row.claim).await?.map_or(Located::Moved, Located::Ours));
            }
            Finding::Reused => Landing::Reused,
            Finding::Running => Landing::Running,
            Finding::Decided(decided) => {
                Landing::Decided { claim: row.claim, decided, fresh: false }
            }
        };
        Ok(Located::Landed(landing))
    }

    pub(super) async fn take_over(&self, seen: Claim) -> Result<Option<Claim>, Trouble> {
        let taken = self.parts.desk.take_over(seen).await?;
        if let Some(claim) = &taken {
            reach(Point::TakenOver);
            metrics::counter!("order_takeovers_total").increment(1);
            tracing::info!(order_id = %claim.order_id, fence = claim.fence, "took a key over");
        }
        Ok(taken)
    }
}
