-- The same tables as for PostgreSQL. Money is an integer of 10^-4 units, times are microseconds since 1970 (UTC),
-- ids of orders and payments are 16 bytes. One key table: it is pruned in small chunks, not partitioned.

CREATE TABLE products (
    product_id INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    price      INTEGER NOT NULL CHECK (price > 0),
    stock      INTEGER NOT NULL CHECK (stock >= 0),
    supplied   INTEGER NOT NULL
) STRICT;

CREATE TABLE stock_adjustments (
    product_id    INTEGER NOT NULL,
    adjustment_id TEXT NOT NULL,
    delta         INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    PRIMARY KEY (product_id, adjustment_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency_keys (
    account_id      INTEGER NOT NULL,
    idempotency_key TEXT NOT NULL,
    order_id        BLOB NOT NULL,
    status          TEXT NOT NULL CHECK (status IN ('PROCESSING', 'SUCCESS', 'FAILED')),
    fence           INTEGER NOT NULL,
    lease_until     INTEGER NOT NULL,
    digest          BLOB NOT NULL,
    amount          INTEGER NOT NULL,
    request         TEXT NOT NULL,
    response        TEXT,
    created_at      INTEGER NOT NULL,
    decided_at      INTEGER,
    PRIMARY KEY (account_id, idempotency_key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_keys_running ON idempotency_keys (lease_until) WHERE status = 'PROCESSING';
CREATE INDEX idempotency_keys_decided ON idempotency_keys (decided_at) WHERE decided_at IS NOT NULL;

CREATE TABLE orders (
    account_id      INTEGER NOT NULL,
    order_id        BLOB NOT NULL,
    idempotency_key TEXT NOT NULL,
    amount          INTEGER NOT NULL,
    basket          TEXT NOT NULL,
    status          TEXT NOT NULL CHECK (status IN ('PLACED', 'CANCELLED')),
    created_at      INTEGER NOT NULL,
    PRIMARY KEY (account_id, order_id),
    UNIQUE (account_id, idempotency_key)
) STRICT, WITHOUT ROWID;

CREATE TABLE payments (
    account_id INTEGER NOT NULL,
    order_id   BLOB NOT NULL,
    payment_id BLOB NOT NULL,
    amount     INTEGER NOT NULL,
    status     TEXT NOT NULL CHECK (status IN ('COMPLETED', 'REFUNDED')),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, order_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE outbox (
    account_id INTEGER NOT NULL,
    order_id   BLOB NOT NULL,
    action     TEXT NOT NULL CHECK (action IN ('CAPTURE', 'RELEASE', 'REFUND')),
    amount     INTEGER NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0,
    due_at     INTEGER NOT NULL,
    PRIMARY KEY (account_id, order_id, action)
) STRICT, WITHOUT ROWID;

CREATE INDEX outbox_due ON outbox (due_at);
