//! What the statements are in a process without a safeguard.

use std::sync::LazyLock;

use failpoint::{Safeguard, is_off};
use sqlx::PgConnection;
use uuid::Uuid;

/// What the fence keeps from happening: a worker that was overtaken decides all the same.
const DECIDE_UNFENCED: &str = "
    UPDATE idempotency_keys AS k
    SET status = c.status, response = c.response, decided_at = now()
    FROM UNNEST($1::bigint[], $2::text[], $3::date[], $4::int[], $5::uuid[], $6::text[], $7::text[])
        AS c (account_id, idempotency_key, day, fence, order_id, status, response)
    WHERE k.account_id = c.account_id AND k.idempotency_key = c.idempotency_key AND k.day = c.day
    RETURNING k.order_id, c.fence, k.decided_at";

/// Claims do not ask whether an order speaks for its key.
static CLAIM_WHATEVER_WAS_PLACED: LazyLock<String> = LazyLock::new(|| {
    let asks = "FROM orders AS placed";
    assert!(super::claim::CLAIM.contains(asks), "a claim asks among the orders");
    super::claim::CLAIM.replace(asks, "FROM (SELECT * FROM orders LIMIT 0) AS placed")
});

/// The statement that claims.
pub(super) fn claim(whole: &'static str) -> &'static str {
    if is_off(Safeguard::OrderUnique) { CLAIM_WHATEVER_WAS_PLACED.as_str() } else { whole }
}

/// The statement that decides.
pub(super) fn decide(whole: &'static str) -> &'static str {
    if is_off(Safeguard::FenceCheck) { DECIDE_UNFENCED } else { whole }
}

/// Takes claims back that were just made.
pub(super) async fn uncommit(connection: &mut PgConnection, orders: Vec<Uuid>) -> sqlx::Result<()> {
    if !is_off(Safeguard::ClaimCommit) {
        return Ok(());
    }
    sqlx::query("DELETE FROM idempotency_keys WHERE order_id = ANY($1)")
        .bind(orders)
        .execute(connection)
        .await
        .map(drop)
}
