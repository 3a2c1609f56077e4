//! What this process has begun and not ended: claims to decide, and notices to tell, by the batches that list them.
//!
//! A batch whose last member has ended is deleted. One that this process loses track of is found by its lease, as if the
//! process had died; so what is kept here may be dropped at any time, and is once it is old.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use uuid::Uuid;

use crate::order::{Action, Notice};

/// Many times longer than any lease: by then another process has taken up what is left of a batch.
const KEPT: Duration = Duration::from_secs(60 * 60);

/// Ended batches that wait for the next claim to delete them; those beyond are found by their leases.
const ENDED_MAX: usize = 1024;

/// Shared by the stores of a process.
#[derive(Debug, Clone, Default)]
pub struct Underway(Arc<Mutex<Batches>>);

#[derive(Debug, Default)]
struct Batches {
    claims: Members<Uuid>,
    notices: Members<(Uuid, Action)>,
    /// Claim batches with nothing left to decide.
    ended: Vec<i64>,
}

/// What is left of each batch, and since when it is under way.
#[derive(Debug)]
struct Members<T>(HashMap<i64, (Instant, HashSet<T>)>);

impl Underway {
    /// Notes that a batch with these orders to decide has begun.
    pub(super) fn begin_claims(&self, batch: i64, orders: impl Iterator<Item = Uuid>) {
        let mut batches = self.lock();
        let orders: HashSet<_> = orders.collect();
        match orders.is_empty() {
            true => batches.end(batch),
            false => batches.claims.begin(batch, orders),
        }
    }

    /// Notes that an order is not to be decided in this batch any more: it is decided, or has moved to another.
    pub(super) fn left(&self, batch: i64, order_id: Uuid) {
        let mut batches = self.lock();
        if batches.claims.end(batch, &order_id) {
            batches.end(batch);
        }
    }

    /// Takes the claim batches that can be deleted.
    pub(super) fn take_ended(&self) -> Vec<i64> {
        mem::take(&mut self.lock().ended)
    }

    /// Notes that these notices, each with its batch, are to be told.
    pub(super) fn begin_notices<'a>(&self, notices: impl Iterator<Item = &'a Notice>) {
        let mut by_batch = HashMap::<i64, HashSet<_>>::new();
        for notice in notices {
            if let Some(batch) = notice.batch {
                by_batch.entry(batch).or_default().insert((notice.order_id, notice.action));
            }
        }
        let mut batches = self.lock();
        by_batch.into_iter().for_each(|(batch, members)| batches.notices.begin(batch, members));
    }

    /// Notes that these are told, and answers the batches that can be deleted.
    pub(super) fn told<'a>(&self, notices: impl Iterator<Item = &'a Notice>) -> Vec<i64> {
        let mut batches = self.lock();
        let mut ended = Vec::new();
        for notice in notices {
            let Some(batch) = notice.batch else { continue };
            if batches.notices.end(batch, &(notice.order_id, notice.action)) {
                ended.push(batch);
            }
        }
        ended
    }

    /// Loses track of the batches of these, as if the process had died: they fall due.
    pub(super) fn forget<'a>(&self, notices: impl Iterator<Item = &'a Notice>) {
        let mut batches = self.lock();
        for batch in notices.filter_map(|notice| notice.batch) {
            batches.notices.0.remove(&batch);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Batches> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Batches {
    fn end(&mut self, batch: i64) {
        if self.ended.len() < ENDED_MAX {
            self.ended.push(batch);
        }
    }
}

impl<T: Eq + Hash> Members<T> {
    fn begin(&mut self, batch: i64, members: HashSet<T>) {
        if self.0.len().is_power_of_two() {
            self.0.retain(|_, (began, _)| began.elapsed() < KEPT);
        }
        self.0.insert(batch, (Instant::now(), members));
    }

    /// Answers whether this was the last one.
    fn end(&mut self, batch: i64, member: &T) -> bool {
        let Some((_, left)) = self.0.get_mut(&batch) else { return false };
        left.remove(member);
        let is_over = left.is_empty();
        if is_over {
            self.0.remove(&batch);
        }
        is_over
    }
}

impl<T> Default for Members<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

#[cfg(test)]
mod tests {
    use proto::{Money, id::AccountId};

    use super::*;

    #[test]
    fn a_batch_ends_with_its_last_order_and_is_deleted_once() {
        let underway = Underway::default();
        let [one, two] = [1, 2].map(Uuid::from_u128);
        underway.begin_claims(7, [one, two].into_iter());
        underway.begin_claims(8, [].into_iter());
        underway.left(7, one);
        underway.left(7, one);
        assert_eq!(underway.take_ended(), [8]);
        underway.left(7, two);
        underway.left(7, two);
        assert_eq!(underway.take_ended(), [7]);
    }

    #[test]
    fn a_batch_that_is_forgotten_is_not_over_when_the_rest_of_it_is_told() {
        let (account, amount) = (AccountId::new(1).unwrap(), Money::parse("1").unwrap());
        let notice = |id| {
            let (order_id, action) = (Uuid::from_u128(id), Action::Capture);
            Notice { account, order_id, action, amount, batch: Some(7) }
        };
        let underway = Underway::default();
        underway.begin_notices([&notice(1), &notice(2)].into_iter());
        assert!(underway.told([&notice(1)].into_iter()).is_empty());
        underway.forget([&notice(1)].into_iter());
        assert!(underway.told([&notice(2)].into_iter()).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_other_processes_have_taken_up_by_now_is_forgotten() {
        let underway = Underway::default();
        underway.begin_claims(1, [Uuid::nil()].into_iter());
        tokio::time::advance(KEPT).await;
        underway.begin_claims(2, [Uuid::nil()].into_iter());
        underway.left(1, Uuid::nil());
        assert!(underway.take_ended().is_empty());
    }
}
