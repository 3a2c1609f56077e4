//! Servers that leave politely.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;
use tonic::Request;

use super::{Bench, CONFIG, Verdict, connect, request, same, well};
use crate::foreign::{Foreign, Language};
use crate::say::{Oracle, Say};

pub(super) async fn open_stream(bench: &Bench<'_>) -> Verdict {
    let first = Foreign::start(bench.tools, bench.language).await?;
    let second = Foreign::start(bench.tools, bench.language).await?;
    let oracle = connect(&[&first, &second], CONFIG, bench.seed).await?;
    // Both servers get one: least_request goes where fewer calls are.
    let mut streams = Vec::new();
    for _ in 0..2 {
        let say = Say { answers: 100, pause_ms: 10, ..Say::bytes("still here") };
        let answer = oracle.repeat(Request::new(say)).await;
        let mut answers = well("a stream", answer)?.into_inner();
        well("its first answer", answers.message().await)?;
        streams.push(answers);
    }
    first.drain();
    oracle.0.until(|stats| stats.drained == 1).await;
    for _ in 0..20 {
        well("a call after GOAWAY", oracle.unary(request("on")).await)?;
    }
    let mut count = streams.len();
    for mut answers in streams {
        while well("an answer after GOAWAY", answers.message().await)?.is_some() {
            count += 1;
        }
    }
    same("answers", count, 200)?;
    Ok("both streams came to their ends, 20 calls went to the other server".to_owned())
}

/// Callers at work while each of two servers drains and a new one takes its place.
pub(super) async fn replaced(bench: &Bench<'_>) -> Verdict {
    let mut first = Foreign::start(bench.tools, bench.language).await?;
    let mut second = Foreign::start(bench.tools, bench.language).await?;
    let third = Foreign::start(bench.tools, bench.language).await?;
    let config = match bench.language {
        // A call that grpc-core has read and not begun when it is told to leave is dropped there
        // (`KillZombie` in its server.cc). The wire shows for it: HEADERS with END_STREAM and
        // `grpc-status: 1`, RST_STREAM NO_ERROR, and a last GOAWAY (NO_ERROR, "Server shutdown") whose
        // last stream is this one or a later one. Nothing of that says "not processed": the GOAWAY
        // covers the stream, and the reset is not REFUSED_STREAM. It is a status from the server, so
        // the policy decides, and one that names UNAVAILABLE alone would hand CANCELLED to the caller,
        // as grpc-core's own client does with the same server.
        Language::Core => CONFIG.replace(r#"["UNAVAILABLE"]"#, r#"["UNAVAILABLE", "CANCELLED"]"#),
        Language::Js => CONFIG.to_owned(),
    };
    let oracle = connect(&[&first, &second, &third], &config, bench.seed).await?;
    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut callers = JoinSet::new();
    for _ in 0..20 {
        callers.spawn(call_on(oracle.clone(), Arc::clone(&stop), Arc::clone(&calls)));
    }
    for leaving in [&mut first, &mut second] {
        // Time for the callers to find their pace.
        sleep(Duration::from_millis(500)).await;
        leaving.drain();
        leaving.ended().await?;
    }
    sleep(Duration::from_millis(500)).await;
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = callers.join_next().await {
        ended.map_err(|error| error.to_string())??;
    }
    let stats = oracle.0.stats();
    let retries = stats.retries + stats.transparent_retries;
    Ok(format!("0 of {} calls failed, {retries} sent again", calls.load(Ordering::Relaxed)))
}

async fn call_on(
    oracle: Oracle,
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
) -> Result<(), String> {
    while !stop.load(Ordering::Relaxed) {
        let say = Say { work_ms: 5, ..Say::bytes("work") };
        well("a call", oracle.unary(Request::new(say)).await)?;
        calls.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
