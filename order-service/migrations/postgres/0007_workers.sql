-- Processes that work on keys. Each says twice a second that it lives; when one falls silent, the others end its leases
-- instead of waiting for them.

CREATE TABLE workers (
    worker_id    uuid PRIMARY KEY,
    beat_at      timestamptz NOT NULL,
    -- Since when it has beaten without a gap.
    steady_since timestamptz NOT NULL,
    -- When its leases were ended, because it was silent.
    ended_at     timestamptz
) WITH (fillfactor = 50);

-- Who holds the lease. Null: a pod of the version before, or one that has not beaten yet; then the lease alone counts.
ALTER TABLE idempotency_keys ADD COLUMN owner uuid;
ALTER TABLE outbox ADD COLUMN owner uuid;
