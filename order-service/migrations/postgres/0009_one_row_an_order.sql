-- The key's row is the order, and work in progress is a batch: docs/decisions/0020-one-row-an-order.md.
--
-- Rows of before have neither fence nor payment here: their payment is in `payments`, and what was told of their key is in
-- `idempotency_keys` as long as that is kept.

ALTER TABLE orders
    -- Who may decide it: the fence of its worker, and the batch in which it is worked on.
    ADD COLUMN fence      integer,
    ADD COLUMN batch      bigint,
    ADD COLUMN payment    uuid,
    -- Why it was refused. Such a row leaves minutes later; the refusal stays in `idempotency_keys`.
    ADD COLUMN outcome    text,
    DROP CONSTRAINT orders_status_check,
    -- Rows of before fit, and are not read for it.
    ADD CONSTRAINT orders_status_check CHECK (status IN ('PROCESSING', 'PLACED', 'CANCELLED', 'REFUSED')) NOT VALID;

-- A decision follows its claim within milliseconds and stays on its page (HOT) where there is room for it.
ALTER TABLE orders SET (fillfactor = 60);

-- What one transaction claimed or took over. An undecided order is listed in the batch that its row names.
CREATE TABLE claim_batches (
    batch_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    lease_until timestamptz NOT NULL,
    accounts    bigint[] NOT NULL,
    orders      uuid[] NOT NULL
);
CREATE INDEX claim_batches_due ON claim_batches (lease_until);

-- What one transaction left to be told to the account service, leased to the process that wrote it.
CREATE TABLE notice_batches (
    batch_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    due_at     timestamptz NOT NULL,
    attempts   integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    accounts   bigint[] NOT NULL,
    orders     uuid[] NOT NULL,
    actions    text[] NOT NULL,
    amounts    numeric[] NOT NULL
);
CREATE INDEX notice_batches_due ON notice_batches (due_at);

-- Refusals whose rows are to leave `orders`: not before every claim has ended that began before them.
CREATE TABLE refused_batches (
    batch_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    due_at   timestamptz NOT NULL,
    accounts bigint[] NOT NULL,
    orders   uuid[] NOT NULL
);

-- Where claims go: `keys` into idempotency_keys, `orders` into orders. In the steps between, which are `locked`, claims of
-- both take a lock on their key first.
CREATE TABLE layout (
    singleton  boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    claims     text NOT NULL CHECK (claims IN ('keys', 'keys locked', 'orders locked', 'orders')),
    changed_at timestamptz NOT NULL DEFAULT now()
);

-- An installation stays as it is until an operator moves it (`order-service layout`): programs of before may be running. One
-- that this very run of `migrate` makes has none.
INSERT INTO layout (claims)
SELECT CASE WHEN min(installed_on) < now() - interval '1 minute' THEN 'keys' ELSE 'orders' END
FROM _sqlx_migrations;
