//! Places where a test can end a process, and safeguards that it can switch off.
//!
//! Without the feature `enabled` every function here is empty and the flags that set a [`Plan`] ([`FailArgs`]) do not exist. With it,
//! a process has one plan, set once before it serves: the one static of this workspace, because a point is reached in
//! the middle of code that must not carry anything around for it.
//!
//! A process *aborts* at its point: nothing is flushed, closed or answered, as with kill -9, but exactly there. Or it
//! *freezes* there, and is a zombie when it goes on.

mod args;
mod point;
mod safeguard;

use std::{fmt, str::FromStr};

pub use args::FailArgs;
pub use point::Point;
pub use safeguard::Safeguard;

/// What goes wrong in this process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Plan {
    /// Where it ends.
    pub end: Option<Stop>,
    /// Where it stops until somebody lets it go on.
    pub freeze: Option<Stop>,
    /// What it does without.
    pub without: Option<Safeguard>,
}

/// The n-th time a process reaches a point. As text: `settle-written` or `settle-written:2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// Where.
    pub point: Point,
    /// Which time; the first is 1.
    pub time: u32,
}

/// A name that is none of those known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownName(&'static str);

impl FromStr for Stop {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let (name, time) = text.split_once(':').unwrap_or((text, "1"));
        let time = time.parse().ok().filter(|time| *time > 0);
        Ok(Self { point: name.parse()?, time: time.ok_or(UnknownName("a number from 1"))? })
    }
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "is not {}", self.0)
    }
}

impl std::error::Error for UnknownName {}

#[cfg(feature = "enabled")]
mod armed {
    use std::{
        sync::{
            OnceLock,
            atomic::{AtomicU32, Ordering},
        },
        time::Duration,
    };

    use rustix::process::{Signal, getpid, kill_process};

    use super::{Plan, Point, Safeguard, Stop};

    /// All threads have stopped after this.
    const STOPPING: Duration = Duration::from_millis(100);

    static PLAN: OnceLock<Plan> = OnceLock::new();
    static TO_THE_END: AtomicU32 = AtomicU32::new(0);
    static TO_THE_FREEZE: AtomicU32 = AtomicU32::new(0);

    /// Sets the process's plan. The first counts.
    pub fn arm(plan: Plan) {
        let _the_first_counts = PLAN.set(plan);
    }

    /// Ends or freezes the process if its plan says so.
    pub fn reach(point: Point) {
        let Some(plan) = PLAN.get() else { return };
        if is_due(plan.end, point, &TO_THE_END) {
            eprintln!("fail point: the process ends at {point}");
            std::process::abort();
        }
        if is_due(plan.freeze, point, &TO_THE_FREEZE) {
            eprintln!("fail point: the process freezes at {point}");
            kill_process(getpid(), Signal::STOP).expect("a process may stop itself");
            // It stops the threads one after the other, perhaps this one last: which takes no step until then.
            std::thread::sleep(STOPPING);
        }
    }

    fn is_due(stop: Option<Stop>, point: Point, reached: &AtomicU32) -> bool {
        let Some(stop) = stop.filter(|stop| stop.point == point) else { return false };
        reached.fetch_add(1, Ordering::Relaxed) + 1 == stop.time
    }

    /// Whether this process does without a safeguard.
    pub fn is_off(safeguard: Safeguard) -> bool {
        PLAN.get().is_some_and(|plan| plan.without == Some(safeguard))
    }

    /// Whether this process draws the ids of orders.
    pub fn draws_ids() -> bool {
        PLAN.get().and_then(|plan| plan.without).is_some_and(Safeguard::draws_ids)
    }
}

#[cfg(not(feature = "enabled"))]
mod armed {
    use super::{Plan, Point, Safeguard};

    /// Nothing: the feature is off.
    #[inline(always)]
    pub const fn arm(_: Plan) {}

    /// Nothing: the feature is off.
    #[inline(always)]
    pub const fn reach(_: Point) {}

    /// Never: the feature is off.
    #[inline(always)]
    pub const fn is_off(_: Safeguard) -> bool {
        false
    }

    /// Never: the feature is off.
    #[inline(always)]
    pub const fn draws_ids() -> bool {
        false
    }
}

pub use armed::*;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back() {
        for point in Point::ALL {
            assert_eq!(point.to_string().parse(), Ok(point));
            assert_eq!(format!("{point}:3").parse(), Ok(Stop { point, time: 3 }));
        }
        for safeguard in Safeguard::ALL {
            assert_eq!(safeguard.to_string().parse(), Ok(safeguard));
        }
    }

    #[test]
    fn what_is_no_name_or_no_number_is_refused() {
        for wrong in ["", "nowhere", "claimed:0", "claimed:x", "claimed:"] {
            assert!(wrong.parse::<Stop>().is_err(), "{wrong}");
        }
    }
}
