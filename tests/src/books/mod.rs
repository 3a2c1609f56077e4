//! What neither service can see alone: that orders and reservations agree, on two databases at rest.
//!
//! - I5: each order's reservation was captured in full (and all that was captured is refunded if the order was cancelled),
//!   or the outbox says that it is about to be. A row that was refused, or has waited for an hour, says nothing of the
//!   kind and is a breach itself. What an operator gave up (`settlement_resolutions`) may differ, and only that.
//! - I6: each held reservation belongs to an undecided key or to an outbox row.
//! - I11: no order lives on a reservation that was declined, released or expired.
//!
//! Memory: about 200 bytes an order.

mod check;
mod read;

use database::DatabaseUrl;
use serde::Serialize;

pub use check::Breach;
pub use read::ReadError;
pub use read::rows;
pub(crate) use read::{money, number};

/// Breaches that are shown; all are counted.
const SHOWN: usize = 100;

/// What was read, and what was wrong with it.
#[derive(Debug, Serialize)]
pub struct Report {
    /// No breach.
    pub ok: bool,
    /// The invariants that were looked at.
    pub checked: [&'static str; 3],
    /// Orders in the order service's database.
    pub orders: usize,
    /// Reservations in the account service's.
    pub reservations: usize,
    /// All breaches.
    pub breaches_total: usize,
    /// The first of them.
    pub breaches: Vec<Breach>,
}

/// Reads both databases and holds them against each other.
///
/// # Errors
/// When one cannot be read.
pub async fn verify(account: &DatabaseUrl, order: &DatabaseUrl) -> Result<Report, ReadError> {
    let reservations = read::reservations(account).await?;
    let orders = read::orders(order).await?;
    let mut breaches = check::all(&orders, &reservations);
    let breaches_total = breaches.len();
    breaches.truncate(SHOWN);
    Ok(Report {
        ok: breaches_total == 0,
        checked: ["I5", "I6", "I11"],
        orders: orders.placed.len(),
        reservations: reservations.len(),
        breaches_total,
        breaches,
    })
}
