//! What our channel adds to the time of one call, with nothing else under way.
//!
//! Both channels stay open to the same server, and one caller goes back and forth between them, a few
//! calls at a time. What the machine does meanwhile hits both alike, which two measurements of seconds
//! each, one after the other, cannot promise. Medians are compared.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::echo::{Caller, PING, Ping, ping};
use tonic::transport::Endpoint;

use crate::measure::histogram;
use crate::servers::Servers;
use crate::{Error, holdfast, round};

/// Calls over one channel before the other has its turn: few, so that both see the same machine.
const TURN: usize = 50;

pub(crate) async fn report(servers: &Servers, time: Duration) -> Result<Value, Error> {
    let address = servers.addresses[0];
    let ours = holdfast(&[address]).await?;
    let plain = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
    let (mut ours_ns, mut plain_ns) = (histogram(), histogram());
    // A tenth of the time to warm up.
    for (time, counts) in [(time / 10, false), (time, true)] {
        let end = Instant::now() + time;
        while Instant::now() < end {
            turn(&ours, &mut ours_ns).await?;
            turn(&plain, &mut plain_ns).await?;
        }
        if !counts {
            (ours_ns, plain_ns) = (histogram(), histogram());
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a call")]
    let us = |ns: u64| ns as f64 / 1000.0;
    let (ours_us, plain_us) =
        (us(ours_ns.value_at_quantile(0.5)), us(plain_ns.value_at_quantile(0.5)));
    Ok(json!({
        "endpoints": 1, "in_flight": 1, "calls_of_each": ours_ns.len(),
        "holdfast_p50_us": round(ours_us), "tonic_plain_p50_us": round(plain_us),
        "added_us": round(ours_us - plain_us),
    }))
}

async fn turn<C: Caller>(channel: &C, ns: &mut hdrhistogram::Histogram<u64>) -> Result<(), Error> {
    for _ in 0..TURN {
        let began = Instant::now();
        ping(channel, PING, Ping::default(), None).await?;
        ns.record(u64::try_from(began.elapsed().as_nanos())?)?;
    }
    Ok(())
}
