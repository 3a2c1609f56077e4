//! Jobs of every kind, how they are run, and their answers without the times, which two databases do not share.

use database::StoreError;
use order_service::{
    order::{
        Notice, Order,
        catalog::{Adjustment, Product},
        decision::{Settled, Settlement},
        key::{Claim, KeyRow, KeyState},
    },
    storage::{Cancelled, Claimed, NewCancel, NewClaim, OrdersPage, Store, Tables},
};
use proto::id::{AccountId, IdempotencyKey, ProductId};
use time::OffsetDateTime;
use uuid::Uuid;

/// A lane of the desk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Claim,
    Keys,
    TakeOver,
    Decide,
    HandBack,
    Finish,
    Orders,
    OrderPages,
    Cancel,
    PutProduct,
    Products,
    ProductPages,
    Adjust,
}

/// A batch of one kind.
#[derive(Debug, Clone)]
pub(super) enum Batch {
    Claim(Vec<NewClaim>),
    Keys(Vec<(AccountId, IdempotencyKey)>),
    TakeOver(Vec<Claim>),
    Decide(Vec<Settlement>),
    HandBack(Vec<Claim>),
    Finish(Vec<Notice>),
    Orders(Vec<(AccountId, Uuid)>),
    OrderPages(Vec<OrdersPage>),
    Cancel(Vec<(AccountId, Uuid)>),
    PutProduct(Vec<Product>),
    Products(Vec<ProductId>),
    ProductPages(Vec<(Option<ProductId>, usize)>),
    Adjust(Vec<Adjustment>),
}

/// An answer, and what of it leads to further jobs.
#[derive(Debug, Default)]
pub(super) struct Answer {
    text: String,
    pub(super) claim: Option<Claim>,
    pub(super) decided: bool,
    pub(super) notice: Option<Notice>,
}

/// Does the same to the jobs of a batch, of whatever kind.
macro_rules! each_kind {
    ($batch:expr, $jobs:ident => $then:expr) => {
        match $batch {
            Batch::Claim($jobs) => Batch::Claim($then),
            Batch::Keys($jobs) => Batch::Keys($then),
            Batch::TakeOver($jobs) => Batch::TakeOver($then),
            Batch::Decide($jobs) => Batch::Decide($then),
            Batch::HandBack($jobs) => Batch::HandBack($then),
            Batch::Finish($jobs) => Batch::Finish($then),
            Batch::Orders($jobs) => Batch::Orders($then),
            Batch::OrderPages($jobs) => Batch::OrderPages($then),
            Batch::Cancel($jobs) => Batch::Cancel($then),
            Batch::PutProduct($jobs) => Batch::PutProduct($then),
            Batch::Products($jobs) => Batch::Products($then),
            Batch::ProductPages($jobs) => Batch::ProductPages($then),
            Batch::Adjust($jobs) => Batch::Adjust($then),
        }
    };
}

impl Kind {
    pub(super) const ALL: [Self; 13] = [
        Self::Claim,
        Self::Keys,
        Self::TakeOver,
        Self::Decide,
        Self::HandBack,
        Self::Finish,
        Self::Orders,
        Self::OrderPages,
        Self::Cancel,
        Self::PutProduct,
        Self::Products,
        Self::ProductPages,
        Self::Adjust,
    ];

    /// What must have happened before a batch of this kind has something to do.
    pub(super) fn needs(self) -> &'static [Self] {
        match self {
            Self::Claim | Self::PutProduct => &[],
            Self::Keys | Self::Decide | Self::HandBack => &[Self::Claim],
            Self::TakeOver => &[Self::Claim, Self::HandBack],
            Self::Finish | Self::Orders | Self::OrderPages | Self::Cancel => {
                &[Self::Claim, Self::Decide]
            }
            Self::Products | Self::ProductPages | Self::Adjust => &[Self::PutProduct],
        }
    }
}

impl Batch {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Claim(jobs) => jobs.len(),
            Self::Keys(jobs) => jobs.len(),
            Self::TakeOver(jobs) | Self::HandBack(jobs) => jobs.len(),
            Self::Decide(jobs) => jobs.len(),
            Self::Finish(jobs) => jobs.len(),
            Self::Orders(jobs) | Self::Cancel(jobs) => jobs.len(),
            Self::OrderPages(jobs) => jobs.len(),
            Self::PutProduct(jobs) => jobs.len(),
            Self::Products(jobs) => jobs.len(),
            Self::ProductPages(jobs) => jobs.len(),
            Self::Adjust(jobs) => jobs.len(),
        }
    }

    /// Its jobs, each a batch.
    pub(super) fn ones(&self) -> Vec<Self> {
        let one = |at: usize| each_kind!(self, jobs => jobs[at..=at].to_vec());
        (0..self.len()).map(one).collect()
    }

    /// Its first job, so many times.
    pub(super) fn repeated(&self, times: usize) -> Self {
        each_kind!(self, jobs => repeat_first(jobs, times))
    }

    pub(super) fn only_reads(&self) -> bool {
        match self {
            Self::Keys(_)
            | Self::Orders(_)
            | Self::OrderPages(_)
            | Self::Products(_)
            | Self::ProductPages(_) => true,
            Self::Claim(_)
            | Self::TakeOver(_)
            | Self::Decide(_)
            | Self::HandBack(_)
            | Self::Finish(_)
            | Self::Cancel(_)
            | Self::PutProduct(_)
            | Self::Adjust(_) => false,
        }
    }
}

