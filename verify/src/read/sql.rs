//! What is asked of each kind of database. Every column is text: amounts in units of 10^-4, ages in microseconds.

/// A statement with its values: numbers first, then one text.
#[derive(Debug)]
pub(crate) struct Query {
    pub(super) sql: &'static Sql,
    pub(super) numbers: Vec<i64>,
    pub(super) text: String,
}

/// One statement in both dialects.
#[derive(Debug)]
pub(super) struct Sql {
    pub(super) postgres: &'static str,
    pub(super) sqlite: &'static str,
}

/// The columns of a reservation. A cancellation refunds under the order's id, or with a suffix when a caller of the
/// account service has given a part back before; a repair with another.
macro_rules! reservation {
    (postgres) => {
        "
    r.account_id::text, r.reserve_id, r.order_id, r.state, (r.amount * 10000)::bigint::text,
    (r.captured * 10000)::bigint::text, (r.refunded * 10000)::bigint::text,
    (extract(epoch FROM now() - r.created_at) * 1000000)::bigint::text,
    CASE WHEN r.refunded > 0 AND r.refunded = r.captured THEN (
        SELECT count(*) FROM refunds AS f
        WHERE f.account_id = r.account_id AND f.reserve_id = r.reserve_id AND (
            f.refund_id = r.reserve_id AND f.amount = r.captured
            OR f.refund_id LIKE r.reserve_id || ':cancel%' OR f.refund_id = r.reserve_id || ':repair')
    ) ELSE 0 END::text"
    };
    (sqlite) => {
        "
    CAST(r.account_id AS text), r.reserve_id, r.order_id, r.state, CAST(r.amount AS text),
    CAST(r.captured AS text), CAST(r.refunded AS text),
    CAST(CAST(unixepoch('subsec') * 1000000 AS integer) - r.created_at AS text),
    CAST(CASE WHEN r.refunded > 0 AND r.refunded = r.captured THEN (
        SELECT count(*) FROM refunds AS f
        WHERE f.account_id = r.account_id AND f.reserve_id = r.reserve_id AND (
            f.refund_id = r.reserve_id AND f.amount = r.captured
            OR f.refund_id LIKE r.reserve_id || ':cancel%' OR f.refund_id = r.reserve_id || ':repair')
    ) ELSE 0 END AS text)"
    };
}

macro_rules! order {
    (postgres) => {
        "
    o.account_id::text, o.order_id::text, (o.amount * 10000)::bigint::text, o.status,
    (extract(epoch FROM now() - o.created_at) * 1000000)::bigint::text"
    };
    (sqlite) => {
        "
    CAST(o.account_id AS text), lower(hex(o.order_id)), CAST(o.amount AS text), o.status,
    CAST(CAST(unixepoch('subsec') * 1000000 AS integer) - o.created_at AS text)"
    };
}

/// Names as a JSON array of arrays, account and id.
macro_rules! names {
    (postgres) => {
        "(
        SELECT (name ->> 0)::bigint AS account_id, name ->> 1 AS id
        FROM jsonb_array_elements($1::jsonb) AS name
    ) AS n"
    };
    (sqlite) => {
        "(
        SELECT json_extract(value, '$[0]') AS account_id, json_extract(value, '$[1]') AS id FROM json_each(?1)
    ) AS n"
    };
}

pub(super) const RESERVATIONS_AFTER: Sql = Sql {
    postgres: concat!(
        "SELECT",
        reservation!(postgres),
        " FROM reservations AS r WHERE (r.account_id, r.reserve_id) > ($1, $3)
    ORDER BY r.account_id, r.reserve_id LIMIT $2"
    ),
    sqlite: concat!(
        "SELECT",
        reservation!(sqlite),
        " FROM reservations AS r WHERE (r.account_id, r.reserve_id) > (?1, ?3)
    ORDER BY r.account_id, r.reserve_id LIMIT ?2"
    ),
};

pub(super) const ORDERS_AFTER: Sql = Sql {
    postgres: concat!(
        "SELECT",
        order!(postgres),
        " FROM orders AS o
    WHERE (o.account_id, o.order_id) > ($1, $3::text::uuid) AND o.status IN ('PLACED', 'CANCELLED')
    ORDER BY o.account_id, o.order_id LIMIT $2"
    ),
    sqlite: concat!(
        "SELECT",
        order!(sqlite),
        " FROM orders AS o
    WHERE (o.account_id, o.order_id) > (?1, unhex(?3, '-')) AND o.status IN ('PLACED', 'CANCELLED')
    ORDER BY o.account_id, o.order_id LIMIT ?2"
    ),
};

pub(super) const RESERVATIONS: Sql = Sql {
    postgres: concat!(
        "SELECT",
        reservation!(postgres),
        " FROM ",
        names!(postgres),
        " JOIN reservations AS r ON r.account_id = n.account_id AND r.reserve_id = n.id"
    ),
    sqlite: concat!(
        "SELECT",
        reservation!(sqlite),
        " FROM ",
        names!(sqlite),
        " JOIN reservations AS r ON r.account_id = n.account_id AND r.reserve_id = n.id"
    ),
};

pub(super) const ORDERS: Sql = Sql {
    postgres: concat!(
        "SELECT",
        order!(postgres),
        " FROM ",
        names!(postgres),
        " JOIN orders AS o ON o.account_id = n.account_id AND o.order_id = n.id::uuid
    WHERE o.status IN ('PLACED', 'CANCELLED')"
    ),
    sqlite: concat!(
        "SELECT",
        order!(sqlite),
        " FROM ",
        names!(sqlite),
        " JOIN orders AS o ON o.account_id = n.account_id AND o.order_id = unhex(n.id, '-')
    WHERE o.status IN ('PLACED', 'CANCELLED')"
    ),
};

