//! A batch answers what its jobs answer one by one, whatever they have in common.
//!
//! Random batches come from a space so small that ids repeat within nearly each of them. What changes rows runs twice: as
//! one batch on one database, job by job on another; both must answer the same and end the same. What only reads runs
//! both ways on one database. A run prints its seed and, when it fails, the batch.

mod draw;
mod job;

use order_service::storage::{Leases, Store, Tables};

use crate::{
    on_both,
    support::{Fresh, LONG, new_id},
};
use draw::Draw;
use job::{Answer, Batch, Kind};

on_both!(
    equal_jobs_in_one_batch_are_answered_as_one_by_one,
    in_each_lane_a_random_batch_answers_what_its_jobs_answer_one_by_one,
);

/// Outbox rows are due at once, so that both databases can be asked what they have.
const DUE: Leases = Leases { notice: std::time::Duration::ZERO, ..LONG };

const BATCHES: usize = 600;

/// The accounts of a world: after so many batches new ones begin with keys that are free.
const BATCHES_PER_WORLD: usize = 40;

/// Two databases that began alike.
struct Sides<B: Tables> {
    together: Store<B>,
    alone: Store<B>,
}

impl<B: Tables> Sides<B> {
    /// Runs a batch both ways. `Err`: they answered differently.
    async fn run(&mut self, batch: &Batch) -> Result<Vec<Answer>, String> {
        let ones = batch.ones();
        let by_itself = if batch.only_reads() { &mut self.together } else { &mut self.alone };
        let mut one_by_one = Vec::new();
        for one in &ones {
            one_by_one.extend(job::run(by_itself, one).await);
        }

        let together = job::run(&mut self.together, batch).await;
        if job::timeless(&together) == job::timeless(&one_by_one) {
            return Ok(together);
        }
        Err(format!("{batch:?}\nas a batch {together:#?}\none by one {one_by_one:#?}"))
    }

    /// All that a store can be asked.
    async fn assert_alike(&mut self, draw: &Draw) {
        for batch in draw.everything() {
            let together = job::run(&mut self.together, &batch).await;
            let alone = job::run(&mut self.alone, &batch).await;
            assert_eq!(job::timeless(&together), job::timeless(&alone), "{batch:#?}");
        }
        let mut notices = [Vec::new(), Vec::new()];
        for (store, found) in [&mut self.together, &mut self.alone].into_iter().zip(&mut notices) {
            let leased = store.lease_notices(10_000).await.unwrap();
            found.extend(leased.iter().map(|notice| format!("{notice:?}")));
            found.sort_unstable();
            assert!(store.verify().await.unwrap().is_empty());
        }
        assert_eq!(notices[0], notices[1]);
    }
}

async fn in_each_lane_a_random_batch_answers_what_its_jobs_answer_one_by_one<B: Fresh>() {
    let (one, other) = (B::fresh().await, B::fresh().await);
    let mut sides = Sides { together: one.store::<B>(DUE), alone: other.store::<B>(DUE) };
    let mut draw = Draw::new(new_id());
    for turn in 0..BATCHES {
        if turn % BATCHES_PER_WORLD == 0 {
            draw.begin_a_world();
        }
        let batch = draw.batch();
        let answers = sides.run(&batch).await.unwrap_or_else(|differs| panic!("{differs}"));
        draw.learn(&batch, answers);
    }
    draw.assert_visited();
    sides.assert_alike(&draw).await;
}

/// Each lane once, with one job three times.
async fn equal_jobs_in_one_batch_are_answered_as_one_by_one<B: Fresh>() {
    let mut differ = Vec::new();
    for kind in Kind::ALL {
        let (one, other) = (B::fresh().await, B::fresh().await);
        let mut sides = Sides { together: one.store::<B>(DUE), alone: other.store::<B>(DUE) };
        let mut draw = Draw::new(new_id());
        draw.begin_a_world();
        for needed in kind.needs().iter().flat_map(|needed| [*needed; 10]) {
            for alone in draw.batch_of(needed).ones() {
                let answers = sides.run(&alone).await.unwrap();
                draw.learn(&alone, answers);
            }
        }
        let batch = draw.batch_of(kind).repeated(3);
        differ.extend(sides.run(&batch).await.err());
    }
    assert!(differ.is_empty(), "{} kinds: {}", differ.len(), differ.join("\n"));
}
