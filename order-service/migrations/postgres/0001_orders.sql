-- Orders, their payments, the catalogue, and the keys that make placing an order idempotent.
-- account_id is the shard key and leads every primary key about money.

CREATE TABLE products (
    product_id bigint PRIMARY KEY,
    name       text NOT NULL,
    price      numeric(19, 4) NOT NULL CHECK (price > 0),
    stock      bigint NOT NULL CHECK (stock >= 0),
    -- All that was ever put in stock, so that supplied - stock is what orders hold. Read by `verify`.
    supplied   bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE stock_adjustments (
    product_id    bigint NOT NULL,
    adjustment_id varchar(128) NOT NULL,
    delta         bigint NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (product_id, adjustment_id)
);

-- One row a key and day. The day is part of the primary key because the partition column must be; a claim looks for
-- the key in the days before as well, and claims around midnight are serialised (see storage/postgres/claim.rs).
-- Partitions are made ahead and dropped whole by the service, never emptied row by row.
CREATE TABLE idempotency_keys (
    account_id      bigint NOT NULL,
    idempotency_key varchar(128) NOT NULL,
    day             date NOT NULL,
    order_id        uuid NOT NULL,
    status          text NOT NULL CHECK (status IN ('PROCESSING', 'SUCCESS', 'FAILED')),
    fence           integer NOT NULL,
    lease_until     timestamptz NOT NULL,
    digest          bytea NOT NULL,
    amount          numeric(19, 4) NOT NULL,
    request         text NOT NULL,
    response        text,
    created_at      timestamptz NOT NULL,
    decided_at      timestamptz,
    PRIMARY KEY (account_id, idempotency_key, day)
) PARTITION BY RANGE (day);

-- Finds what a dead process left behind. Decided rows are not in it.
CREATE INDEX idempotency_keys_running ON idempotency_keys (lease_until) WHERE status = 'PROCESSING';

CREATE TABLE orders (
    account_id      bigint NOT NULL,
    order_id        uuid NOT NULL,
    idempotency_key varchar(128) NOT NULL,
    amount          numeric(19, 4) NOT NULL,
    -- The basket as it was asked for: {"amount": …} or {"lines": […]}.
    basket          text NOT NULL,
    status          text NOT NULL CHECK (status IN ('PLACED', 'CANCELLED')),
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (account_id, order_id),
    -- The last fence: whatever became of the key row, one key makes one order.
    UNIQUE (account_id, idempotency_key)
);

CREATE TABLE payments (
    account_id bigint NOT NULL,
    order_id   uuid NOT NULL,
    payment_id uuid NOT NULL,
    amount     numeric(19, 4) NOT NULL,
    status     text NOT NULL CHECK (status IN ('COMPLETED', 'REFUNDED')),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, order_id)
);

-- What the account service must still be told. Written with the decision, deleted once it answered.
CREATE TABLE outbox (
    account_id bigint NOT NULL,
    order_id   uuid NOT NULL,
    action     text NOT NULL CHECK (action IN ('CAPTURE', 'RELEASE', 'REFUND')),
    amount     numeric(19, 4) NOT NULL,
    attempts   integer NOT NULL DEFAULT 0,
    due_at     timestamptz NOT NULL,
    PRIMARY KEY (account_id, order_id, action)
) WITH (fillfactor = 70);

CREATE INDEX outbox_due ON outbox (due_at);
