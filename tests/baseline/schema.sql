DROP TABLE IF EXISTS idempotency_keys, accounts, reservations, orders, payments;

CREATE TABLE idempotency_keys (
    idempotency_key varchar(128) PRIMARY KEY,
    account_id      bigint NOT NULL,
    status          varchar(20) NOT NULL,
    response_json   jsonb,
    created_at      timestamp DEFAULT now()
);

CREATE TABLE accounts (
    account_id bigint PRIMARY KEY,
    balance    numeric(19, 4) NOT NULL,
    reserved   numeric(19, 4) NOT NULL DEFAULT 0
);

CREATE TABLE reservations (
    account_id bigint NOT NULL,
    reserve_id text NOT NULL,
    order_id   text NOT NULL,
    amount     numeric(19, 4) NOT NULL,
    status     text NOT NULL,
    created_at timestamptz DEFAULT now(),
    PRIMARY KEY (account_id, reserve_id)
);

CREATE TABLE orders (
    order_id        bigint PRIMARY KEY,
    account_id      bigint NOT NULL,
    idempotency_key text NOT NULL,
    amount          numeric(19, 4),
    status          text,
    created_at      timestamptz DEFAULT now()
);

CREATE TABLE payments (
    payment_id bigint PRIMARY KEY,
    order_id   bigint NOT NULL,
    account_id bigint NOT NULL,
    amount     numeric(19, 4),
    status     text,
    created_at timestamptz DEFAULT now()
);

INSERT INTO accounts SELECT account, 1000000000, 0 FROM generate_series(1, 10000) AS account;
