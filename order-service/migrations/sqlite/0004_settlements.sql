-- As for PostgreSQL. SQLite adds no column whose default is the time, and a process of the version before names no
-- created_at when it writes a row: so the table is made anew, with its rows.

CREATE TABLE outbox_with_times (
    account_id INTEGER NOT NULL,
    order_id   BLOB NOT NULL,
    action     TEXT NOT NULL CHECK (action IN ('CAPTURE', 'RELEASE', 'REFUND')),
    amount     INTEGER NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0,
    due_at     INTEGER NOT NULL,
    refused    TEXT,
    created_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER)),
    PRIMARY KEY (account_id, order_id, action)
) STRICT, WITHOUT ROWID;

INSERT INTO outbox_with_times (account_id, order_id, action, amount, attempts, due_at)
SELECT account_id, order_id, action, amount, attempts, due_at FROM outbox;

DROP TABLE outbox;
ALTER TABLE outbox_with_times RENAME TO outbox;

CREATE INDEX outbox_due ON outbox (due_at);
CREATE INDEX outbox_refused ON outbox (account_id, order_id) WHERE refused IS NOT NULL;
CREATE INDEX outbox_standing ON outbox (created_at) WHERE attempts > 0;

CREATE TABLE settlement_resolutions (
    account_id  INTEGER NOT NULL,
    order_id    BLOB NOT NULL,
    action      TEXT NOT NULL,
    amount      INTEGER NOT NULL,
    refused     TEXT NOT NULL,
    attempts    INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    note        TEXT NOT NULL,
    resolved_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, order_id, action)
) STRICT, WITHOUT ROWID;
