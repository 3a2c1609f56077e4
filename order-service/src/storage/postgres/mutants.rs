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

/// The same where the key's row is the order's.
const EXPECT_UNFENCED: &str = "
    UPDATE orders AS o
    SET status = c.status, payment = c.payment, outcome = c.outcome
    FROM UNNEST($1::bigint[], $2::uuid[], $3::int[], $4::text[], $5::text[], $6::uuid[], $7::text[])
        AS c (account_id, order_id, fence, idempotency_key, status, payment, outcome)
    WHERE o.account_id = c.account_id AND o.order_id = c.order_id
    RETURNING o.order_id, c.fence";

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

/// The statement that decides where the key's row is the order's.
pub(super) fn expect(whole: &'static str) -> &'static str {
    if is_off(Safeguard::FenceCheck) { EXPECT_UNFENCED } else { whole }
}

/// Takes claims back that were just made.
pub(super) async fn uncommit(connection: &mut PgConnection, orders: Vec<Uuid>) -> sqlx::Result<()> {
    if !is_off(Safeguard::ClaimCommit) {
        return Ok(());
    }
    for taken_back in [
        "DELETE FROM idempotency_keys WHERE order_id = ANY($1)",
        "DELETE FROM orders WHERE order_id = ANY($1)",
    ] {
        sqlx::query(taken_back).bind(&orders).execute(&mut *connection).await?;
    }
    Ok(())
}
