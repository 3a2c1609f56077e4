//! How long a key is kept.
//!
//! In whole days, for the key table is cut by days. Pods that run side by side may be told different lifetimes, while they
//! are rolled to another. So each day of keys has its own, which is kept beside the keys: the longest that any pod was told
//! on that day. Whoever lets keys go asks there, and a row speaks for its key as long as it is there. A pod with a shorter
//! lifetime therefore lets go of nothing that was promised to last longer.

use std::{ops::RangeInclusive, time::Duration};

/// For how many whole days after its first request a key is kept at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyLifetime(u16);

/// A claim looks its key up in each day that is kept, so a month of days is the bound.
const DAYS: RangeInclusive<u16> = 1..=30;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// For how many days ahead a pod says how long their keys will be kept: also for those that it does not see begin.
pub(super) const DAYS_AHEAD: i64 = 3;

impl KeyLifetime {
    /// What is kept unless another lifetime is asked for.
    pub const DEFAULT: Self = Self(2);

    /// `None`: not a whole number of days between 1 and 30.
    pub fn of(time: Duration) -> Option<Self> {
        let days = u16::try_from(time.as_secs() / DAY.as_secs()).ok()?;
        let is_whole = time == DAY * u32::from(days);
        (is_whole && DAYS.contains(&days)).then_some(Self(days))
    }

    /// As a time.
    pub fn time(self) -> Duration {
        DAY * u32::from(self.0)
    }

    /// In days.
    pub fn days(self) -> i64 {
        self.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_a_whole_number_of_days_up_to_a_month() {
        let days = |text| KeyLifetime::of(humantime::parse_duration(text).unwrap());
        assert_eq!(days("2d"), Some(KeyLifetime::DEFAULT));
        assert_eq!(days("24h").map(KeyLifetime::days), Some(1));
        assert_eq!(days("30d").map(KeyLifetime::days), Some(30));
        for wrong in ["0s", "23h", "36h", "1d 1ms", "31d", "100000d"] {
            assert_eq!(days(wrong), None, "{wrong}");
        }
    }
}
