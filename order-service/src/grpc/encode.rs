//! Answers as messages.

use prost_types::Timestamp;
use proto::order::v1::{self, OrderStatus, PaymentStatus, PlaceOrderReply};
use time::OffsetDateTime;

use crate::{
    order::{Order, catalog::Product},
    placement::Placed,
};

pub(super) fn placed(placed: Placed) -> PlaceOrderReply {
    PlaceOrderReply {
        order: Some(order(&placed.order)),
        payment: Some(payment(&placed.order)),
        replayed: placed.replayed,
    }
}

pub(super) fn order(order: &Order) -> v1::Order {
    let status = if order.cancelled { OrderStatus::Cancelled } else { OrderStatus::Placed };
    let line = |line: &crate::order::request::Line| v1::OrderLine {
        product_id: line.product_id.get(),
        quantity: line.quantity,
    };
    v1::Order {
        order_id: order.order_id.to_string(),
        account_id: order.account.get(),
        idempotency_key: order.key.to_string(),
        amount: order.amount.to_string(),
        lines: order.basket.lines().iter().map(line).collect(),
        status: status.into(),
        created_at: Some(timestamp(order.placed_at)),
        currency: order.currency.to_string(),
    }
}

pub(super) fn payment(order: &Order) -> v1::Payment {
    let status = if order.cancelled { PaymentStatus::Refunded } else { PaymentStatus::Completed };
    v1::Payment {
        payment_id: order.payment_id.to_string(),
        order_id: order.order_id.to_string(),
        account_id: order.account.get(),
        amount: order.amount.to_string(),
        status: status.into(),
        created_at: Some(timestamp(order.placed_at)),
        currency: order.currency.to_string(),
    }
}

pub(super) fn product(product: Product) -> v1::Product {
    v1::Product {
        product_id: product.product_id.get(),
        name: product.name,
        price: product.price.to_string(),
        stock: product.stock,
        currency: product.currency.to_string(),
    }
}

fn timestamp(time: OffsetDateTime) -> Timestamp {
    let nanos = i32::try_from(time.nanosecond()).expect("a nanosecond is below 10^9");
    Timestamp { seconds: time.unix_timestamp(), nanos }
}
