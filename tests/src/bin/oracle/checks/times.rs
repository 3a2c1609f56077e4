//! Deadlines and retries, as the server saw them.

use std::time::{Duration, Instant};

use tonic::{Code, Request};

use super::{Bench, Verdict, ill, request, same, text, well};
use crate::say::Say;

pub(super) async fn deadline(bench: &Bench<'_>) -> Verdict {
    const TIMEOUT: Duration = Duration::from_millis(300);
    let mut slow = Request::new(Say { work_ms: 5_000, ..Say::default() });
    slow.set_timeout(TIMEOUT);
    let began = Instant::now();
    ill("the slow call", bench.oracle.unary(slow).await, Code::DeadlineExceeded)?;
    let took = began.elapsed();
    let in_time = (TIMEOUT..TIMEOUT + Duration::from_millis(200)).contains(&took);
    same(&format!("ended after {took:?}, in time"), in_time, true)?;

    let mut quick = request("quick");
    quick.set_timeout(Duration::from_secs(20));
    let answer = well("the quick call", bench.oracle.unary(quick).await)?;
    let seen_ms: u64 = text(answer.metadata(), "seen-timeout-ms")?.parse().unwrap_or(0);
    same("the server saw about 20 s", (15_000..=20_100).contains(&seen_ms), true)?;
    Ok(format!("300 ms took {} ms; of 20 s the server saw {seen_ms} ms", took.as_millis()))
}

pub(super) async fn pushback(bench: &Bench<'_>) -> Verdict {
    const PUSHBACK: Duration = Duration::from_millis(150);
    let pushback_ms = i32::try_from(PUSHBACK.as_millis()).expect("a short wait");
    let say = Say { fail_first: 3, pushback_ms, ..Say::bytes("patience") };
    let began = Instant::now();
    let answer = well("the call", bench.oracle.unary(Request::new(say)).await)?;
    let took = began.elapsed();
    same("attempts before", text(answer.metadata(), "seen-previous-attempts")?, "3")?;
    same(&format!("took {took:?}, at least the pushbacks"), took >= 3 * PUSHBACK, true)?;
    Ok(format!("the fourth attempt went well, after {} ms", took.as_millis()))
}

pub(super) async fn never(bench: &Bench<'_>) -> Verdict {
    let say = Say { fail_first: 3, pushback_ms: -1, ..Say::bytes("patience") };
    let answer = bench.oracle.unary(Request::new(say)).await;
    let status = ill("the call", answer, Code::Unavailable)?;
    same("attempts before", text(status.metadata(), "seen-previous-attempts")?, "0")?;
    Ok("one attempt".to_owned())
}
