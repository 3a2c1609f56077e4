//! Requests, checked whole and typed.

use std::time::Duration;

use database::{Position, lineage::COUNTERS};
use proto::{
    Currency, Failure, Fields, Money,
    account::v1 as api,
    id::{AccountId, DepositId, MAX_LENGTH, OrderRef, RefundId, ReserveId},
    money::MoneyError,
    page::{self, PageError},
};
use server::Owned;

use crate::{
    ledger::{Capture, Entry, OpenAccount, PostDeposit, PostRefund, Release, Reserve},
    storage::Page,
};

/// The shortest hold.
const TTL_MIN: Duration = Duration::from_secs(1);

/// The longest hold: 30 days.
const TTL_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What a request that leaves it open gets.
#[derive(Debug, Clone, Copy)]
pub struct Defaults {
    /// The currency of a new account.
    pub currency: Currency,
    /// How long a hold lasts, between 1 s and 30 days.
    pub hold_ttl: Duration,
}

pub(super) fn open_account(
    request: api::OpenAccountRequest,
    defaults: &Defaults,
) -> Result<OpenAccount, Failure> {
    let mut fields = Fields::default();
    let account_id = fields.check("account_id", AccountId::new(request.account_id));
    let currency = match request.currency.as_str() {
        "" => Ok(defaults.currency),
        code => code.parse(),
    };
    let currency = fields.check("currency", currency);
    let opening = match request.opening_balance.as_str() {
        "" => Ok(Money::ZERO),
        amount => Money::parse_or_zero(amount),
    };
    let opening = fields.check("opening_balance", opening);
    fields.finish(|| {
        let (account_id, currency, opening_balance) = (account_id?, currency?, opening?);
        Some(OpenAccount { account_id, currency, opening_balance })
    })
}

pub(super) fn deposit(request: api::DepositRequest) -> Result<PostDeposit, Failure> {
    let mut fields = Fields::default();
    let account_id = fields.check("account_id", AccountId::new(request.account_id));
    let amount = fields.check("amount", Money::parse(&request.amount));
    let deposit_id = fields.check("deposit_id", DepositId::new(request.deposit_id));
    fields.finish(|| {
        let (account_id, deposit_id, amount) = (account_id?, deposit_id?, amount?);
        Some(PostDeposit { account_id, deposit_id, amount })
    })
}

pub(super) fn get_account(request: api::GetAccountRequest) -> Result<Owned<AccountId>, Failure> {
    let mut fields = Fields::default();
    let account_id = fields.check("account_id", AccountId::new(request.account_id));
    fields.finish(|| account_id.map(|id| Owned::new(id.get(), id)))
}

pub(super) fn reserve(
    request: api::ReserveRequest,
    defaults: &Defaults,
) -> Result<Reserve, Failure> {
    let mut fields = Fields::default();
    let account_id = fields.check("account_id", AccountId::new(request.account_id));
    let amount = fields.check("amount", Money::parse(&request.amount));
    let reserve_id = fields.check("reserve_id", ReserveId::new(request.reserve_id));
    let order_id = fields.check("order_id", OrderRef::new(request.order_id));
    let ttl = match request.ttl {
        None => Ok(defaults.hold_ttl),
        Some(ttl) => hold_ttl(ttl),
    };
    let ttl = fields.check("ttl", ttl);
    let currency = match request.currency.as_str() {
        "" => Ok(None),
        code => code.parse().map(Some),
    };
    let currency = fields.check("currency", currency);
    fields.finish(|| {
        let (account_id, reserve_id, order_id) = (account_id?, reserve_id?, order_id?);
        let ttl = whole_microseconds(ttl?);
        let (amount, currency) = (amount?, currency?);
        Some(Reserve { account_id, reserve_id, order_id, amount, currency, ttl })
    })
}

pub(super) fn capture(request: api::CaptureRequest) -> Result<Capture, Failure> {
    let mut fields = Fields::default();
    let account_id = fields.check("account_id", AccountId::new(request.account_id));
    let reserve_id = fields.check("reserve_id", ReserveId::new(request.reserve_id));
    let amount = fields.check("amount", amount_or_all(&request.amount));
    fields.finish(|| {
        let (account_id, reserve_id, amount) = (account_id?, reserve_id?, amount?);
        Some(Capture { account_id, reserve_id, amount })
    })
}

pub(super) fn release(request: api::ReleaseRequest) -> Result<Release, Failure> {
    let mut fields = Fields::default();
    let account_id = fields.check("account_id", AccountId::new(request.account_id));
    let reserve_id = fields.check("reserve_id", ReserveId::new(request.reserve_id));
    fields.finish(|| Some(Release { account_id: account_id?, reserve_id: reserve_id? }))
}

