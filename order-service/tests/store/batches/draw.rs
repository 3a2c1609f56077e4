//! Random batches over few ids, and what earlier answers led to.

use std::{collections::BTreeSet, sync::Arc};

use order_service::{
    order::{
        Notice,
        catalog::{Adjustment, Product},
        decision::{Settlement, Verdict},
        key::Claim,
        request::Request,
    },
    storage::{Cursor, NewClaim},
};
use proptest::{
    prelude::Rng,
    test_runner::{RngAlgorithm, TestRng},
};
use proto::id::{AccountId, AdjustmentId, IdempotencyKey, ProductId};
use uuid::Uuid;

use super::job::{Answer, Batch, Kind};
use crate::support::{account, amount, key, lines, new_id, product};

const KEYS: [&str; 4] = ["a", "b", "c", "d"];

/// Each world has two accounts of its own.
const ACCOUNTS: i64 = 2;

const JOBS: usize = 7;

pub(super) struct Draw {
    random: TestRng,
    worlds: i64,
    /// Claims that somebody holds or held, in this world.
    claims: Vec<Claim>,
    orders: Vec<(AccountId, Uuid)>,
    notices: Vec<Notice>,
    /// Kinds of which a batch had more than one job.
    visited: BTreeSet<Kind>,
    decided: usize,
}

impl Draw {
    pub(super) fn new(seed: Uuid) -> Self {
        println!("seed {seed}");
        let bytes = [*seed.as_bytes(); 2].concat();
        let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let (claims, orders, notices) = (Vec::new(), Vec::new(), Vec::new());
        Self { random, worlds: 0, claims, orders, notices, visited: BTreeSet::new(), decided: 0 }
    }

    /// From now on other accounts.
    pub(super) fn begin_a_world(&mut self) {
        self.worlds += 1;
        (self.claims, self.orders, self.notices) = (Vec::new(), Vec::new(), Vec::new());
    }

    /// A batch of any kind; claims and settlements more often than others.
    pub(super) fn batch(&mut self) -> Batch {
        let often = [Kind::Claim, Kind::Decide, Kind::HandBack, Kind::TakeOver];
        let kinds: Vec<_> = Kind::ALL.into_iter().chain(often).collect();
        let kind = kinds[self.below(kinds.len())];
        let batch = self.batch_of(kind);
        if batch.len() > 1 {
            self.visited.insert(kind);
        }
        batch
    }

    pub(super) fn batch_of(&mut self, kind: Kind) -> Batch {
        match kind {
            Kind::Claim => Batch::Claim(self.some(Self::new_claim)),
            Kind::Keys => Batch::Keys(self.some(|draw| (draw.account(), draw.key()))),
            Kind::TakeOver => Batch::TakeOver(self.some_of(Self::claim)),
            Kind::HandBack => Batch::HandBack(self.some_of(Self::claim)),
            Kind::Decide => Batch::Decide(self.some_of(Self::settlement)),
            Kind::Finish => Batch::Finish(self.some_of(|draw| draw.any(|draw| &draw.notices))),
            Kind::Orders => Batch::Orders(self.some(Self::order)),
            Kind::Cancel => Batch::Cancel(self.some(Self::order)),
            Kind::OrderPages => Batch::OrderPages(self.some(|draw| {
                let after = draw.any(|draw| &draw.orders).map(|(_, order)| Cursor::Id(order));
                (draw.account(), after, 1 + draw.below(4))
            })),
            Kind::PutProduct => Batch::PutProduct(self.some(Self::product)),
            Kind::Products => Batch::Products(self.some(Self::product_id)),
            Kind::ProductPages => Batch::ProductPages(self.some(|draw| {
                let after = (draw.below(2) == 0).then(|| draw.product_id());
                (after, 1 + draw.below(3))
            })),
            Kind::Adjust => Batch::Adjust(self.some(Self::adjustment)),
        }
    }

    /// Takes in what a batch led to.
    pub(super) fn learn(&mut self, batch: &Batch, answers: Vec<Answer>) {
        if let Batch::Decide(settlements) = batch {
            let decided = settlements.iter().zip(&answers).filter(|(_, answer)| answer.decided);
            let orders: Vec<_> = decided
                .map(|(settlement, _)| &settlement.claim)
                .map(|claim| (claim.request.account, claim.order_id))
                .collect();
            self.decided += orders.len();
            self.orders.extend(orders);
        }
        for answer in answers {
            self.claims.extend(answer.claim);
            self.notices.extend(answer.notice);
        }
    }

