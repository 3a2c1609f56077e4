//! Heartbeats, and the leases of processes that fell silent.

use std::time::Duration;

use database::Sqlite;
use serde_json::json;
use sqlx::{
    Row, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteRow, SqliteSynchronous},
};
use uuid::Uuid;

use super::rows::{self, Micros};
use crate::storage::tables::{Silence, Silent, Workers};

const BEAT: &str = "
    INSERT INTO workers (worker_id, beat_at, steady_since) VALUES (?1, ?2, ?2)
    ON CONFLICT (worker_id) DO UPDATE
    SET beat_at = ?2, ended_at = NULL, steady_since = CASE WHEN beat_at < ?2 - ?3 THEN ?2 ELSE steady_since END";

const SILENT: &str = "
    SELECT worker_id, ended_at IS NOT NULL AS again FROM workers
    WHERE beat_at <= ?2 - ?3 AND (ended_at IS NULL OR ended_at <= ?2 - ?4)
      AND EXISTS (
        SELECT 1 FROM workers AS judge
        WHERE judge.worker_id = ?1 AND judge.beat_at > ?2 - ?3 AND judge.steady_since <= ?2 - ?3
      )
    ORDER BY worker_id LIMIT ?5";

const END_KEY_LEASES: &str = "
    UPDATE idempotency_keys SET lease_until = ?2
    WHERE status = 'PROCESSING' AND lease_until > ?2 AND owner IN (SELECT unhex(value) FROM json_each(?1))";

const END_NOTICE_LEASES: &str = "
    UPDATE outbox SET due_at = ?2
    WHERE due_at > ?2 AND owner IN (SELECT unhex(value) FROM json_each(?1)) AND refused IS NULL";

const END_CLAIM_BATCHES: &str = "
    UPDATE claim_batches SET lease_until = ?2
    WHERE lease_until > ?2 AND owner IN (SELECT unhex(value) FROM json_each(?1))";

const END_NOTICE_BATCHES: &str = "
    UPDATE notice_batches SET due_at = ?2
    WHERE due_at > ?2 AND owner IN (SELECT unhex(value) FROM json_each(?1))";

const MARK_ENDED: &str = "
    UPDATE workers SET ended_at = ?2 WHERE worker_id IN (SELECT unhex(value) FROM json_each(?1))";

const FORGET: &str =
    "DELETE FROM workers WHERE worker_id IN (SELECT unhex(value) FROM json_each(?1))";

impl Workers for Sqlite {
    fn for_beats(options: SqliteConnectOptions) -> SqliteConnectOptions {
        options.synchronous(SqliteSynchronous::Normal)
    }

    async fn beat(
        connection: &mut SqliteConnection,
        worker: Uuid,
        gap_max: Duration,
    ) -> sqlx::Result<()> {
        let now = rows::now(connection).await?;
        let query = sqlx::query(BEAT).bind(worker).bind(now).bind(rows::micros(gap_max));
        query.execute(connection).await.map(drop)
    }

    async fn silent(
        connection: &mut SqliteConnection,
        judge: Uuid,
        Silence { after, again_after, limit }: Silence,
    ) -> sqlx::Result<Vec<Silent>> {
        let now: Micros = rows::now(connection).await?;
        let found = sqlx::query(SILENT)
            .bind(judge)
            .bind(now)
            .bind(rows::micros(after))
            .bind(rows::micros(again_after))
            .bind(limit as i64)
            .fetch_all(connection)
            .await?;
        let silent = |row: &SqliteRow| {
            Ok(Silent { worker: row.try_get("worker_id")?, again: row.try_get("again")? })
        };
        found.iter().map(silent).collect()
    }

    async fn end_key_leases(
        connection: &mut SqliteConnection,
        owners: &[Uuid],
    ) -> sqlx::Result<u64> {
        let keys = execute(END_KEY_LEASES, connection, owners).await?;
        Ok(keys + execute(END_CLAIM_BATCHES, connection, owners).await?)
    }

    async fn end_notice_leases(
        connection: &mut SqliteConnection,
        owners: &[Uuid],
    ) -> sqlx::Result<u64> {
        let notices = execute(END_NOTICE_LEASES, connection, owners).await?;
        Ok(notices + execute(END_NOTICE_BATCHES, connection, owners).await?)
    }

    async fn mark_ended(connection: &mut SqliteConnection, workers: &[Uuid]) -> sqlx::Result<()> {
        execute(MARK_ENDED, connection, workers).await.map(drop)
    }

    async fn forget_workers(
        connection: &mut SqliteConnection,
        workers: &[Uuid],
    ) -> sqlx::Result<()> {
        execute(FORGET, connection, workers).await.map(drop)
    }
}

/// Runs a statement on processes (`?1`) and the time (`?2`).
async fn execute(
    statement: &'static str,
    connection: &mut SqliteConnection,
    workers: &[Uuid],
) -> sqlx::Result<u64> {
    let now = rows::now(connection).await?;
    let ids: Vec<_> = workers.iter().map(|worker| rows::id(*worker)).collect();
    let query = sqlx::query(statement).bind(json!(ids).to_string()).bind(now);
    Ok(query.execute(connection).await?.rows_affected())
}
