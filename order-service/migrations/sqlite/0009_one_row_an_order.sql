-- As for PostgreSQL. SQLite changes no CHECK: the table is made anew, with its rows.

CREATE TABLE orders_with_keys (
    account_id      INTEGER NOT NULL,
    order_id        BLOB NOT NULL,
    idempotency_key TEXT NOT NULL,
    amount          INTEGER NOT NULL,
    basket          TEXT NOT NULL,
    status          TEXT NOT NULL CHECK (status IN ('PROCESSING', 'PLACED', 'CANCELLED', 'REFUSED')),
    created_at      INTEGER NOT NULL,
    currency        TEXT,
    cancelled_by    TEXT,
    fence           INTEGER,
    batch           INTEGER,
    payment         BLOB,
    outcome         TEXT,
    PRIMARY KEY (account_id, order_id),
    UNIQUE (account_id, idempotency_key)
) STRICT, WITHOUT ROWID;

INSERT INTO orders_with_keys (account_id, order_id, idempotency_key, amount, basket, status, created_at, currency, cancelled_by)
SELECT account_id, order_id, idempotency_key, amount, basket, status, created_at, currency, cancelled_by FROM orders;

DROP TABLE orders;
ALTER TABLE orders_with_keys RENAME TO orders;

-- Lists an account's orders newest first.
CREATE INDEX orders_by_age ON orders (account_id, created_at, order_id);

-- Lists are JSON: rows as arrays, ids of orders as hexadecimal digits.
CREATE TABLE claim_batches (
    batch_id    INTEGER PRIMARY KEY AUTOINCREMENT,
    lease_until INTEGER NOT NULL,
    orders      TEXT NOT NULL,
    owner       BLOB
) STRICT;
CREATE INDEX claim_batches_due ON claim_batches (lease_until);

CREATE TABLE notice_batches (
    batch_id   INTEGER PRIMARY KEY AUTOINCREMENT,
    due_at     INTEGER NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    notices    TEXT NOT NULL,
    owner      BLOB
) STRICT;
CREATE INDEX notice_batches_due ON notice_batches (due_at);
CREATE INDEX notice_batches_standing ON notice_batches (created_at) WHERE attempts > 0;

CREATE TABLE refused_batches (
    batch_id INTEGER PRIMARY KEY AUTOINCREMENT,
    due_at   INTEGER NOT NULL,
    orders   TEXT NOT NULL
) STRICT;

CREATE TABLE layout (
    singleton  INTEGER PRIMARY KEY CHECK (singleton = 1),
    claims     TEXT NOT NULL CHECK (claims IN ('keys', 'keys locked', 'orders locked', 'orders')),
    changed_at INTEGER NOT NULL
) STRICT;

INSERT INTO layout (singleton, claims, changed_at)
VALUES (1, 'keys', CAST(unixepoch('subsec') * 1000000 AS INTEGER));

CREATE VIEW notices AS
SELECT account_id, order_id, action, amount, refused, attempts, created_at, due_at FROM outbox
UNION ALL
SELECT n.value ->> 0, unhex(n.value ->> 1), n.value ->> 2, n.value ->> 3, NULL, b.attempts, b.created_at, b.due_at
FROM notice_batches AS b CROSS JOIN json_each(b.notices) AS n
WHERE NOT EXISTS (
    SELECT 1 FROM outbox AS o
    WHERE o.account_id = n.value ->> 0 AND o.order_id = unhex(n.value ->> 1) AND o.action = n.value ->> 2
);

CREATE VIEW order_payments AS
SELECT account_id, order_id, payment_id, amount, status, created_at FROM payments
UNION ALL
SELECT account_id, order_id, payment, amount, CASE status WHEN 'CANCELLED' THEN 'REFUNDED' ELSE 'COMPLETED' END, created_at
FROM orders WHERE payment IS NOT NULL;

CREATE VIEW keys AS
SELECT account_id, idempotency_key, order_id, amount, status, response, created_at FROM idempotency_keys
UNION ALL
SELECT account_id, idempotency_key, order_id, amount,
    CASE status WHEN 'PROCESSING' THEN 'PROCESSING' ELSE 'SUCCESS' END,
    CASE WHEN payment IS NOT NULL THEN format('{"outcome":"placed","payment_id":"%s"}', lower(hex(payment))) END, created_at
FROM orders WHERE fence IS NOT NULL AND status <> 'REFUSED';
