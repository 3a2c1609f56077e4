-- A settlement that the account service refuses stays in the outbox with the reason, until it is told or resolved.
-- Rows of before count as written now: nothing says how long they have waited.

ALTER TABLE outbox
    ADD COLUMN refused    text,
    ADD COLUMN created_at timestamptz NOT NULL DEFAULT now();

-- Read for metrics every few seconds. A row that its writer settles at once is in neither index.
CREATE INDEX outbox_refused ON outbox (account_id, order_id) WHERE refused IS NOT NULL;
CREATE INDEX outbox_standing ON outbox (created_at) WHERE attempts > 0;

-- Settlements that were given up by hand: what they would have done is what the two books may differ by.
CREATE TABLE settlement_resolutions (
    account_id  bigint NOT NULL,
    order_id    uuid NOT NULL,
    action      text COLLATE "C" NOT NULL,
    amount      numeric(19, 4) NOT NULL,
    refused     text NOT NULL,
    attempts    integer NOT NULL,
    created_at  timestamptz NOT NULL,
    note        text NOT NULL,
    resolved_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, order_id, action)
);
