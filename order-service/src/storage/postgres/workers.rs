//! Heartbeats, and the leases of processes that fell silent.

use std::time::Duration;

use database::{PgOptions, Postgres};
use sqlx::{PgConnection, Row, postgres::PgRow};
use uuid::Uuid;

use crate::storage::tables::{Silence, Silent, Workers};

const BEAT: &str = "
    INSERT INTO workers AS w (worker_id, beat_at, steady_since) VALUES ($1, now(), now())
    ON CONFLICT (worker_id) DO UPDATE
    SET beat_at = now(), ended_at = NULL,
        steady_since = CASE WHEN w.beat_at < now() - make_interval(secs => $2) THEN now() ELSE w.steady_since END";

const SILENT: &str = "
    SELECT w.worker_id, w.ended_at IS NOT NULL AS again FROM workers AS w
    WHERE w.beat_at <= now() - make_interval(secs => $2)
      AND (w.ended_at IS NULL OR w.ended_at <= now() - make_interval(secs => $3))
      AND EXISTS (
        SELECT FROM workers AS judge
        WHERE judge.worker_id = $1 AND judge.beat_at > now() - make_interval(secs => $2)
          AND judge.steady_since <= now() - make_interval(secs => $2)
      )
    ORDER BY w.worker_id LIMIT $4 FOR UPDATE OF w SKIP LOCKED";

/// Passes over rows that a transaction holds, perhaps one of a process that is frozen in the midst of it: others are not to
/// wait for those.
const END_KEY_LEASES: &str = "
    WITH held AS MATERIALIZED (
        SELECT account_id, idempotency_key, day FROM idempotency_keys
        WHERE status = 'PROCESSING' AND lease_until > now() AND owner = ANY($1)
        FOR NO KEY UPDATE SKIP LOCKED
    )
    UPDATE idempotency_keys AS k SET lease_until = now() FROM held AS h
    WHERE k.account_id = h.account_id AND k.idempotency_key = h.idempotency_key AND k.day = h.day";

const END_NOTICE_LEASES: &str = "
    WITH held AS MATERIALIZED (
        SELECT account_id, order_id, action FROM outbox
        WHERE due_at > now() AND owner = ANY($1) AND refused IS NULL
        FOR NO KEY UPDATE SKIP LOCKED
    )
    UPDATE outbox AS o SET due_at = now() FROM held AS h
    WHERE o.account_id = h.account_id AND o.order_id = h.order_id AND o.action = h.action";

const END_CLAIM_BATCHES: &str = "
    WITH held AS MATERIALIZED (
        SELECT batch_id FROM claim_batches WHERE lease_until > now() AND owner = ANY($1)
        FOR NO KEY UPDATE SKIP LOCKED
    )
    UPDATE claim_batches AS b SET lease_until = now() FROM held AS h WHERE b.batch_id = h.batch_id";

const END_NOTICE_BATCHES: &str = "
    WITH held AS MATERIALIZED (
        SELECT batch_id FROM notice_batches WHERE due_at > now() AND owner = ANY($1)
        FOR NO KEY UPDATE SKIP LOCKED
    )
    UPDATE notice_batches AS b SET due_at = now() FROM held AS h WHERE b.batch_id = h.batch_id";

const MARK_ENDED: &str = "UPDATE workers SET ended_at = now() WHERE worker_id = ANY($1)";

const FORGET: &str = "DELETE FROM workers WHERE worker_id = ANY($1)";

impl Workers for Postgres {
    fn for_beats(options: PgOptions) -> PgOptions {
        options.options([("synchronous_commit", "off")])
    }

    async fn beat(
        connection: &mut PgConnection,
        worker: Uuid,
        gap_max: Duration,
    ) -> sqlx::Result<()> {
        let query = sqlx::query(BEAT).bind(worker).bind(gap_max.as_secs_f64());
        query.execute(connection).await.map(drop)
    }

    async fn silent(
        connection: &mut PgConnection,
        judge: Uuid,
        Silence { after, again_after, limit }: Silence,
    ) -> sqlx::Result<Vec<Silent>> {
        let found = sqlx::query(SILENT)
            .bind(judge)
            .bind(after.as_secs_f64())
            .bind(again_after.as_secs_f64())
            .bind(limit as i64)
            .fetch_all(connection)
            .await?;
        let silent = |row: &PgRow| {
            Ok(Silent { worker: row.try_get("worker_id")?, again: row.try_get("again")? })
        };
        found.iter().map(silent).collect()
    }

    async fn end_key_leases(connection: &mut PgConnection, owners: &[Uuid]) -> sqlx::Result<u64> {
        let keys = execute(END_KEY_LEASES, connection, owners).await?;
        Ok(keys + execute(END_CLAIM_BATCHES, connection, owners).await?)
    }

    async fn end_notice_leases(
        connection: &mut PgConnection,
        owners: &[Uuid],
    ) -> sqlx::Result<u64> {
        let notices = execute(END_NOTICE_LEASES, connection, owners).await?;
        Ok(notices + execute(END_NOTICE_BATCHES, connection, owners).await?)
    }

    async fn mark_ended(connection: &mut PgConnection, workers: &[Uuid]) -> sqlx::Result<()> {
        execute(MARK_ENDED, connection, workers).await.map(drop)
    }

    async fn forget_workers(connection: &mut PgConnection, workers: &[Uuid]) -> sqlx::Result<()> {
        execute(FORGET, connection, workers).await.map(drop)
    }
}

async fn execute(
    statement: &'static str,
    connection: &mut PgConnection,
    workers: &[Uuid],
) -> sqlx::Result<u64> {
    let done = sqlx::query(statement).bind(workers).execute(connection).await?;
    Ok(done.rows_affected())
}
