//! What the statements are in a process without a safeguard.

use failpoint::{Safeguard, is_off};

/// What the fence keeps from happening: a worker that was overtaken decides all the same.
const DECIDE_UNFENCED: &str = "
    UPDATE idempotency_keys AS k SET status = c.value ->> 4, response = c.value ->> 5, decided_at = ?2
    FROM json_each(?1) AS c
    WHERE k.account_id = c.value ->> 0 AND k.idempotency_key = c.value ->> 1
      AND k.order_id = unhex(c.value ->> 2)
    RETURNING order_id, (SELECT value ->> 3 FROM json_each(?1) WHERE unhex(value ->> 2) = order_id) AS fence";

/// The statement that decides.
pub(super) fn decide(whole: &'static str) -> &'static str {
    if is_off(Safeguard::FenceCheck) { DECIDE_UNFENCED } else { whole }
}
