//! Telling that endpoints cannot be reached: at once, and then sparingly. A channel that has a hundred of them, or that tries
//! one for hours, writes a line every few seconds and not one a try.

use std::time::Duration;

use tokio::time::Instant;

/// How often it is told at most.
const INTERVAL: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(super) struct Complaint {
    told_at: Option<Instant>,
    untold: u64,
}

impl Complaint {
    /// Whether to tell now, and how often it was not since the last time.
    pub(super) fn may_tell(&mut self, now: Instant) -> Option<u64> {
        if self.told_at.is_some_and(|told_at| now.duration_since(told_at) < INTERVAL) {
            self.untold += 1;
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_told_at_once_and_those_between_are_counted() {
        let (mut complaint, now) = (Complaint::default(), Instant::now());
        assert_eq!(complaint.may_tell(now), Some(0));
        assert_eq!(complaint.may_tell(now + INTERVAL / 2), None);
        assert_eq!(complaint.may_tell(now + INTERVAL), Some(1));
    }
}
