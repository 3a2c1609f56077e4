//! The invariants, as queries that find nothing in a sound database.

/// Each finds a hundred rows at most.
pub(super) const CHECKS: &[(&str, &str)] = &[
    (
        "I3",
        "SELECT format('account %s key %s has %s orders', account_id, idempotency_key, count(*)) AS row
         FROM orders GROUP BY account_id, idempotency_key HAVING count(*) > 1 LIMIT 100",
    ),
    (
        "I3",
        "SELECT format('account %s key %s is SUCCESS without order %s', k.account_id, k.idempotency_key, k.order_id) AS row
         FROM idempotency_keys AS k LEFT JOIN orders AS o USING (account_id, order_id)
         WHERE k.status = 'SUCCESS' AND o.order_id IS NULL LIMIT 100",
    ),
    (
        "I3",
        "SELECT format('account %s key %s is %s but order %s exists', k.account_id, k.idempotency_key, k.status, o.order_id) AS row
         FROM idempotency_keys AS k JOIN orders AS o USING (account_id, idempotency_key)
         WHERE k.status = 'FAILED' OR k.status = 'PROCESSING' AND k.order_id = o.order_id LIMIT 100",
    ),
    (
        "I4",
        "SELECT format('account %s key %s replays another answer than order %s', k.account_id, k.idempotency_key, o.order_id) AS row
         FROM idempotency_keys AS k
         JOIN orders AS o USING (account_id, order_id) JOIN payments AS p USING (account_id, order_id)
         WHERE k.status = 'SUCCESS' AND (
             k.idempotency_key <> o.idempotency_key OR k.amount <> o.amount OR k.request <> o.basket
             OR k.decided_at <> o.created_at OR k.response::json ->> 'payment_id' <> p.payment_id::text
         ) LIMIT 100",
    ),
    (
        "I5",
        "SELECT format('account %s order %s has no payment of its amount and status', o.account_id, o.order_id) AS row
         FROM orders AS o LEFT JOIN payments AS p USING (account_id, order_id)
         WHERE p.order_id IS NULL OR p.amount <> o.amount
            OR (o.status = 'CANCELLED') <> (p.status = 'REFUNDED') LIMIT 100",
    ),
    (
        "I5",
        "SELECT format('account %s payment %s has no order', p.account_id, p.payment_id) AS row
         FROM payments AS p LEFT JOIN orders AS o USING (account_id, order_id)
         WHERE o.order_id IS NULL LIMIT 100",
    ),
    (
        "I6",
        "SELECT format('account %s order %s waits for %s, which does not fit the order', b.account_id, b.order_id, b.action) AS row
         FROM outbox AS b LEFT JOIN orders AS o USING (account_id, order_id)
         WHERE (b.action = 'RELEASE') <> (o.order_id IS NULL)
            OR b.action = 'REFUND' AND o.status <> 'CANCELLED' LIMIT 100",
    ),
    (
        "I7",
        "SELECT format('product %s: supplied %s, stock %s, ordered %s', p.product_id, p.supplied, p.stock, coalesce(s.sold, 0)) AS row
         FROM products AS p LEFT JOIN (
             SELECT (line ->> 'product_id')::bigint AS product_id, sum((line ->> 'quantity')::bigint) AS sold
             FROM orders AS o, json_array_elements(o.basket::json -> 'lines') AS line
             WHERE o.status = 'PLACED' GROUP BY 1
         ) AS s USING (product_id)
         WHERE p.stock < 0 OR p.supplied - p.stock <> coalesce(s.sold, 0) LIMIT 100",
    ),
];
