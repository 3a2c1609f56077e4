//! The figures of a run.

use std::ops::Sub;
use std::time::Duration;

use serde_json::{Value, json};

use super::Tally;
use crate::cpu;

/// CPU time by who used it. Nothing is known of processes that somebody else started.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuUse {
    /// The load generator.
    pub load: Duration,
    /// order-service.
    pub order: Option<Duration>,
    /// account-service.
    pub account: Option<Duration>,
    /// The database server with all its processes, if there is one.
    pub postgres: Option<Duration>,
    /// Other machines, to whom a hypervisor gave what was wanted here.
    pub stolen: Duration,
    /// All that all processors had, used or not.
    pub machine: Duration,
}

impl CpuUse {
    /// What this process and this machine used so far.
    #[must_use]
    pub fn of_load() -> Self {
        let (machine, stolen) = cpu::of_machine().unwrap_or_default();
        let load = cpu::of(std::process::id()).unwrap_or_default();
        Self { load, stolen, machine, ..Self::default() }
    }

    /// All that an order cost, but for its load generator.
    #[must_use]
    pub fn system(&self) -> Duration {
        [self.order, self.account, self.postgres].into_iter().flatten().sum()
    }
}

impl Sub for CpuUse {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        let since = |now: Option<Duration>, before: Option<Duration>| {
            Some(now?.saturating_sub(before.unwrap_or_default()))
        };
        Self {
            load: self.load.saturating_sub(before.load),
            order: since(self.order, before.order),
            account: since(self.account, before.account),
            postgres: since(self.postgres, before.postgres),
            stolen: self.stolen.saturating_sub(before.stolen),
            machine: self.machine.saturating_sub(before.machine),
        }
    }
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Figures {
    /// The requests that were due in the measured time.
    pub tally: Tally,
    /// The measured time.
    pub time: Duration,
    /// CPU time used in it.
    pub cpu: CpuUse,
}

impl Figures {
    /// Requests that got an answer a second: failures are none.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        as_f64(self.tally.requests() - self.tally.failed()) / self.time.as_secs_f64()
    }

    /// CPU seconds for a thousand requests.
    #[must_use]
    pub fn cpu_per_thousand(&self, of: Duration) -> f64 {
        of.as_secs_f64() * 1000.0 / as_f64(self.tally.requests()).max(1.0)
    }

    /// The share of all processors that went to other machines, in percent. A tail beside much of it is not the service's.
    #[must_use]
    pub fn stolen_percent(&self) -> f64 {
        let machine = self.cpu.machine.max(Duration::from_nanos(1));
        100.0 * self.cpu.stolen.as_secs_f64() / machine.as_secs_f64()
    }

    /// All of it as one JSON object; what is not known is null.
    #[must_use]
    pub fn json(&self) -> Value {
        let tally = &self.tally;
        let of_system = |part: Option<Duration>| part.map(|it| rounded(self.cpu_per_thousand(it)));
        json!({
            "seconds": rounded(self.time.as_secs_f64()),
            "requests": tally.requests(),
            "per_s": self.per_second().round(),
            "done": tally.done,
            "replayed": tally.replayed,
            "refused": tally.refused,
            "failed": tally.failed(),
            "failures": tally.failures_in_words(),
            "p50_ms": rounded(tally.quantile_ms(0.5)),
            "p99_ms": rounded(tally.quantile_ms(0.99)),
            "p999_ms": rounded(tally.quantile_ms(0.999)),
            "max_ms": rounded(tally.max_ms()),
            "stolen_percent": rounded(self.stolen_percent()),
            "cpu_s_per_1000": {
                "load": rounded(self.cpu_per_thousand(self.cpu.load)),
                "order": of_system(self.cpu.order),
                "account": of_system(self.cpu.account),
                "postgres": of_system(self.cpu.postgres),
            },
        })
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests")]
fn as_f64(count: u64) -> f64 {
    count as f64
}
