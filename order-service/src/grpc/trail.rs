//! What the audit trail says of a call: which methods have a line in it, and what they were about.

use proto::id::Actor;
use serde_json::json;
use server::{Audit, Owned, Principal};
use tonic::Request;
use uuid::Uuid;

use crate::{
    order::{
        self,
        catalog::{Adjustment, Product},
    },
    placement::{PlaceError, Placed},
};

/// What changes something.
pub(crate) const AUDITED: &[&str] = &[
    "order.v1.OrderService/PlaceOrder",
    "order.v1.OrderService/CancelOrder",
    "order.v1.CatalogService/PutProduct",
    "order.v1.CatalogService/AdjustStock",
];

/// What sets prices and stock: served on the administrators' listener, where there is one.
pub(crate) const ADMINISTRATIVE: &[&str] =
    &["order.v1.CatalogService/PutProduct", "order.v1.CatalogService/AdjustStock"];

/// Where a request comes from.
#[derive(Debug, Default)]
pub(super) struct Origin {
    /// What its call is about, for the trail.
    pub(super) audit: Audit,
    /// Whose it is, where that is known.
    pub(super) actor: Option<Actor>,
}

impl Origin {
    pub(super) fn of<T>(request: &Request<T>) -> Self {
        let (audit, principal) =
            (Audit::of(request.extensions()), request.extensions().get::<Principal>());
        Self { audit, actor: principal.and_then(Principal::name).map(Actor::new) }
    }

    /// Before it is known whether the caller may touch it: a denied call is told of too.
    pub(super) fn note_account<T>(&self, request: &Owned<T>) {
        self.audit.set("account_id", request.account());
    }

    pub(super) fn note_request(&self, request: &order::request::Request) {
        self.audit.set("idempotency_key", json!(request.key));
    }

    /// The order's id, where there is an order.
    pub(super) fn note_placed(&self, placed: &Result<Placed, PlaceError>) {
        match placed {
            Ok(Placed { order, replayed }) => {
                self.audit.set("order_id", order.order_id.to_string());
                self.audit.set("amount", order.amount.to_string());
                self.audit.set("currency", order.currency.code());
                self.audit.set("replayed", *replayed);
            }
            Err(PlaceError::AlreadyPlaced { order_id }) => {
                self.audit.set("order_id", order_id.to_string());
            }
            Err(_) => {}
        }
    }

    pub(super) fn note_order(&self, order_id: Uuid) {
        self.audit.set("order_id", order_id.to_string());
    }

    pub(super) fn note_product(&self, product: &Product) {
        self.audit.set("product_id", json!(product.product_id));
        self.audit.set("price", product.price.to_string());
        self.audit.set("currency", product.currency.code());
        self.audit.set("stock", product.stock);
    }

    pub(super) fn note_adjustment(&self, adjustment: &Adjustment) {
        self.audit.set("product_id", json!(adjustment.product_id));
        self.audit.set("adjustment_id", json!(adjustment.adjustment_id));
        self.audit.set("delta", adjustment.delta);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::RULES;

    /// What changes nothing that anybody asks about later.
    const READS: [&str; 5] = [
        "order.v1.OrderService/GetOrder",
        "order.v1.OrderService/ListOrders",
        "order.v1.OrderService/GetPayment",
        "order.v1.CatalogService/GetProduct",
        "order.v1.CatalogService/ListProducts",
    ];

    #[test]
    fn each_method_is_known_to_read_or_has_a_line() {
        for (method, _) in RULES.methods {
            assert_ne!(AUDITED.contains(method), READS.contains(method), "{method}");
        }
        assert!(ADMINISTRATIVE.iter().all(|method| AUDITED.contains(method)));
    }
}
