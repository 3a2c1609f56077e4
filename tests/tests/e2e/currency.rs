//! An account's currency and an order's, from one end to the other.

use std::time::Duration;

use proto::account::v1::OpenAccountRequest;
use proto::order::v1::{OrderLine, PlaceOrderReply, PlaceOrderRequest, PutProductRequest};
use proto::{Failure, Reason};
use tests::cluster::Plan;
use tonic::Status;

use crate::support::{Backend, World, order};

const EURO_ACCOUNT: i64 = 7;
const WON_ACCOUNT: i64 = 8;

async fn start(backend: Backend) -> World {
    let world = World::start(backend, Plan::default()).await;
    for (account_id, currency) in [(EURO_ACCOUNT, "EUR"), (WON_ACCOUNT, "KRW")] {
        let (currency, opening_balance) = (currency.to_owned(), "1000".to_owned());
        let request = OpenAccountRequest { account_id, currency, opening_balance };
        world.clients.accounts.clone().open_account(request).await.unwrap();
    }
    world
}

async fn place(world: &World, request: &PlaceOrderRequest) -> Result<PlaceOrderReply, Status> {
    world.place(0, request.clone(), Duration::from_secs(15)).await
}

fn declined(answer: Result<PlaceOrderReply, Status>) -> (Reason, String) {
    let failure = Failure::of(&answer.unwrap_err()).unwrap();
    (failure.reason(), failure.fact("cause").unwrap_or_default().to_owned())
}

async fn product(world: &World, product_id: i64, price: &str, currency: &str) {
    let (name, currency) = (format!("product {product_id}"), currency.to_owned());
    let request =
        PutProductRequest { product_id, name, price: price.to_owned(), stock: 10, currency };
    world.clients.catalog.clone().put_product(request).await.unwrap();
}

fn one_of(product_id: i64, key: &str) -> PlaceOrderRequest {
    let lines = vec![OrderLine { product_id, quantity: 1 }];
    PlaceOrderRequest { lines, ..order(EURO_ACCOUNT, key, "") }
}

async fn an_account_pays_prices_in_its_own_currency_and_no_other(backend: Backend) {
    let mut world = start(backend).await;
    product(&world, 1, "10", "").await;
    product(&world, 2, "10.5", "EUR").await;
    let mismatch = (Reason::PaymentFailed, "CURRENCY_MISMATCH".to_owned());

    // A price without a currency is in the default, dollars; so is an amount. The answer is for ever.
    for request in [one_of(1, "dollars"), order(EURO_ACCOUNT, "plain", "10")] {
        for _twice in 0..2 {
            assert_eq!(declined(place(&world, &request).await), mismatch);
        }
    }
    let account = world.read_account(EURO_ACCOUNT).await.unwrap();
    assert_eq!([account.balance, account.reserved], ["1000", "0"]);
    assert_eq!(world.count_orders(EURO_ACCOUNT).await, 0);

    let euros =
        PlaceOrderRequest { currency: "EUR".to_owned(), ..order(EURO_ACCOUNT, "euros", "0.25") };
    for (request, amount) in [(one_of(2, "lines"), "10.5"), (euros, "0.25")] {
        let placed = place(&world, &request).await.unwrap().order.unwrap();
        assert_eq!([placed.amount.as_str(), &placed.currency], [amount, "EUR"]);
    }
    let account = world.settled_account(EURO_ACCOUNT).await;
    assert_eq!([account.balance, account.currency], ["989.25", "EUR"]);
    world.stop_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_pays_prices_in_its_own_currency_and_no_other_on_sqlite() {
    an_account_pays_prices_in_its_own_currency_and_no_other(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_pays_prices_in_its_own_currency_and_no_other_on_postgres() {
    an_account_pays_prices_in_its_own_currency_and_no_other(Backend::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_won_account_never_pays_a_fraction_of_a_won() {
    let mut world = start(Backend::Sqlite).await;
    let won = |key: &str, amount: &str| PlaceOrderRequest {
        currency: "KRW".to_owned(),
        ..order(WON_ACCOUNT, key, amount)
    };
    let fraction = place(&world, &won("k", "0.0001")).await.unwrap_err();
    assert_eq!(Failure::of(&fraction).unwrap().reason(), Reason::AmountPrecision);
    place(&world, &won("k", "3")).await.unwrap();
    assert_eq!(world.settled_account(WON_ACCOUNT).await.balance, "997");
    world.stop_and_verify().await;
}