fn repeat_first<J: Clone>(jobs: &[J], times: usize) -> Vec<J> {
    vec![jobs[0].clone(); times]
}

/// Runs a batch: one answer per job, be it that the database refused all of them.
pub(super) async fn run<B: Tables>(store: &mut Store<B>, batch: &Batch) -> Vec<Answer> {
    let answers = match batch {
        Batch::Claim(jobs) => all(store.claim(jobs).await, claimed),
        Batch::Keys(jobs) => all(store.keys(jobs).await, |row| shown(row.map(key_row))),
        Batch::TakeOver(jobs) => all(store.take_over(jobs).await, |claim| Answer {
            claim: claim.clone(),
            ..shown(claim)
        }),
        Batch::Decide(jobs) => all(store.decide(jobs).await, settled),
        Batch::HandBack(jobs) => all(store.hand_back(jobs).await.map(|()| units(jobs)), shown),
        Batch::Finish(jobs) => all(store.finish_notices(jobs).await.map(|()| units(jobs)), shown),
        Batch::Orders(jobs) => all(store.orders(jobs).await, |found| shown(found.map(order))),
        Batch::OrderPages(jobs) => all(store.list_orders(jobs).await, |page| {
            shown(page.into_iter().map(order).collect::<Vec<_>>())
        }),
        Batch::Cancel(jobs) => {
            let jobs: Vec<_> = jobs.iter().copied().map(NewCancel::from).collect();
            all(store.cancel(&jobs).await, cancelled)
        }
        Batch::PutProduct(jobs) => all(store.put_products(jobs).await.map(|()| units(jobs)), shown),
        Batch::Products(jobs) => all(store.products(jobs).await, shown),
        Batch::ProductPages(jobs) => all(store.list_products(jobs).await, shown),
        Batch::Adjust(jobs) => all(store.adjust_stock(jobs).await, shown),
    };
    answers.unwrap_or_else(|error| batch.ones().iter().map(|_| shown(&error)).collect())
}

pub(super) fn timeless(answers: &[Answer]) -> Vec<&str> {
    answers.iter().map(|answer| answer.text.as_str()).collect()
}

fn all<T>(
    answers: Result<Vec<T>, StoreError>,
    answer: impl FnMut(T) -> Answer,
) -> Result<Vec<Answer>, StoreError> {
    answers.map(|answers| answers.into_iter().map(answer).collect())
}

fn units<J>(jobs: &[J]) -> Vec<()> {
    vec![(); jobs.len()]
}

fn shown(answer: impl std::fmt::Debug) -> Answer {
    Answer { text: format!("{answer:?}"), ..Answer::default() }
}

fn claimed(claimed: Claimed) -> Answer {
    let claim = match &claimed {
        Claimed::Mine(claim) => Some(claim.clone()),
        Claimed::Taken | Claimed::Unpriced(_) => None,
    };
    Answer { claim, ..shown(claimed) }
}

fn settled(mut settled: Settled) -> Answer {
    settled.decided.iter_mut().for_each(|decided| decided.at = OffsetDateTime::UNIX_EPOCH);
    let decided = settled.decided.is_some();
    Answer { decided, notice: settled.notice.clone(), ..shown(settled) }
}

fn cancelled(cancelled: Option<Cancelled>) -> Answer {
    let notice = cancelled.as_ref().and_then(|cancelled| cancelled.notice.clone());
    let left = cancelled.map(|cancelled| (order(cancelled.order), cancelled.notice));
    Answer { notice, ..shown(left) }
}

fn key_row(mut row: KeyRow) -> KeyRow {
    row.created_at = OffsetDateTime::UNIX_EPOCH;
    if let KeyState::Decided(decided) = &mut row.state {
        decided.at = OffsetDateTime::UNIX_EPOCH;
    }
    row
}

fn order(order: Order) -> Order {
    Order { placed_at: OffsetDateTime::UNIX_EPOCH, ..order }
}
