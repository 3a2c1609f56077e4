//! Counts in a log, every few seconds, where no terminal shows a bar: a Job, or a run whose output is kept.

use std::time::Duration;

use super::Record;

/// From one line to the next.
pub const LIVE_EVERY: Duration = Duration::from_secs(5);

/// Says how a run goes.
#[derive(Debug, Default)]
pub struct Live {
    told: u32,
}

impl Live {
    /// The counts so far when a line is due. `retried` counts what channels sent again by themselves, beside what
    /// callers did.
    pub fn line(&mut self, record: &Record, retried: impl FnOnce() -> u64) -> Option<String> {
        let elapsed = record.began().elapsed();
        if elapsed < LIVE_EVERY * (self.told + 1) {
            return None;
        }
        // Of lines that were missed, only the last is said.
        self.told = u32::try_from(elapsed.as_secs() / LIVE_EVERY.as_secs()).unwrap_or(u32::MAX);
        let (sent, failed) = (record.sent(), record.failed());
        let retried = retried() + record.asked_again();
        Some(format!("{:>5} s  {sent} sent  {failed} failed  {retried} retried", elapsed.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tonic::Code;

    use super::*;
    use crate::load::{Answer, Verdict};

    #[test]
    fn a_log_is_told_the_counts_every_few_seconds_and_not_between() {
        let mut live = Live::default();
        let now = Record::default();
        assert_eq!(live.line(&now, || 0), None);

        let record = Record::began_at(Instant::now() - Duration::from_secs(12));
        for _ in 0..3 {
            record.send();
        }
        let failed = Verdict::Failed(Code::Unavailable);
        record.note(record.began(), Answer { verdict: failed, retries: 2 });
        let line = live.line(&record, || 5).unwrap();
        assert_eq!(line, "   12 s  3 sent  1 failed  7 retried");
        assert_eq!(live.line(&record, || 5), None, "the next is due at 15 s");
    }
}
