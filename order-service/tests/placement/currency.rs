//! Currencies as callers meet them.

use proto::{
    Failure, Reason,
    order::v1::{
        GetOrderRequest, GetPaymentRequest, OnDuplicate, OrderLine, PlaceOrderRequest,
        PutProductRequest, catalog_service_client::CatalogServiceClient,
    },
};
use tonic::Status;
use tonic_types::StatusExt;

use crate::{
    accounts::{Asked, Mood},
    support::{currency, product, product_in},
    world::{World, order, reason},
};

fn in_currency(code: &str, key: &str, amount: &str) -> PlaceOrderRequest {
    PlaceOrderRequest { currency: code.into(), ..order(key, amount, OnDuplicate::Replay) }
}

fn with_lines(code: &str, key: &str, products: &[i64]) -> PlaceOrderRequest {
    let line = |product_id: &i64| OrderLine { product_id: *product_id, quantity: 1 };
    let lines = products.iter().map(line).collect();
    PlaceOrderRequest { lines, ..in_currency(code, key, "") }
}

/// The one field that was refused, and the reason.
fn refused(status: &Status) -> (String, Reason) {
    let violations = status.get_details_bad_request().unwrap().field_violations;
    let [violation] = violations.as_slice() else { panic!("{violations:?}") };
    (violation.field.clone(), Failure::of(status).unwrap().reason())
}

#[tokio::test]
async fn a_won_order_of_a_ten_thousandth_is_refused_and_the_field_named() {
    let world = World::start(Mood::Accept, 1, &[]).await;
    for (code, amount) in [("KRW", "0.0001"), ("KRW", "0.5"), ("", "0.001"), ("BHD", "0.0001")] {
        let refusal = world.pods[0].place(in_currency(code, "k", amount)).await.unwrap_err();
        assert_eq!(
            refused(&refusal),
            ("amount".into(), Reason::AmountPrecision),
            "{code} {amount}"
        );
    }
    let refusal = world.pods[0].place(in_currency("won", "k", "1")).await.unwrap_err();
    assert_eq!(refused(&refusal), ("currency".into(), Reason::InvalidRequest));
    assert!(world.accounts.asked().is_empty());

    // The key is still free.
    world.pods[0].place(in_currency("KRW", "k", "1")).await.unwrap();
}

#[tokio::test]
async fn an_order_travels_in_its_currency_and_says_so_wherever_it_is_read() {
    let mut world = World::start(Mood::Accept, 1, &["--default-currency=EUR"]).await;
    for (key, named, meant) in [("a", "", "EUR"), ("b", "EUR", "EUR"), ("c", "KRW", "KRW")] {
        let reply = world.pods[0].place(in_currency(named, key, "5")).await.unwrap();
        let (placed, payment) = (reply.order.unwrap(), reply.payment.unwrap());
        assert_eq!([&placed.currency, &payment.currency], [meant, meant]);
        let reserved = |asked: &Asked| match asked {
            Asked::Reserve { reserve_id, currency, .. } => {
                (*reserve_id == placed.order_id).then(|| currency.clone())
            }
            Asked::Capture { .. } | Asked::Release { .. } | Asked::Refund { .. } => None,
        };
        assert_eq!(world.accounts.asked().iter().find_map(reserved), Some(meant.into()));

        let orders = &mut world.pods[0].orders;
        let (account_id, order_id) = (1, placed.order_id);
        let name = GetOrderRequest { account_id, order_id: order_id.clone() };
        assert_eq!(orders.get_order(name).await.unwrap().get_ref().currency, meant);
        let name = GetPaymentRequest { account_id, order_id };
        assert_eq!(orders.get_payment(name).await.unwrap().get_ref().currency, meant);
    }
}

#[tokio::test]
async fn one_key_with_another_currency_is_another_request_and_the_default_may_be_named() {
    let world = World::start(Mood::Accept, 1, &[]).await;
    let first = world.pods[0].place(in_currency("", "k", "5")).await.unwrap();
    let named = world.pods[0].place(in_currency("USD", "k", "5")).await.unwrap();
    assert!(named.replayed);
    assert_eq!(named.order, first.order);
    let other = world.pods[0].place(in_currency("EUR", "k", "5")).await;
    assert_eq!(reason(other), Reason::IdempotencyKeyReused);
    assert_eq!(world.accounts.reserve_ids().len(), 1);
}

#[tokio::test]
async fn requests_that_differ_in_their_currency_alone_share_no_flight() {
    let world = World::start(Mood::Silent, 1, &[]).await;
    let pod = &world.pods[0];
    let release = async {
        world.accounts.wait_for(|asked| matches!(asked, Asked::Reserve { .. })).await;
        let other = pod.place(in_currency("EUR", "k", "5")).await;
        world.accounts.set(Mood::Accept);
        other
    };
    let (first, other) = tokio::join!(pod.place(in_currency("USD", "k", "5")), release);
    assert_eq!(first.unwrap().order.unwrap().currency, "USD");
    assert_eq!(reason(other), Reason::IdempotencyKeyReused);
}

#[tokio::test]
async fn lines_are_in_one_currency_and_the_line_that_is_not_is_named() {
    let world = World::start(Mood::Accept, 1, &[]).await;
    let euro = currency("EUR");
    let products = [product_in(euro, 1, "2", 9), product(7, "1", 9), product_in(euro, 8, "0.5", 9)];
    world.store().put_products(&products).await.unwrap();
    let pod = &world.pods[0];

    // In the caller's order: product 7 comes first, and is not the second by its id.
    let refusal = pod.place(with_lines("", "k", &[7, 1])).await.unwrap_err();
    assert_eq!(refused(&refusal), ("lines[0].product_id".into(), Reason::InvalidRequest));
    let refusal = pod.place(with_lines("USD", "k", &[1, 8])).await.unwrap_err();
    assert_eq!(refused(&refusal), ("currency".into(), Reason::InvalidRequest));
    let unknown = pod.place(with_lines("", "k", &[9, 1])).await.unwrap_err();
    assert_eq!(refused(&unknown), ("lines[0].product_id".into(), Reason::ProductNotFound));

    let placed = pod.place(with_lines("", "k", &[1, 8])).await.unwrap().order.unwrap();
    assert_eq!([placed.amount, placed.currency], ["2.5", "EUR"]);
    assert!(pod.place(with_lines("EUR", "k", &[8, 1])).await.unwrap().replayed);
    let other = pod.place(with_lines("USD", "k", &[8, 1])).await;
    assert_eq!(reason(other), Reason::IdempotencyKeyReused);
}

#[tokio::test]
async fn a_price_fits_its_currency_and_a_product_says_which_it_is() {
    let world = World::start(Mood::Accept, 1, &[]).await;
    let mut catalog = CatalogServiceClient::new(world.pods[0].channel.clone());
    let product = |price: &str, code: &str| PutProductRequest {
        product_id: 1,
        name: "brick".into(),
        price: price.into(),
        stock: 1,
        currency: code.into(),
    };
    for (price, code, field) in [
        ("0.001", "", "price"),
        ("0.1", "KRW", "price"),
        ("1", "krw", "currency"),
        ("0.0001", "BHD", "price"),
    ] {
        let refusal = catalog.put_product(product(price, code)).await.unwrap_err();
        assert_eq!(refused(&refusal), (field.into(), Reason::InvalidRequest), "{price} {code}");
    }
    for (price, code, meant) in [("0.01", "", "USD"), ("0.001", "BHD", "BHD")] {
        let put = catalog.put_product(product(price, code)).await.unwrap().into_inner();
        assert_eq!([put.price, put.currency], [price, meant]);
    }
}
