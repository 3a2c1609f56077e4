//! One measurement: so many callers, each with one call under way at any time.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tests::echo::{Caller, PING, Ping, ping};

use crate::Error;

pub(crate) struct Measured {
    pub(crate) calls_per_s: f64,
    pub(crate) cpu_us_per_call: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// Nanoseconds up to a minute, to three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(60_000_000_000, 3).expect("constant bounds are valid")
}

pub(crate) async fn measure<C: Caller>(
    channel: &C,
    in_flight: usize,
    time: Duration,
) -> Result<Measured, Error> {
    let (began, cpu_before) = (Instant::now(), cpu_time()?);
    let end = began + time;
    let callers: Vec<_> =
        (0..in_flight).map(|_| tokio::spawn(caller(channel.clone(), end))).collect();
    let mut all = histogram();
    for caller in callers {
        all.add(caller.await??)?;
    }
    let (took, cpu) = (began.elapsed(), cpu_time()? - cpu_before);
    #[expect(clippy::cast_precision_loss, reason = "a count of calls")]
    let calls = all.len() as f64;
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a call")]
    let us = |quantile| all.value_at_quantile(quantile) as f64 / 1000.0;
    Ok(Measured {
        calls_per_s: calls / took.as_secs_f64(),
        cpu_us_per_call: cpu.as_secs_f64() * 1e6 / calls,
        p50_us: us(0.5),
        p99_us: us(0.99),
    })
}

async fn caller<C: Caller>(channel: C, end: Instant) -> Result<Histogram<u64>, Error> {
    let mut latencies = histogram();
    loop {
        let began = Instant::now();
        if began >= end {
            return Ok(latencies);
        }
        ping(&channel, PING, Ping::default(), None).await?;
        latencies.record(u64::try_from(began.elapsed().as_nanos())?)?;
    }
}

/// User and system time of this process so far (fields 14 and 15 of proc(5)'s stat, in ticks of 10 ms).
fn cpu_time() -> Result<Duration, Error> {
    const TICK: Duration = Duration::from_millis(10);
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: Result<u32, _> =
        after_name.split_ascii_whitespace().skip(11).take(2).map(str::parse::<u32>).sum();
    Ok(TICK * ticks?)
}
