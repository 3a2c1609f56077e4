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
    fence           INTEGER,
    batch           INTEGER,
    payment         BLOB,
    outcome         TEXT,
    PRIMARY KEY (account_id, order_id),
    UNIQUE (account_id, idempotency_key)
) STRICT, WITHOUT ROWID;

INSERT INTO orders_with_keys (account_id, order_id, idempotency_key, amount, basket, status, created_at, currency)
SELECT account_id, order_id, idempotency_key, amount, basket, status, created_at, currency FROM orders;

DROP TABLE orders;
ALTER TABLE orders_with_keys RENAME TO orders;

-- Lists are JSON: accounts as numbers, ids of orders as hexadecimal digits.
CREATE TABLE claim_batches (
    batch_id    INTEGER PRIMARY KEY AUTOINCREMENT,
    lease_until INTEGER NOT NULL,
    orders      TEXT NOT NULL
) STRICT;
CREATE INDEX claim_batches_due ON claim_batches (lease_until);

CREATE TABLE notice_batches (
    batch_id   INTEGER PRIMARY KEY AUTOINCREMENT,
    due_at     INTEGER NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    notices    TEXT NOT NULL
) STRICT;
CREATE INDEX notice_batches_due ON notice_batches (due_at);

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
SELECT 1,
       CASE WHEN min(unixepoch(installed_on)) < unixepoch() - 60 THEN 'keys' ELSE 'orders' END,
       CAST(unixepoch('subsec') * 1000000 AS INTEGER)
FROM _sqlx_migrations;
