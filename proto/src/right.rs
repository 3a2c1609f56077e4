//! What callers may be allowed to do, by the names that tokens (`scope`) and roles files use. Names never change.

/// Place, read and cancel orders of the caller's own accounts.
pub const ORDERS_OWN: &str = "orders:own";
/// The same on every account: support, and front ends that place orders for their users.
pub const ORDERS_ANY: &str = "orders:any";
/// Read the catalogue.
pub const CATALOG_READ: &str = "catalog:read";
/// Set products and adjust their stock.
pub const CATALOG_WRITE: &str = "catalog:write";
/// Read the balance and the statement of the caller's own accounts.
pub const LEDGER_OWN: &str = "ledger:own";
/// The same of every account.
pub const LEDGER_ANY: &str = "ledger:any";
/// Open accounts and pay money in.
pub const LEDGER_ADMIN: &str = "ledger:admin";
/// Hold, take and give back money of every account: the order service's.
pub const LEDGER_SETTLE: &str = "ledger:settle";

/// Every right.
pub const ALL: [&str; 8] = [
    ORDERS_OWN,
    ORDERS_ANY,
    CATALOG_READ,
    CATALOG_WRITE,
    LEDGER_OWN,
    LEDGER_ANY,
    LEDGER_ADMIN,
    LEDGER_SETTLE,
];
