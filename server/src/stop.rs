//! What a service does after the drain: its background tasks end, each within a bound.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long a background task may take to stop. With a database that hangs it takes all of it.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// Waits for a task that was told to stop, for [`STOP_TIMEOUT`] and no longer. What it leaves undone has to be safe to
/// leave: to the database, which rolls back, or to another process, by lease.
pub async fn stopped(what: &'static str, task: JoinHandle<()>) {
    match timeout(STOP_TIMEOUT, task).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(what, %error, "a background task had panicked"),
        Err(_) => tracing::warn!(what, "a background task did not end in time"),
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_stop_is_waited_for_no_longer_than_its_bound() {
        let began = Instant::now();
        stopped("endless", tokio::spawn(std::future::pending())).await;
        assert_eq!(began.elapsed(), STOP_TIMEOUT);
        stopped("done", tokio::spawn(async {})).await;
        stopped("panicked", tokio::spawn(async { panic!("as this test has it") })).await;
        assert_eq!(began.elapsed(), STOP_TIMEOUT);
    }
}
