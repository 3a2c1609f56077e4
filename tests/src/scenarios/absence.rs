//! R8, R10, R11: servers that are away, frozen or long unheard of.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::time::sleep;

use super::Settings;
use super::callers::{CONFIG, Caller, ClientKind, Truth};
use super::load::Load;
use super::outcome::{Outcome, Plan};
use super::pods::{Fleet, Traits};
use super::rolls::PLAN;
use crate::HarnessError;
use crate::echo::{PING, Ping};

const PODS: u32 = 3;

/// One server stands still; its connection is given up by keepalive and its calls go elsewhere.
pub(super) async fn stopped(
    kind: ClientKind,
    settings: &Settings,
) -> Result<Outcome, HarnessError> {
    let fleet = Fleet::of(PODS).await?;
    let truth = Truth::new(fleet.addresses(1..=PODS));
    let caller = Caller::new(kind, &truth, settings)?;
    caller.ready(PODS as usize).await;
    let plan = Plan { timeout: Duration::from_secs(25), ..PLAN };
    let load = Load::start(&caller, plan).await?;
    sleep(Duration::from_secs(1)).await;
    fleet.signal(1, Signal::STOP);
    sleep(settings.stop).await;
    fleet.signal(1, Signal::CONT);
    sleep(Duration::from_secs(1)).await;
    Ok(load.finish(&fleet).await?.nothing_failed())
}

/// Nobody calls while every server is replaced; the first calls afterwards must not notice.
pub(super) async fn idle_then_roll(
    kind: ClientKind,
    settings: &Settings,
) -> Result<Outcome, HarnessError> {
    let mut fleet = Fleet::of(PODS).await?;
    let truth = Truth::new(fleet.addresses(1..=PODS));
    let caller = Caller::new(kind, &truth, settings)?;
    caller.ready(PODS as usize).await;
    let mut outcome = Outcome::new();
    first_calls(&caller, &mut outcome).await;
    // Longer than the keepalive's time and timeout together.
    sleep(Duration::from_secs(16)).await;
    for pod in 1..=PODS {
        fleet.stop(pod).await?;
        fleet.start(pod, Traits::default()).await?;
    }
    first_calls(&caller, &mut outcome).await;
    outcome.retries = caller.retries();
    outcome.duplicates = fleet.duplicates()?;
    Ok(outcome.nothing_failed())
}

async fn first_calls(caller: &Caller, outcome: &mut Outcome) {
    for _ in 0..100 {
        let (began, id) = (Instant::now(), outcome.calls + 1);
        let ping = Ping { id, work_ms: 0, server: 0 };
        let result = caller.ping(PING, ping, PLAN.timeout).await;
        let result = result.map(|ping| ping.server).map_err(|status| status.code());
        outcome.record(result, began.elapsed());
    }
}

/// Calls made while nobody is there wait for somebody to come.
pub(super) async fn all_away(
    kind: ClientKind,
    settings: &Settings,
) -> Result<Outcome, HarnessError> {
    let mut fleet = Fleet::of(PODS).await?;
    let truth = Truth::new(fleet.addresses(1..=PODS));
    let config =
        CONFIG.replace(r#""idempotent": true,"#, r#""idempotent": true, "waitForReady": true,"#);
    let caller = Caller::with_config(kind, &truth, settings, &config)?;
    caller.ready(PODS as usize).await;
    let plan = Plan { timeout: Duration::from_secs(25), ..PLAN };
    let load = Load::start(&caller, plan).await?;
    sleep(Duration::from_secs(1)).await;
    (1..=PODS).for_each(|pod| fleet.signal(pod, Signal::TERM));
    for pod in 1..=PODS {
        fleet.ended(pod).await?;
    }
    sleep(Duration::from_secs(5)).await;
    for pod in 1..=PODS {
        fleet.start(pod, Traits::default()).await?;
    }
    caller.ready(1).await;
    sleep(Duration::from_secs(2)).await;
    Ok(load.finish(&fleet).await?.nothing_failed())
}
