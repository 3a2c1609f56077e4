//! R6, R7, R9, R12, R13: what happens on one connection.

use std::time::{Duration, Instant};

use client::Channel;
use rustix::process::Signal;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic::Code;

use super::callers::{CONFIG, Caller, ClientKind, Truth};
use super::load::Load;
use super::outcome::Outcome;
use super::pods::{DRAIN, Fleet, LAME_DUCK, Traits};
use super::rolls::PLAN;
use super::{Settings, moody};
use crate::HarnessError;

/// Connections are asked to leave several times a second while a stream keeps each of them open.
pub(super) async fn goaway_with_open_stream(
    kind: ClientKind,
    settings: &Settings,
) -> Result<Outcome, HarnessError> {
    const PODS: u32 = 2;
    let mut fleet = Fleet::new()?;
    for pod in 1..=PODS {
        fleet.start(pod, Traits { age: Duration::from_millis(1_500), ..Traits::default() }).await?;
    }
    let truth = Truth::new(fleet.addresses(1..=PODS));
    let caller = Caller::new(kind, &truth, settings)?;
    caller.ready(PODS as usize).await;
    let streams = hold_streams(&caller, 4);
    let load = Load::start(&caller, PLAN).await?;
    sleep(Duration::from_secs(8)).await;
    let outcome = load.finish(&fleet).await?;
    drop(streams);
    Ok(outcome.nothing_failed())
}

/// So many streams, each opened anew when it ends.
fn hold_streams(caller: &Caller, count: usize) -> JoinSet<()> {
    let mut streams = JoinSet::new();
    for _ in 0..count {
        let caller = caller.clone();
        streams.spawn(async move {
            loop {
                if let Ok(mut stream) = caller.watch().await {
                    while let Ok(Some(_)) = stream.message().await {}
                }
                sleep(Duration::from_millis(10)).await;
            }
        });
    }
    streams
}

pub(super) async fn refused(
    kind: ClientKind,
    settings: &Settings,
) -> Result<Outcome, HarnessError> {
    const PODS: u32 = 2;
    let fleet = Fleet::of(PODS).await?;
    let refusing = moody::refusing().await.map_err(HarnessError::io("listen"))?;
    let mut addresses = fleet.addresses(1..=PODS);
    addresses.push(refusing.0);
    let truth = Truth::new(addresses);
    let caller = Caller::new(kind, &truth, settings)?;
    caller.ready(PODS as usize + 1).await;
    let load = Load::start(&caller, PLAN).await?;
    sleep(Duration::from_secs(3)).await;
    let outcome = load.finish(&fleet).await?;
    refusing.1.abort();
    Ok(outcome.nothing_failed())
}

/// A silent server first in the list, a good one second, one connection wanted.
pub(super) async fn mute(kind: ClientKind, settings: &Settings) -> Result<Outcome, HarnessError> {
    const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
    let fleet = Fleet::of(1).await?;
    let silent = moody::silent().await.map_err(HarnessError::io("listen"))?;
    let addresses = vec![silent.0, fleet.address(1)];
    let caller = match kind {
        ClientKind::Holdfast => {
            let target = format!("static:///{},{}", addresses[0], addresses[1]);
            let config =
                CONFIG.replacen('{', r#"{"loadBalancingConfig": [{"pick_first": {}}],"#, 1);
            let builder = Channel::builder(target).service_config(config).seed(settings.seed);
            Caller::built(builder.connect_timeout(CONNECT_TIMEOUT))?
        }
        ClientKind::Balance | ClientKind::BalanceRetry | ClientKind::GrpcCore => {
            Caller::new(kind, &Truth::new(addresses), settings)?
        }
    };
    let load = Load::start(&caller, PLAN).await?;
    sleep(CONNECT_TIMEOUT + Duration::from_secs(1)).await;
    let mut outcome = load.finish(&fleet).await?.nothing_failed();
    silent.1.abort();
    let within = Duration::from_micros(outcome.latency_us.max()) <= CONNECT_TIMEOUT;
    outcome.kept &= within;
    Ok(outcome)
}

/// Every stream that a killed server leaves behind has to end with an error.
pub(super) async fn streams_cut(
    kind: ClientKind,
    settings: &Settings,
) -> Result<Outcome, HarnessError> {
    const PODS: u32 = 2;
    const STREAMS: usize = 20;
    let mut fleet = Fleet::of(PODS).await?;
    let truth = Truth::new(fleet.addresses(1..=PODS));
    let caller = Caller::new(kind, &truth, settings)?;
    caller.ready(PODS as usize).await;
    let mut streams = JoinSet::new();
    for _ in 0..STREAMS {
        let caller = caller.clone();
        streams.spawn(async move {
            let mut stream = caller.watch().await?;
            loop {
                match stream.message().await? {
                    Some(_) => {}
                    None => return Ok::<(), tonic::Status>(()),
                }
            }
        });
    }
    sleep(Duration::from_secs(1)).await;
    for pod in 1..=PODS {
        fleet.kill(pod).await?;
    }
    let mut outcome = Outcome::new();
    let mut silent = 0;
    let killed = Instant::now();
    while let Ok(Some(ended)) = timeout(Duration::from_secs(20), streams.join_next()).await {
        let ended = ended.expect("a reader does not panic");
        silent += u64::from(ended.is_ok());
        // An error is the right end here, so a silent one counts as the failure.
        outcome.record(ended.map_or(Ok(0), |()| Err(Code::Ok)), killed.elapsed());
    }
    let hung = STREAMS as u64 - outcome.calls;
    outcome.note = format!("{silent} silent ends, {hung} without end");
    outcome.failed = silent + hung;
    outcome.calls = STREAMS as u64;
    outcome.kept = outcome.failed == 0;
    Ok(outcome)
}

/// A server with an endless stream and a handshake that never goes on still leaves in its time.
pub(super) async fn bounded_drain(settings: &Settings) -> Result<Outcome, HarnessError> {
    let bound = LAME_DUCK + DRAIN + Duration::from_millis(1_500);
    let mut fleet = Fleet::of(1).await?;
    let truth = Truth::new(fleet.addresses([1]));
    let caller = Caller::new(ClientKind::Holdfast, &truth, settings)?;
    caller.ready(1).await;
    let streams = hold_streams(&caller, 1);
    let half_open = TcpStream::connect(fleet.address(1)).await;
    let half_open = half_open.map_err(HarnessError::io("connect"))?;
    sleep(Duration::from_millis(200)).await;
    fleet.signal(1, Signal::TERM);
    let took = fleet.ended(1).await?;
    drop((streams, half_open));
    let mut outcome = Outcome::new();
    outcome.record(Ok(1), took);
    outcome.kept = took <= bound;
    outcome.note = format!("left after {} ms, bound {} ms", took.as_millis(), bound.as_millis());
    Ok(outcome)
}
