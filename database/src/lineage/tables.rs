//! The lineage's own tables, which each service's migrations make: `database_identity` (one row), `commit_counters` and
//! `partner_positions`.

use std::io;

use sqlx::{AssertSqlSafe, PgConnection, Row, SqliteConnection};

use super::{COUNTERS, Position};

const COMMITS: &str =
    "SELECT CAST(counter AS bigint) AS counter, commits FROM commit_counters ORDER BY counter";

const HALT: &str = "UPDATE database_identity SET halted = $1 WHERE halted IS NULL AND epoch = $2";

const REMEMBERED: &str = "
    SELECT CAST(partner_id AS text) AS partner_id, epoch, commits FROM partner_positions ORDER BY partner_id";

const REMEMBER: &str = "
    INSERT INTO partner_positions (partner_id, epoch, commits) VALUES ($1, $2, $3)
    ON CONFLICT (partner_id) DO UPDATE SET epoch = excluded.epoch, commits = excluded.commits";

const FORGET: &str = "DELETE FROM partner_positions";

/// A connection that reads and writes the lineage's tables.
pub trait LineageTables: Send {
    /// Reads the position, and why the database is halted, if it is.
    fn position(&mut self)
    -> impl Future<Output = sqlx::Result<(Position, Option<String>)>> + Send;

    /// Raises a commit counter and commits. Answers how far the counter is.
    fn commit_counted(&mut self, counter: usize) -> impl Future<Output = sqlx::Result<i64>> + Send;

    /// Writes down why no process may work on this database in this epoch.
    fn halt(&mut self, why: &str, epoch: i64) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Raises the epoch and lets work go on. Answers the new epoch. `is_copy`: the database gets another identity.
    fn resume(&mut self, is_copy: bool) -> impl Future<Output = sqlx::Result<i64>> + Send;

    /// Keeps other transactions from changing partners until the end of this one.
    fn lock_partners(&mut self) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Reads the positions of partners.
    fn partners(&mut self) -> impl Future<Output = sqlx::Result<Vec<Position>>> + Send;

    /// Writes a partner's position.
    fn remember(&mut self, partner: &Position) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Forgets all partners.
    fn forget_partners(&mut self) -> impl Future<Output = sqlx::Result<()>> + Send;
}

/// The same statements on both databases, but for how partners are locked.
macro_rules! lineage_tables {
    ($connection:ty, $identity:expr, $resume:expr, $lock_partners:expr) => {
        impl LineageTables for $connection {
            async fn position(&mut self) -> sqlx::Result<(Position, Option<String>)> {
                let identity = sqlx::query($identity).fetch_one(&mut *self).await?;
                if identity.try_get("is_standby")? {
                    let why = "a standby, which may be behind";
                    return Err(sqlx::Error::Io(io::Error::other(why)));
                }
                let counted = sqlx::query(COMMITS).fetch_all(&mut *self).await?;

                let commits = counted.iter().map(|row| row.try_get("commits"));
                let position = Position {
                    database_id: identity.try_get("database_id")?,
                    epoch: identity.try_get("epoch")?,
                    commits: commits.collect::<sqlx::Result<_>>()?,
                };
                Ok((position, identity.try_get("halted")?))
            }

            async fn commit_counted(&mut self, counter: usize) -> sqlx::Result<i64> {
                // One round trip: the counter is the last row that the transaction locks.
                let statements = format!(
                    "UPDATE commit_counters SET commits = commits + 1 WHERE counter = {} RETURNING commits; COMMIT",
                    counter % COUNTERS
                );
                let rows = sqlx::raw_sql(AssertSqlSafe(statements)).fetch_all(self).await?;
                rows.first().ok_or(sqlx::Error::RowNotFound)?.try_get("commits")
            }

            async fn halt(&mut self, why: &str, epoch: i64) -> sqlx::Result<()> {
                sqlx::query(HALT).bind(why).bind(epoch).execute(self).await.map(drop)
            }

            async fn resume(&mut self, is_copy: bool) -> sqlx::Result<i64> {
                sqlx::query($resume).bind(is_copy).fetch_one(self).await?.try_get("epoch")
            }

            async fn lock_partners(&mut self) -> sqlx::Result<()> {
                sqlx::raw_sql($lock_partners).execute(self).await.map(drop)
            }

            async fn partners(&mut self) -> sqlx::Result<Vec<Position>> {
                let rows = sqlx::query(REMEMBERED).fetch_all(self).await?;
                let position = |row: &_| {
                    let row: &<<$connection as sqlx::Connection>::Database as sqlx::Database>::Row = row;
                    Ok(Position {
                        database_id: row.try_get("partner_id")?,
                        epoch: row.try_get("epoch")?,
                        commits: parse_commits(row.try_get("commits")?)?,
                    })
                };
                rows.iter().map(position).collect()
            }

            async fn remember(&mut self, partner: &Position) -> sqlx::Result<()> {
                sqlx::query(REMEMBER)
                    .bind(&partner.database_id)
                    .bind(partner.epoch)
                    .bind(commits_text(&partner.commits))
                    .execute(self)
                    .await
                    .map(drop)
            }

            async fn forget_partners(&mut self) -> sqlx::Result<()> {
                sqlx::query(FORGET).execute(self).await.map(drop)
            }
        }
    };
}

lineage_tables!(
    PgConnection,
    "SELECT database_id::text, epoch, halted, pg_is_in_recovery() AS is_standby FROM database_identity",
    // Above every epoch that was accepted before, also by a backup that is restored again.
    "UPDATE database_identity
     SET epoch = greatest(epoch + 1, extract(epoch FROM now())::bigint), halted = NULL,
         database_id = CASE WHEN $1 THEN gen_random_uuid() ELSE database_id END
     RETURNING epoch",
    // A process that stops here holds the others up for so long and no longer.
    "SET LOCAL lock_timeout = '250ms'; LOCK TABLE partner_positions IN SHARE ROW EXCLUSIVE MODE"
);
lineage_tables!(
    SqliteConnection,
    "SELECT database_id, epoch, halted, FALSE AS is_standby FROM database_identity",
    "UPDATE database_identity
     SET epoch = max(epoch + 1, unixepoch()), halted = NULL,
         database_id = CASE WHEN ?1 THEN lower(hex(randomblob(16))) ELSE database_id END
     RETURNING epoch",
    // A transaction that began IMMEDIATE is the only writer.
    "SELECT 1"
);

/// Counters in one value: the row is read and written whole, and only by these two functions.
fn commits_text(commits: &[i64]) -> String {
    commits.iter().map(i64::to_string).collect::<Vec<_>>().join(" ")
}

fn parse_commits(text: &str) -> sqlx::Result<Vec<i64>> {
    let number =
        |number: &str| number.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)));
    text.split_ascii_whitespace().map(number).collect()
}
