-- The ledger, as migrations/postgres has it. Amounts are integers in units of 10^-4 (SQLite's NUMERIC would make them
-- floating-point numbers), times are microseconds since 1970.

CREATE TABLE accounts (
    account_id      INTEGER NOT NULL PRIMARY KEY CHECK (account_id > 0),
    currency        TEXT    NOT NULL,
    opening_balance INTEGER NOT NULL CHECK (opening_balance >= 0),
    balance         INTEGER NOT NULL CHECK (balance >= 0),
    -- the sum of the HELD reservations
    reserved        INTEGER NOT NULL CHECK (reserved >= 0),
    -- how many lines the statement has
    entries         INTEGER NOT NULL CHECK (entries >= 0),
    created_at      INTEGER NOT NULL,
    CHECK (reserved <= balance)
) STRICT;

-- No foreign key to accounts: a decline or a tombstone may name an account that was never opened.
CREATE TABLE reservations (
    account_id INTEGER NOT NULL CHECK (account_id > 0),
    reserve_id TEXT    NOT NULL,
    -- null on a tombstone
    order_id   TEXT,
    amount     INTEGER NOT NULL CHECK (amount >= 0),
    captured   INTEGER NOT NULL CHECK (captured BETWEEN 0 AND amount),
    refunded   INTEGER NOT NULL CHECK (refunded BETWEEN 0 AND captured),
    state      TEXT    NOT NULL
        CHECK (state IN ('HELD', 'CAPTURED', 'RELEASED', 'EXPIRED', 'DECLINED')),
    -- why it was declined
    decline    TEXT    CHECK ((decline IS NOT NULL) = (state = 'DECLINED')),
    created_at INTEGER NOT NULL,
    expires_at INTEGER CHECK (expires_at IS NOT NULL OR state <> 'HELD'),
    PRIMARY KEY (account_id, reserve_id)
) STRICT, WITHOUT ROWID;

-- Holds by the end of their time, for the sweeper.
CREATE INDEX reservations_due ON reservations (expires_at, account_id) WHERE state = 'HELD';

CREATE TABLE deposits (
    account_id INTEGER NOT NULL,
    deposit_id TEXT    NOT NULL,
    amount     INTEGER NOT NULL CHECK (amount > 0),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, deposit_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE refunds (
    account_id INTEGER NOT NULL,
    reserve_id TEXT    NOT NULL,
    refund_id  TEXT    NOT NULL,
    amount     INTEGER NOT NULL CHECK (amount > 0),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, reserve_id, refund_id)
) STRICT, WITHOUT ROWID;

-- The statement: one line for each change of a balance, numbered without gaps within the account.
CREATE TABLE entries (
    account_id INTEGER NOT NULL,
    sequence   INTEGER NOT NULL CHECK (sequence > 0),
    kind       TEXT    NOT NULL CHECK (kind IN ('OPENING', 'DEPOSIT', 'CAPTURE', 'REFUND')),
    amount     INTEGER NOT NULL CHECK (amount > 0),
    balance    INTEGER NOT NULL CHECK (balance >= 0),
    reference  TEXT    NOT NULL,
    order_id   TEXT,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, sequence)
) STRICT, WITHOUT ROWID;
