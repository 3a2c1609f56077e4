//! Who may call which method.

use proto::{failure::DOMAIN, right};
use server::{Access, Right, Rules};

/// Keys and orders are an account's own: who may not use the account can neither take a key of it nor learn of one.
const ORDERS: Access =
    Access::Owner { own: Right::new(right::ORDERS_OWN), any: Right::new(right::ORDERS_ANY) };

const READ: Access = Access::Right(Right::new(right::CATALOG_READ));

const WRITE: Access = Access::Right(Right::new(right::CATALOG_WRITE));

/// The rules of `order.v1`.
pub(crate) const RULES: Rules =
    Rules { domain: DOMAIN, rights: &Right::all(right::ALL), methods: &METHODS };

const METHODS: [(&str, Access); 9] = [
    ("order.v1.OrderService/PlaceOrder", ORDERS),
    ("order.v1.OrderService/GetOrder", ORDERS),
    ("order.v1.OrderService/ListOrders", ORDERS),
    ("order.v1.OrderService/CancelOrder", ORDERS),
    ("order.v1.OrderService/GetPayment", ORDERS),
    ("order.v1.CatalogService/GetProduct", READ),
    ("order.v1.CatalogService/ListProducts", READ),
    ("order.v1.CatalogService/PutProduct", WRITE),
    ("order.v1.CatalogService/AdjustStock", WRITE),
];
