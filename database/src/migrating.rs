//! Waiting for a database that is to be migrated.
//!
//! A database that starts at the same time as its first service may be minutes away, so what may pass is waited for,
//! within a limit, and told every few seconds. What does not pass is told at once; what may be a matter of start-up as
//! well as a mistake (a role, a password, a database that is not there) after a short while.

use std::time::Duration;

use sqlx::migrate::MigrateError;
use tokio::time::{Instant, sleep};

use crate::{Diagnosis, Fault, Reason, StoreError};

/// The wait after the first failure; each further one waits twice as long, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);

const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How often a wait is told.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// How long what looks like a mistake may be a matter of start-up.
const DOUBT: Duration = Duration::from_secs(10);

/// How long a failure may be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hope {
    None,
    Little,
    Much,
}

/// Runs a migration until it is done, for this long at most.
///
/// # Errors
/// The last failure.
pub async fn migrate_within(
    limit: Duration,
    mut migrate: impl AsyncFnMut() -> Result<(), MigrateError>,
) -> Result<(), MigrateError> {
    let began = Instant::now();
    let (mut pause, mut told) = (FIRST_PAUSE, None::<Instant>);
    loop {
        let Err(error) = migrate().await else { return Ok(()) };
        let (hope, reason) = judge(&error);
        let limit = match hope {
            Hope::None => Duration::ZERO,
            Hope::Little => limit.min(DOUBT),
            Hope::Much => limit,
        };
        if began.elapsed() + pause > limit {
            return Err(error);
        }

        // The first failure is common where several processes migrate at once, and is not worth a line.
        if told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            let waited_s = began.elapsed().as_secs();
            tracing::info!(%error, reason = reason.as_str(), waited_s, "waiting to migrate: {reason}");
            told = Some(Instant::now());
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn judge(error: &MigrateError) -> (Hope, Reason) {
    // What no database said is about checksums and versions: another program's schema.
    let Some(diagnosis) = diagnosis(error) else { return (Hope::None, Reason::Defect) };
    let hope = match (diagnosis.fault, diagnosis.reason) {
        (Fault::Defect, _) | (_, Reason::Pooler | Reason::Encoding | Reason::Corrupt) => Hope::None,
        (_, Reason::Credentials | Reason::NoDatabase | Reason::Privilege | Reason::Tls) => {
            Hope::Little
        }
        (Fault::Gone | Fault::Stale | Fault::Conflict | Fault::Busy, _) => Hope::Much,
    };
    (hope, diagnosis.reason)
}

fn diagnosis(error: &MigrateError) -> Option<Diagnosis> {
    if let MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) = error {
        return Some(Diagnosis::of(error));
    }
    let MigrateError::Source(source) = error else { return None };
    source.downcast_ref().map(StoreError::diagnosis)
}

#[cfg(test)]
mod tests {
    use std::io;

    use sqlx::Error;

    use super::*;
    use crate::unfit::Unfit;

    const LIMIT: Duration = Duration::from_secs(300);

    fn away() -> MigrateError {
        Error::Io(io::Error::from(io::ErrorKind::ConnectionRefused)).into()
    }

    #[tokio::test(start_paused = true)]
    async fn a_database_that_comes_after_minutes_is_waited_for() {
        let began = Instant::now();
        let comes = began + Duration::from_secs(200);
        let migrate = async || if Instant::now() < comes { Err(away()) } else { Ok(()) };
        migrate_within(LIMIT, migrate).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(203), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_ends_at_its_limit() {
        let began = Instant::now();
        migrate_within(LIMIT, async || Err(away())).await.unwrap_err();
        assert!(began.elapsed() <= LIMIT && began.elapsed() > LIMIT - LONGEST_PAUSE * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_pass_is_told_at_once() {
        let began = Instant::now();
        let changed = async || Err(MigrateError::VersionMismatch(2));
        migrate_within(LIMIT, changed).await.unwrap_err();
        migrate_within(LIMIT, async || Err(Error::from(Unfit::Pooler).into())).await.unwrap_err();
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
