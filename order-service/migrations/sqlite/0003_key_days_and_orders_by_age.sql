-- How long the keys of each day are kept, in whole days: the longest lifetime that any pod was told on that day. Days are
-- counted from 1970 (UTC).

CREATE TABLE key_days (
    day           INTEGER PRIMARY KEY,
    lifetime_days INTEGER NOT NULL CHECK (lifetime_days > 0)
) STRICT;

-- Lists an account's orders newest first.
CREATE INDEX orders_by_age ON orders (account_id, created_at, order_id);
