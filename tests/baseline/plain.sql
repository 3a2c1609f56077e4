\set account random(1, 10000)
\set amount random(1, 100)
\set id random(1, 9000000000000000)

INSERT INTO idempotency_keys (idempotency_key, account_id, status) VALUES ('key-' || :id, :account, 'PROCESSING');

BEGIN;
UPDATE accounts SET reserved = reserved + :amount WHERE account_id = :account AND balance - reserved >= :amount;
INSERT INTO reservations (account_id, reserve_id, order_id, amount, status)
    VALUES (:account, 'r-' || :id, 'o-' || :id, :amount, 'HELD');
COMMIT;

BEGIN;
INSERT INTO orders (order_id, account_id, idempotency_key, amount, status)
    VALUES (:id, :account, 'key-' || :id, :amount, 'CONFIRMED');
INSERT INTO payments (payment_id, order_id, account_id, amount, status)
    VALUES (:id, :id, :account, :amount, 'COMPLETED');
UPDATE idempotency_keys
    SET status = 'SUCCESS', response_json = '{"order_id": 123456789, "status": "CONFIRMED"}'
    WHERE idempotency_key = 'key-' || :id;
COMMIT;
