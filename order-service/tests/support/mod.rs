//! What the tests share: a fresh database of either kind for each test, and requests to write to it.

use std::{cell::Cell, sync::Arc, time::Duration};

use database::{DatabaseUrl, Postgres, Sqlite};
use order_service::{
    order::{
        catalog::Product,
        decision::{Settled, Settlement, Verdict},
        key::Claim,
        request::{Basket, Line, Request},
    },
    storage::{Claimed, KeyLifetime, Leases, NewClaim, Store, Tables},
};
use proto::{
    Currency, Money,
    id::{AccountId, IdempotencyKey, ProductId},
};
use sqlx::ConnectOptions;
use tempfile::TempDir;
use tests::shared_postgres::{self, Shared};
use uuid::Uuid;

/// Leases that nobody outlives by accident.
pub(crate) const LONG: Leases = Leases {
    key: Duration::from_secs(60),
    notice: Duration::from_secs(15),
    give_up: Duration::from_secs(900),
    key_lifetime: KeyLifetime::DEFAULT,
};

/// Leases that are over as soon as they are given.
pub(crate) const OVER: Leases = Leases { key: Duration::ZERO, notice: Duration::ZERO, ..LONG };

thread_local! {
    static IN_ORDERS: Cell<bool> = const { Cell::new(false) };
}

/// In databases that this thread makes from now on, claims go into the rows of orders.
pub(crate) fn claim_in_orders() {
    IN_ORDERS.set(true);
}

/// Of no claim.
pub(crate) const OTHER_FENCE: i32 = 77;

/// A migrated database that nobody else uses. It goes away with this value.
pub(crate) struct Place {
    pub(crate) url: DatabaseUrl,
    _kept: (Option<TempDir>, Option<Arc<Shared>>),
}

/// A kind of store that tests can make a database for.
pub(crate) trait Fresh: Tables {
    fn empty() -> impl Future<Output = Place>;

    async fn fresh() -> Place {
        let place = Self::empty().await;
        place.store::<Self>(LONG).migrate().await.unwrap();
        if IN_ORDERS.get() {
            place.execute("UPDATE layout SET claims = 'orders'").await;
        }
        place
    }
}

impl Place {
    /// Does to the database what no service would.
    pub(crate) async fn execute(&self, statement: &'static str) {
        match &self.url {
            DatabaseUrl::Postgres(address) => {
                let mut connection = address.connect().await.unwrap();
                sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
            }
            DatabaseUrl::Sqlite(path) => {
                let mut connection = Sqlite::options(path).connect().await.unwrap();
                sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
            }
        }
    }

    /// A store with a connection of its own.
    pub(crate) fn store<B: Tables>(&self, leases: Leases) -> Store<B> {
        self.store_in(leases, Currency::USD)
    }

    /// The same, of a service whose default is another currency.
    pub(crate) fn store_in<B: Tables>(&self, leases: Leases, default: Currency) -> Store<B> {
        Store::open(&self.url, leases, default).unwrap()
    }
}

impl Fresh for Sqlite {
    async fn empty() -> Place {
        let directory = TempDir::with_prefix("order-service-").unwrap();
        let url = DatabaseUrl::Sqlite(directory.path().join("order.db"));
        Place { url, _kept: (Some(directory), None) }
    }
}

impl Fresh for Postgres {
    async fn empty() -> Place {
        let server = shared_postgres::shared().await;
        let url = server.create_database().await.unwrap().parse().unwrap();
        Place { url, _kept: (None, Some(server)) }
    }
}

pub(crate) fn account(id: i64) -> AccountId {
    AccountId::new(id).unwrap()
}

pub(crate) fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::new(text).unwrap()
}

pub(crate) fn money(text: &str) -> Money {
    Money::parse(text).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "tests need ids, and none in particular")]
pub(crate) fn new_id() -> Uuid {
    Uuid::now_v7()
}

pub(crate) fn amount(id: i64, text: &str, amount: &str) -> Request {
    amount_in(Currency::USD, id, text, amount)
}

pub(crate) fn amount_in(currency: Currency, id: i64, text: &str, amount: &str) -> Request {
    let (basket, currency) = (Basket::Amount(money(amount)), Some(currency));
    Request { account: account(id), key: key(text), basket, currency }
}

pub(crate) fn currency(code: &str) -> Currency {
    code.parse().unwrap()
}

pub(crate) fn lines(id: i64, text: &str, lines: &[(i64, i64)]) -> Request {
    let line = |(product, quantity): &(i64, i64)| Line {
        product_id: ProductId::new(*product).unwrap(),
        quantity: *quantity,
    };
    let basket = Basket::of_lines(lines.iter().map(line).collect());
    Request { account: account(id), key: key(text), basket, currency: None }
}

pub(crate) fn product(id: i64, price: &str, stock: i64) -> Product {
    product_in(Currency::USD, id, price, stock)
}

pub(crate) fn product_in(currency: Currency, id: i64, price: &str, stock: i64) -> Product {
    let (product_id, name) = (ProductId::new(id).unwrap(), format!("product {id}"));
    Product { product_id, name, price: money(price), currency, stock }
}

pub(crate) fn new_claim(request: &Request) -> NewClaim {
    NewClaim { request: Arc::new(request.clone()), order_id: new_id(), fence: 1 }
}

pub(crate) fn settlement(claim: &Claim, verdict: Verdict) -> Settlement {
    Settlement { claim: claim.clone(), verdict, payment_id: new_id() }
}

/// Claims a key that must be free.
pub(crate) async fn claim<B: Tables>(store: &mut Store<B>, request: &Request) -> Claim {
    match store.claim(&[new_claim(request)]).await.unwrap().remove(0) {
        Claimed::Mine(claim) => claim,
        other @ (Claimed::Taken | Claimed::Unpriced(_)) => panic!("not claimed: {other:?}"),
    }
}

/// Decides one claim.
pub(crate) async fn decide<B: Tables>(
    store: &mut Store<B>,
    claim: &Claim,
    verdict: Verdict,
) -> Settled {
    store.decide(&[settlement(claim, verdict)]).await.unwrap().remove(0)
}