pub(super) fn refund(request: api::RefundRequest) -> Result<PostRefund, Failure> {
    let mut fields = Fields::default();
    let account_id = fields.check("account_id", AccountId::new(request.account_id));
    let reserve_id = fields.check("reserve_id", ReserveId::new(request.reserve_id));
    let refund_id = fields.check("refund_id", RefundId::new(request.refund_id));
    let amount = fields.check("amount", amount_or_all(&request.amount));
    fields.finish(|| {
        let (account_id, reserve_id, refund_id) = (account_id?, reserve_id?, refund_id?);
        Some(PostRefund { account_id, reserve_id, refund_id, amount: amount? })
    })
}

pub(super) fn handshake(request: api::HandshakeRequest) -> Result<Position, Failure> {
    let mut fields = Fields::default();
    let api::Position { database_id, epoch, commits } = request.caller.unwrap_or_default();
    if !(1..=MAX_LENGTH).contains(&database_id.len()) || !database_id.is_ascii() {
        fields.wrong("caller.database_id", "must be the id of a database");
    }
    if epoch < 1 {
        fields.wrong("caller.epoch", "must be greater than zero");
    }
    if commits.len() > COUNTERS || commits.iter().any(|commits| *commits < 0) {
        let wanted = format_args!("must be at most {COUNTERS} numbers, none of them negative");
        fields.wrong("caller.commits", wanted);
    }
    fields.finish(|| Some(Position { database_id, epoch, commits }))
}

pub(super) fn get_reservation(
    request: api::GetReservationRequest,
) -> Result<(AccountId, ReserveId), Failure> {
    let mut fields = Fields::default();
    let account_id = fields.check("account_id", AccountId::new(request.account_id));
    let reserve_id = fields.check("reserve_id", ReserveId::new(request.reserve_id));
    fields.finish(|| Some((account_id?, reserve_id?)))
}

pub(super) fn list_entries(request: api::ListEntriesRequest) -> Result<Owned<Page>, Failure> {
    let mut fields = Fields::default();
    let account_id = fields.check("account_id", AccountId::new(request.account_id));
    let limit = fields.check("page_size", page::size(request.page_size));
    // A token is checked against its account; without one there is nothing to check it against.
    let before = match account_id {
        Some(id) => fields.check("page_token", before(id, &request.page_token)),
        None => None,
    };
    fields.finish(|| {
        let page = Page { account_id: account_id?, before: before?, limit: limit? };
        Some(Owned::new(page.account_id.get(), page))
    })
}

/// The token of the page after these lines; empty when the account's first line is among them.
pub(super) fn next_page_token(account: AccountId, lines: &[Entry]) -> String {
    match lines.last() {
        Some(line) if line.sequence > 1 => page::token(&list(account), &line.sequence.to_string()),
        Some(_) | None => String::new(),
    }
}

fn before(account: AccountId, token: &str) -> Result<Option<i64>, PageError> {
    let cursor = page::cursor(&list(account), token)?;
    cursor.map(|cursor| cursor.parse().map_err(|_| PageError::ForeignToken)).transpose()
}

fn list(account: AccountId) -> String {
    format!("entries/{account}")
}

/// An empty amount is all that there is.
fn amount_or_all(amount: &str) -> Result<Option<Money>, MoneyError> {
    if amount.is_empty() { Ok(None) } else { Money::parse(amount).map(Some) }
}

/// A time such as 7d that a hold may last.
pub(crate) fn default_ttl(raw: &str) -> Result<Duration, &'static str> {
    let ttl = humantime::parse_duration(raw).ok();
    ttl.filter(|ttl| (TTL_MIN..=TTL_MAX).contains(ttl)).ok_or("is not a time between 1s and 30d")
}

/// Strict where the conversion of the library is not: it takes 2 s and -1 ns for 1.999999999 s.
fn hold_ttl(ttl: prost_types::Duration) -> Result<Duration, &'static str> {
    let well_formed = (0..1_000_000_000).contains(&ttl.nanos);
    let ttl = Some(ttl).filter(|_| well_formed).and_then(|ttl| Duration::try_from(ttl).ok());
    let ttl = ttl.filter(|ttl| (TTL_MIN..=TTL_MAX).contains(ttl));
    ttl.ok_or("must be between 1 second and 30 days")
}

/// What the databases can store, so that the first answer and a replay show the same end.
fn whole_microseconds(ttl: Duration) -> time::Duration {
    let micros = i64::try_from(ttl.as_micros()).expect("30 days in microseconds fit an i64");
    time::Duration::microseconds(micros)
}
