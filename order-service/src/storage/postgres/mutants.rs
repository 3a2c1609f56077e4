//! What happens without the safeguard that a claim is committed before anything else is done: the key's row is there
//! only from the decision on, as if claim and decision were one transaction.

use std::time::Duration;

use failpoint::{Safeguard, is_off};
use proto::Currency;
use sqlx::PgConnection;
use uuid::Uuid;

use super::claim::ClaimKeys;
use crate::{
    order::{decision::Settlement, key::Claim, request::Price},
    storage::NewClaim,
};

/// Takes claims back that were just made.
pub(super) async fn uncommit(
    connection: &mut PgConnection,
    orders: impl Iterator<Item = Uuid>,
) -> sqlx::Result<()> {
    if !is_off(Safeguard::ClaimCommit) {
        return Ok(());
    }
    sqlx::query("DELETE FROM idempotency_keys WHERE order_id = ANY($1)")
        .bind(orders.collect::<Vec<_>>())
        .execute(connection)
        .await
        .map(drop)
}

/// Claims what is about to be decided, unless somebody else has by now.
pub(super) async fn claim_late(
    connection: &mut PgConnection,
    settlements: &[Settlement],
    lease: Duration,
    default: Currency,
) -> sqlx::Result<()> {
    if !is_off(Safeguard::ClaimCommit) {
        return Ok(());
    }
    let claims: Vec<_> = settlements
        .iter()
        .map(|settlement| &settlement.claim)
        .map(|claim| NewClaim {
            request: claim.request.clone(),
            order_id: claim.order_id,
            fence: claim.fence,
        })
        .collect();
    let price = |settlement: &Settlement| {
        let Claim { amount, currency, .. } = settlement.claim;
        Some(Price { amount, currency })
    };
    let prices: Vec<_> = settlements.iter().map(price).collect();
    let claim = ClaimKeys { claims: &claims, lease, serialise: false, default };
    claim.insert(connection, &prices).await.map(drop)
}
