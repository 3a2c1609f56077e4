\set base random(1, 9000000000000)

WITH claimed AS (
    INSERT INTO idempotency_keys (idempotency_key, account_id, status)
    SELECT 'key-' || :base::bigint || '-' || i, 1 + (i * 7919 + :base::bigint) % 10000, 'PROCESSING'
    FROM generate_series(1, :n::int) AS i
    ON CONFLICT DO NOTHING
    RETURNING idempotency_key
)
SELECT count(*) FROM claimed;

BEGIN;
SELECT count(*) FROM (
    SELECT account_id, balance, reserved FROM accounts
    WHERE account_id = ANY (ARRAY(
        SELECT 1 + (i * 7919 + :base::bigint) % 10000 FROM generate_series(1, :n::int) AS i
    ))
    ORDER BY account_id FOR UPDATE
) AS locked;
INSERT INTO reservations (account_id, reserve_id, order_id, amount, status)
    SELECT 1 + (i * 7919 + :base::bigint) % 10000, 'r-' || :base::bigint || '-' || i, 'o-' || i, 5, 'HELD'
    FROM generate_series(1, :n::int) AS i
    ON CONFLICT DO NOTHING;
UPDATE accounts SET reserved = accounts.reserved + batch.amount
    FROM (
        SELECT 1 + (i * 7919 + :base::bigint) % 10000 AS account_id, sum(5) AS amount
        FROM generate_series(1, :n::int) AS i GROUP BY 1
    ) AS batch
    WHERE accounts.account_id = batch.account_id;
COMMIT;

BEGIN;
INSERT INTO orders (order_id, account_id, idempotency_key, amount, status)
    SELECT :base::bigint * 10000 + i, 1 + (i * 7919 + :base::bigint) % 10000,
        'key-' || :base::bigint || '-' || i, 5, 'CONFIRMED'
    FROM generate_series(1, :n::int) AS i;
INSERT INTO payments (payment_id, order_id, account_id, amount, status)
    SELECT :base::bigint * 10000 + i, :base::bigint * 10000 + i, 1 + (i * 7919 + :base::bigint) % 10000,
        5, 'COMPLETED'
    FROM generate_series(1, :n::int) AS i;
UPDATE idempotency_keys AS k
    SET status = 'SUCCESS', response_json = '{"order_id": 123456789, "status": "CONFIRMED"}'
    FROM generate_series(1, :n::int) AS i
    WHERE k.idempotency_key = 'key-' || :base::bigint || '-' || i;
COMMIT;
