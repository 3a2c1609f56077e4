//! Statements that show rows whole, each as one JSON object. Amounts are in units of 10^-4, times in microseconds since
//! 1970; the names of columns tell which is which.
//!
//! Each takes an account, and a text: a key, or order ids as a JSON array.

use super::sql::Sql;

/// Amounts and times of PostgreSQL, as SQLite has them.
macro_rules! units {
    ($column:literal) => {
        concat!("(", $column, " * 10000)::bigint")
    };
}
macro_rules! micros {
    ($column:literal) => {
        concat!("(extract(epoch FROM ", $column, ") * 1000000)::bigint")
    };
}

/// The ids of orders that were asked for.
macro_rules! ids {
    (postgres) => {
        " = ANY (ARRAY(SELECT jsonb_array_elements_text($2::jsonb)::uuid))"
    };
    (sqlite) => {
        " IN (SELECT unhex(value, '-') FROM json_each(?2))"
    };
}

macro_rules! key {
    (postgres) => {
        concat!(
            "SELECT json_build_object('idempotency_key', idempotency_key, 'order_id', order_id, 'status', status,
            'amount', ",
            units!("amount"),
            ", 'response', response, 'created_at', ",
            micros!("created_at"),
            ")::text FROM keys WHERE account_id = $1 AND "
        )
    };
    (sqlite) => {
        "SELECT json_object('idempotency_key', idempotency_key, 'order_id', lower(hex(order_id)), 'status', status,
            'amount', amount, 'response', response, 'created_at', created_at) FROM keys WHERE account_id = ?1 AND "
    };
}

pub(super) const BY_KEY: Sql = Sql {
    postgres: concat!(key!(postgres), "idempotency_key = $2 ORDER BY created_at"),
    sqlite: concat!(key!(sqlite), "idempotency_key = ?2 ORDER BY created_at"),
};

/// Reads all keys of the account that are kept: keys are not found by orders.
pub(super) const KEYS: Sql = Sql {
    postgres: concat!(key!(postgres), "order_id", ids!(postgres), " ORDER BY created_at"),
    sqlite: concat!(key!(sqlite), "order_id", ids!(sqlite), " ORDER BY created_at"),
};

pub(super) const ORDERS: Sql = Sql {
    postgres: concat!(
        "SELECT json_build_object('order_id', order_id, 'idempotency_key', idempotency_key, 'status', status, 'amount', ",
        units!("amount"),
        ", 'currency', currency, 'basket', basket, 'created_at', ",
        micros!("created_at"),
        ", 'cancelled_by', cancelled_by)::text FROM orders WHERE account_id = $1 AND order_id",
        ids!(postgres)
    ),
    sqlite: concat!(
        "SELECT json_object('order_id', lower(hex(order_id)), 'idempotency_key', idempotency_key, 'status', status,
            'amount', amount, 'currency', currency, 'basket', basket, 'created_at', created_at,
            'cancelled_by', cancelled_by) FROM orders WHERE account_id = ?1 AND order_id",
        ids!(sqlite)
    ),
};

pub(super) const PAYMENTS: Sql = Sql {
    postgres: concat!(
        "SELECT json_build_object('order_id', order_id, 'payment_id', payment_id, 'status', status, 'amount', ",
        units!("amount"),
        ", 'created_at', ",
        micros!("created_at"),
        ")::text FROM order_payments WHERE account_id = $1 AND order_id",
        ids!(postgres)
    ),
    sqlite: concat!(
        "SELECT json_object('order_id', lower(hex(order_id)), 'payment_id', lower(hex(payment_id)), 'status', status,
            'amount', amount, 'created_at', created_at) FROM order_payments WHERE account_id = ?1 AND order_id",
        ids!(sqlite)
    ),
};

pub(super) const OUTBOX: Sql = Sql {
    postgres: concat!(
        "SELECT json_build_object('order_id', order_id, 'action', action, 'amount', ",
        units!("amount"),
        ", 'attempts', attempts, 'refused', refused, 'created_at', ",
        micros!("created_at"),
        ", 'due_at', ",
        micros!("due_at"),
        ")::text FROM notices WHERE account_id = $1 AND order_id",
        ids!(postgres)
    ),
    sqlite: concat!(
        "SELECT json_object('order_id', lower(hex(order_id)), 'action', action, 'amount', amount, 'attempts', attempts,
            'refused', refused, 'created_at', created_at, 'due_at', due_at)
            FROM notices WHERE account_id = ?1 AND order_id",
        ids!(sqlite)
    ),
};

pub(super) const RESOLUTIONS: Sql = Sql {
    postgres: concat!(
        "SELECT json_build_object('order_id', order_id, 'action', action, 'amount', ",
        units!("amount"),
        ", 'refused', refused, 'note', note, 'resolved_at', ",
        micros!("resolved_at"),
        ")::text FROM settlement_resolutions WHERE account_id = $1 AND order_id",
        ids!(postgres)
    ),
    sqlite: concat!(
        "SELECT json_object('order_id', lower(hex(order_id)), 'action', action, 'amount', amount, 'refused', refused,
            'note', note, 'resolved_at', resolved_at) FROM settlement_resolutions WHERE account_id = ?1 AND order_id",
        ids!(sqlite)
    ),
};