/// When a row was written and whether it was refused are columns that a database of the version before does not have.
/// A name that the innermost table lacks is looked for outside, where it is NULL.
pub(super) const OUTBOX: Sql = Sql {
    postgres: concat!(
        "
    SELECT o.account_id::text, o.order_id::text, o.action,
        (SELECT (extract(epoch FROM now() - created_at) * 1000000)::bigint FROM outbox AS w
         WHERE w.account_id = o.account_id AND w.order_id = o.order_id AND w.action = o.action)::text,
        (SELECT refused FROM outbox AS w
         WHERE w.account_id = o.account_id AND w.order_id = o.order_id AND w.action = o.action)::text
    FROM (SELECT NULL::timestamptz AS created_at, NULL::text AS refused) AS absent CROSS JOIN (
        SELECT w.account_id, w.order_id, w.action FROM ",
        names!(postgres),
        " JOIN outbox AS w ON w.account_id = n.account_id AND w.order_id = n.id::uuid
    ) AS o ORDER BY o.account_id, o.order_id, o.action"
    ),
    sqlite: concat!(
        "
    SELECT CAST(o.account_id AS text), lower(hex(o.order_id)), o.action,
        CAST((SELECT CAST(unixepoch('subsec') * 1000000 AS integer) - created_at FROM outbox AS w
         WHERE w.account_id = o.account_id AND w.order_id = o.order_id AND w.action = o.action) AS text),
        CAST((SELECT refused FROM outbox AS w
         WHERE w.account_id = o.account_id AND w.order_id = o.order_id AND w.action = o.action) AS text)
    FROM (SELECT NULL AS created_at, NULL AS refused) AS absent CROSS JOIN (
        SELECT w.account_id, w.order_id, w.action FROM ",
        names!(sqlite),
        " JOIN outbox AS w ON w.account_id = n.account_id AND w.order_id = unhex(n.id, '-')
    ) AS o ORDER BY o.account_id, o.order_id, o.action"
    ),
};

/// What is to be told, wherever it is written: a view that a database of the version before does not have.
pub(super) const NOTICES: Sql = Sql {
    postgres: concat!(
        "
    SELECT w.account_id::text, w.order_id::text, w.action,
        (extract(epoch FROM now() - w.created_at) * 1000000)::bigint::text, w.refused
    FROM ",
        names!(postgres),
        " JOIN notices AS w ON w.account_id = n.account_id AND w.order_id = n.id::uuid
    ORDER BY w.account_id, w.order_id, w.action"
    ),
    sqlite: concat!(
        "
    SELECT CAST(w.account_id AS text), lower(hex(w.order_id)), w.action,
        CAST(CAST(unixepoch('subsec') * 1000000 AS integer) - w.created_at AS text), w.refused
    FROM ",
        names!(sqlite),
        " JOIN notices AS w ON w.account_id = n.account_id AND w.order_id = unhex(n.id, '-')
    ORDER BY w.account_id, w.order_id, w.action"
    ),
};

/// Through the index of undecided keys, which is as small as what is in flight, and by the ids of orders.
pub(super) const UNDECIDED: Sql = Sql {
    postgres: "
    SELECT k.account_id::text, k.order_id::text FROM idempotency_keys AS k
    WHERE k.status = 'PROCESSING' AND k.order_id = ANY (
        ARRAY(SELECT (name ->> 1)::uuid FROM jsonb_array_elements($1::jsonb) AS name))
    UNION ALL
    SELECT o.account_id::text, o.order_id::text
    FROM jsonb_array_elements($1::jsonb) AS name
    JOIN orders AS o ON o.account_id = (name ->> 0)::bigint AND o.order_id = (name ->> 1)::uuid
    WHERE o.status = 'PROCESSING'",
    sqlite: "
    SELECT CAST(k.account_id AS text), lower(hex(k.order_id)) FROM idempotency_keys AS k
    WHERE k.status = 'PROCESSING'
      AND k.order_id IN (SELECT unhex(json_extract(value, '$[1]'), '-') FROM json_each(?1))
    UNION ALL
    SELECT CAST(o.account_id AS text), lower(hex(o.order_id))
    FROM json_each(?1) AS n
    JOIN orders AS o ON o.account_id = json_extract(n.value, '$[0]')
        AND o.order_id = unhex(json_extract(n.value, '$[1]'), '-')
    WHERE o.status = 'PROCESSING'",
};

/// Whether the database has a table or view: one of the version before lacks that of settlements that were given up, and
/// that of all notices.
pub(super) const HAS_TABLE: Sql = Sql {
    postgres: "SELECT 1::text WHERE to_regclass($1) IS NOT NULL",
    sqlite: "SELECT CAST(1 AS text) FROM sqlite_master WHERE type IN ('table', 'view') AND name = ?1",
};

pub(super) const RESOLUTIONS: Sql = Sql {
    postgres: concat!(
        "SELECT s.account_id::text, s.order_id::text, s.action FROM ",
        names!(postgres),
        " JOIN settlement_resolutions AS s ON s.account_id = n.account_id AND s.order_id = n.id::uuid
    ORDER BY s.account_id, s.order_id, s.action"
    ),
    sqlite: concat!(
        "SELECT CAST(s.account_id AS text), lower(hex(s.order_id)), s.action FROM ",
        names!(sqlite),
        " JOIN settlement_resolutions AS s ON s.account_id = n.account_id AND s.order_id = unhex(n.id, '-')
    ORDER BY s.account_id, s.order_id, s.action"
    ),
};
