-- The ledger. account_id is the shard key and leads every primary key.
--
-- Every change happens under a lock on the account's row, so that row is updated for every command: half of each page
-- is left free and no index covers a changing column, which keeps those updates on their page (HOT).

CREATE TABLE accounts (
    account_id      bigint         NOT NULL PRIMARY KEY CHECK (account_id > 0),
    currency        varchar(3)     NOT NULL,
    opening_balance numeric(19, 4) NOT NULL CHECK (opening_balance >= 0),
    balance         numeric(19, 4) NOT NULL CHECK (balance >= 0),
    -- the sum of the HELD reservations
    reserved        numeric(19, 4) NOT NULL CHECK (reserved >= 0),
    -- how many lines the statement has
    entries         bigint         NOT NULL CHECK (entries >= 0),
    created_at      timestamptz    NOT NULL,
    CHECK (reserved <= balance)
) WITH (fillfactor = 50);

-- No foreign key to accounts: a decline or a tombstone may name an account that was never opened.
CREATE TABLE reservations (
    account_id bigint                    NOT NULL CHECK (account_id > 0),
    reserve_id varchar(128) COLLATE "C"  NOT NULL,
    -- null on a tombstone
    order_id   varchar(128) COLLATE "C",
    amount     numeric(19, 4)            NOT NULL CHECK (amount >= 0),
    captured   numeric(19, 4)            NOT NULL CHECK (captured BETWEEN 0 AND amount),
    refunded   numeric(19, 4)            NOT NULL CHECK (refunded BETWEEN 0 AND captured),
    state      varchar(8)                NOT NULL
        CHECK (state IN ('HELD', 'CAPTURED', 'RELEASED', 'EXPIRED', 'DECLINED')),
    -- why it was declined
    decline    varchar(32)               CHECK ((decline IS NOT NULL) = (state = 'DECLINED')),
    created_at timestamptz               NOT NULL,
    expires_at timestamptz               CHECK (expires_at IS NOT NULL OR state <> 'HELD'),
    PRIMARY KEY (account_id, reserve_id)
) WITH (fillfactor = 80);

-- Holds by the end of their time, for the sweeper. Short-lived holds leave it before anybody looks.
CREATE INDEX reservations_due ON reservations (expires_at, account_id) WHERE state = 'HELD';

CREATE TABLE deposits (
    account_id bigint                   NOT NULL,
    deposit_id varchar(128) COLLATE "C" NOT NULL,
    amount     numeric(19, 4)           NOT NULL CHECK (amount > 0),
    created_at timestamptz              NOT NULL,
    PRIMARY KEY (account_id, deposit_id)
);

CREATE TABLE refunds (
    account_id bigint                   NOT NULL,
    reserve_id varchar(128) COLLATE "C" NOT NULL,
    refund_id  varchar(128) COLLATE "C" NOT NULL,
    amount     numeric(19, 4)           NOT NULL CHECK (amount > 0),
    created_at timestamptz              NOT NULL,
    PRIMARY KEY (account_id, reserve_id, refund_id)
);

-- The statement: one line for each change of a balance, numbered without gaps within the account.
CREATE TABLE entries (
    account_id bigint                   NOT NULL,
    sequence   bigint                   NOT NULL CHECK (sequence > 0),
    kind       varchar(8)               NOT NULL
        CHECK (kind IN ('OPENING', 'DEPOSIT', 'CAPTURE', 'REFUND')),
    amount     numeric(19, 4)           NOT NULL CHECK (amount > 0),
    balance    numeric(19, 4)           NOT NULL CHECK (balance >= 0),
    reference  varchar(128) COLLATE "C" NOT NULL,
    order_id   varchar(128) COLLATE "C",
    created_at timestamptz              NOT NULL,
    PRIMARY KEY (account_id, sequence)
);