    /// The kinds of jobs did not pass each other by.
    pub(super) fn assert_visited(&self) {
        let all: BTreeSet<_> = Kind::ALL.into();
        assert_eq!(self.visited, all);
        assert!(self.decided > 20, "{} keys were decided", self.decided);
    }

    /// Batches that read all there can be.
    pub(super) fn everything(&self) -> Vec<Batch> {
        let accounts = (1..=self.worlds * ACCOUNTS).map(account);
        let keys = accounts.flat_map(|account| KEYS.map(|text| (account, key(text))));
        let products = (1..=4).map(|id| ProductId::new(id).unwrap());
        vec![
            Batch::Keys(keys.collect()),
            Batch::Orders(self.orders.clone()),
            Batch::Products(products.collect()),
        ]
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.random.next_u32()).unwrap() % bound
    }

    fn some<T>(&mut self, mut job: impl FnMut(&mut Self) -> T) -> Vec<T> {
        self.some_of(|draw| Some(job(draw)))
    }

    /// Up to [`JOBS`] jobs; fewer where nothing is known to make them of.
    fn some_of<T>(&mut self, mut job: impl FnMut(&mut Self) -> Option<T>) -> Vec<T> {
        let jobs = 1 + self.below(JOBS);
        (0..jobs).filter_map(|_| job(self)).collect()
    }

    fn any<T: Clone>(&mut self, of: impl Fn(&Self) -> &Vec<T>) -> Option<T> {
        let known = of(self).len();
        let at = (known > 0).then(|| self.below(known))?;
        of(self).get(at).cloned()
    }

    fn account(&mut self) -> AccountId {
        let first = (self.worlds - 1) * ACCOUNTS + 1;
        account(first + i64::try_from(self.below(2)).unwrap())
    }

    fn key(&mut self) -> IdempotencyKey {
        key(KEYS[self.below(KEYS.len())])
    }

    /// Of three requests per key; half of the claims of one key want the same order id.
    fn new_claim(&mut self) -> NewClaim {
        let (account, text) = (self.account().get(), KEYS[self.below(KEYS.len())]);
        let request: Request = match self.below(4) {
            0 | 1 => amount(account, text, "10"),
            2 => amount(account, text, "11"),
            _ => lines(account, text, &[(i64::try_from(1 + self.below(4)).unwrap(), 1)]),
        };
        let shared = u128::from(text.as_bytes()[0]) << 64 | u128::try_from(account).unwrap();
        let order_id = if self.below(2) == 0 { Uuid::from_u128(shared) } else { new_id() };
        NewClaim { request: Arc::new(request), order_id, fence: 1 }
    }

    /// One that was answered, or what its next or last worker would hold.
    fn claim(&mut self) -> Option<Claim> {
        let claim = self.any(|draw| &draw.claims)?;
        let fence = match self.below(4) {
            0 => claim.fence + 1,
            1 => (claim.fence - 1).max(1),
            _ => claim.fence,
        };
        Some(Claim { fence, ..claim })
    }

    fn settlement(&mut self) -> Option<Settlement> {
        let claim = self.claim()?;
        let verdict = match self.below(4) {
            0 => Verdict::Declined { cause: "INSUFFICIENT_FUNDS".into() },
            1 => Verdict::GaveUp,
            _ => Verdict::Reserved,
        };
        Some(Settlement { claim, verdict, payment_id: new_id() })
    }

    fn order(&mut self) -> (AccountId, Uuid) {
        let known = self.any(|draw| &draw.orders);
        known.unwrap_or_else(|| (self.account(), new_id()))
    }

    fn product_id(&mut self) -> ProductId {
        ProductId::new(i64::try_from(1 + self.below(4)).unwrap()).unwrap()
    }

    /// One of the first three.
    fn product(&mut self) -> Product {
        let prices = ["1", "2.5", "10"];
        let (id, stock) = (1 + self.below(3), self.below(6));
        product(id.try_into().unwrap(), prices[self.below(3)], stock.try_into().unwrap())
    }

    fn adjustment(&mut self) -> Adjustment {
        let ids = ["a", "b", "c", "d", "e"];
        let (id, delta) = (self.below(ids.len()), self.below(6));
        Adjustment {
            product_id: self.product_id(),
            adjustment_id: AdjustmentId::new(format!("{}{}", ids[id], self.worlds)).unwrap(),
            delta: [-3, -1, 1, 2, 2, 5][delta],
            by: None,
        }
    }
}
