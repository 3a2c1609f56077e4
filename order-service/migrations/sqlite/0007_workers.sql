-- Processes that work on keys. Each says twice a second that it lives; when one falls silent, the others end its leases
-- instead of waiting for them.

CREATE TABLE workers (
    worker_id    BLOB NOT NULL PRIMARY KEY,
    beat_at      INTEGER NOT NULL,
    -- Since when it has beaten without a gap.
    steady_since INTEGER NOT NULL,
    -- When its leases were ended, because it was silent.
    ended_at     INTEGER
) STRICT, WITHOUT ROWID;

-- Who holds the lease. Null: a pod of the version before, or one that has not beaten yet; then the lease alone counts.
ALTER TABLE idempotency_keys ADD COLUMN owner BLOB;
ALTER TABLE outbox ADD COLUMN owner BLOB;