pub(super) const RESERVATIONS: Sql = Sql {
    postgres: concat!(
        "SELECT json_build_object('reserve_id', reserve_id, 'order_id', order_id, 'state', state, 'amount', ",
        units!("amount"),
        ", 'captured', ",
        units!("captured"),
        ", 'refunded', ",
        units!("refunded"),
        ", 'decline', coalesce(cause, decline), 'created_at', ",
        micros!("created_at"),
        ", 'expires_at', ",
        micros!("expires_at"),
        ")::text FROM reservations WHERE account_id = $1
            AND reserve_id = ANY (ARRAY(SELECT jsonb_array_elements_text($2::jsonb)))"
    ),
    sqlite: "SELECT json_object('reserve_id', reserve_id, 'order_id', order_id, 'state', state, 'amount', amount,
        'captured', captured, 'refunded', refunded, 'decline', coalesce(cause, decline), 'created_at', created_at,
        'expires_at', expires_at) FROM reservations WHERE account_id = ?1
            AND reserve_id IN (SELECT value FROM json_each(?2))",
};

pub(super) const REFUNDS: Sql = Sql {
    postgres: concat!(
        "SELECT json_build_object('reserve_id', reserve_id, 'refund_id', refund_id, 'amount', ",
        units!("amount"),
        ", 'created_at', ",
        micros!("created_at"),
        ", 'refunded_by', refunded_by)::text FROM refunds WHERE account_id = $1
            AND reserve_id = ANY (ARRAY(SELECT jsonb_array_elements_text($2::jsonb))) ORDER BY created_at"
    ),
    sqlite: "SELECT json_object('reserve_id', reserve_id, 'refund_id', refund_id, 'amount', amount,
        'created_at', created_at, 'refunded_by', refunded_by) FROM refunds WHERE account_id = ?1
            AND reserve_id IN (SELECT value FROM json_each(?2)) ORDER BY created_at",
};

/// A statement is found by its account alone, and may be long: only its last 100,000 lines are looked through.
pub(super) const ENTRIES: Sql = Sql {
    postgres: concat!(
        "SELECT json_build_object('sequence', sequence, 'kind', kind, 'amount', ",
        units!("amount"),
        ", 'balance', ",
        units!("balance"),
        ", 'reference', reference, 'created_at', ",
        micros!("created_at"),
        ")::text FROM entries WHERE account_id = $1
            AND sequence > (SELECT entries - 100000 FROM accounts WHERE account_id = $1)
            AND order_id = ANY (ARRAY(SELECT jsonb_array_elements_text($2::jsonb))) ORDER BY sequence"
    ),
    sqlite: "SELECT json_object('sequence', sequence, 'kind', kind, 'amount', amount, 'balance', balance,
        'reference', reference, 'created_at', created_at) FROM entries WHERE account_id = ?1
            AND sequence > (SELECT entries - 100000 FROM accounts WHERE account_id = ?1)
            AND order_id IN (SELECT value FROM json_each(?2)) ORDER BY sequence",
};

/// Keys that nobody has decided, the oldest first: through the index of undecided keys, and the batches under way.
/// Takes the age in microseconds that they must have, and a text that is not looked at.
pub(super) const UNDECIDED: Sql = Sql {
    postgres: concat!(
        "SELECT json_build_object('account_id', account_id, 'idempotency_key', idempotency_key, 'order_id', order_id,
            'amount', ",
        units!("amount"),
        ", 'fence', fence, 'created_at', ",
        micros!("created_at"),
        ", 'lease_until', ",
        micros!("lease_until"),
        ", 'owner', owner)::text FROM (
            SELECT account_id, idempotency_key, order_id, amount, fence, created_at, lease_until, owner
            FROM idempotency_keys WHERE status = 'PROCESSING'
            UNION ALL
            SELECT o.account_id, o.idempotency_key, o.order_id, o.amount, o.fence, o.created_at, b.lease_until, b.owner
            FROM claim_batches AS b CROSS JOIN LATERAL unnest(b.accounts, b.orders) AS n (account_id, order_id)
            JOIN orders AS o ON o.account_id = n.account_id AND o.order_id = n.order_id AND o.batch = b.batch_id
            WHERE o.status = 'PROCESSING'
        ) AS undecided
        WHERE created_at <= now() - $1 * interval '1 microsecond' AND $2::text IS NOT NULL
        ORDER BY undecided.created_at LIMIT 1000"
    ),
    sqlite: "SELECT json_object('account_id', account_id, 'idempotency_key', idempotency_key,
            'order_id', lower(hex(order_id)), 'amount', amount, 'fence', fence, 'created_at', created_at,
            'lease_until', lease_until, 'owner', lower(hex(owner))) FROM (
            SELECT account_id, idempotency_key, order_id, amount, fence, created_at, lease_until, owner
            FROM idempotency_keys WHERE status = 'PROCESSING'
            UNION ALL
            SELECT o.account_id, o.idempotency_key, o.order_id, o.amount, o.fence, o.created_at, b.lease_until, b.owner
            FROM claim_batches AS b CROSS JOIN json_each(b.orders) AS n
            CROSS JOIN orders AS o ON o.account_id = n.value ->> 0 AND o.order_id = unhex(n.value ->> 1)
            WHERE o.status = 'PROCESSING' AND o.batch = b.batch_id
        )
        WHERE created_at <= CAST(unixepoch('subsec') * 1000000 AS integer) - ?1 AND ?2 IS NOT NULL
        ORDER BY created_at LIMIT 1000",
};
