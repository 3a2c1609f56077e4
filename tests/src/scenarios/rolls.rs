//! R1–R5: pods that are replaced, politely and not.

use std::time::Duration;

use client::Channel;
use rustix::process::Signal;
use tokio::time::sleep;

use super::callers::{CONFIG, Caller, ClientKind, Truth};
use super::load::Load;
use super::outcome::{Outcome, Plan};
use super::pods::{Fleet, Traits};
use super::{Settings, dns};
use crate::HarnessError;
use crate::echo::{PING, PING_ONCE};

const PODS: u32 = 3;
/// Time between events in which the load finds its pace: the passing of time is what is meant.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) const PLAN: Plan =
    Plan { method: PING, callers: 100, work_ms: 5, timeout: Duration::from_secs(10) };

/// Three pods, a caller and its load.
async fn begin(
    kind: ClientKind,
    settings: &Settings,
    plan: Plan,
) -> Result<(Fleet, Truth, Caller, Load), HarnessError> {
    let fleet = Fleet::of(PODS).await?;
    let truth = Truth::new(fleet.addresses(1..=PODS));
    let caller = Caller::new(kind, &truth, settings)?;
    caller.ready(PODS as usize).await;
    let load = Load::start(&caller, plan).await?;
    sleep(PAUSE).await;
    Ok((fleet, truth, caller, load))
}

pub(super) async fn sigterm(
    kind: ClientKind,
    settings: &Settings,
) -> Result<Outcome, HarnessError> {
    let (mut fleet, _truth, _caller, load) = begin(kind, settings, PLAN).await?;
    for pod in 1..=PODS {
        fleet.stop(pod).await?;
        fleet.start(pod, Traits::default()).await?;
        sleep(PAUSE).await;
    }
    Ok(load.finish(&fleet).await?.nothing_failed())
}

pub(super) async fn removed_first(
    kind: ClientKind,
    settings: &Settings,
) -> Result<Outcome, HarnessError> {
    let (mut fleet, truth, _caller, load) = begin(kind, settings, PLAN).await?;
    for pod in 1..=PODS {
        truth.send_replace(fleet.addresses((1..=PODS).filter(|other| *other != pod)));
        sleep(Duration::from_millis(1_500)).await;
        fleet.stop(pod).await?;
        fleet.start(pod, Traits::default()).await?;
        truth.send_replace(fleet.addresses(1..=PODS));
        sleep(PAUSE).await;
    }
    Ok(load.finish(&fleet).await?.nothing_failed())
}

pub(super) async fn replaced_through_dns(
    kind: ClientKind,
    settings: &Settings,
) -> Result<Outcome, HarnessError> {
    let mut fleet = Fleet::of(PODS).await?;
    let truth = Truth::new(fleet.addresses(1..=PODS));
    let served = dns::serve(truth.subscribe()).await;
    let (server, name_server) = served.map_err(HarnessError::io("serve DNS"))?;
    let caller = match kind {
        ClientKind::Holdfast => {
            let port = fleet.address(1).port();
            let target = format!("dns://{server}/accounts.test:{port}");
            let builder = Channel::builder(target).service_config(CONFIG).seed(settings.seed);
            Caller::built(builder)?
        }
        ClientKind::Balance | ClientKind::BalanceRetry | ClientKind::GrpcCore => {
            Caller::new(kind, &truth, settings)?
        }
    };
    caller.ready(PODS as usize).await;
    let load = Load::start(&caller, PLAN).await?;
    sleep(PAUSE).await;
    for pod in PODS + 1..=2 * PODS {
        fleet.start(pod, Traits::default()).await?;
    }
    truth.send_replace(fleet.addresses(PODS + 1..=2 * PODS));
    // Kubernetes takes its time too: preStop is longer than this.
    sleep(Duration::from_secs(3)).await;
    for pod in 1..=PODS {
        fleet.signal(pod, Signal::TERM);
    }
    for pod in 1..=PODS {
        fleet.ended(pod).await?;
    }
    sleep(PAUSE).await;
    let outcome = load.finish(&fleet).await?;
    name_server.abort();
    Ok(outcome.nothing_failed())
}

async fn killed(
    kind: ClientKind,
    settings: &Settings,
    plan: Plan,
) -> Result<(Outcome, Caller), HarnessError> {
    let (mut fleet, _truth, caller, load) = begin(kind, settings, plan).await?;
    for pod in 1..=PODS {
        fleet.kill(pod).await?;
        sleep(PAUSE).await;
        fleet.start(pod, Traits::default()).await?;
        sleep(2 * PAUSE).await;
    }
    Ok((load.finish(&fleet).await?, caller))
}

pub(super) async fn sigkill_idempotent(
    kind: ClientKind,
    settings: &Settings,
) -> Result<Outcome, HarnessError> {
    let (outcome, _caller) = killed(kind, settings, PLAN).await?;
    Ok(outcome.nothing_failed())
}

/// Only calls that may have run fail, and none of them runs twice.
pub(super) async fn sigkill_once(
    kind: ClientKind,
    settings: &Settings,
) -> Result<Outcome, HarnessError> {
    let plan = Plan { method: PING_ONCE, ..PLAN };
    let (mut outcome, caller) = killed(kind, settings, plan).await?;
    outcome.kept = outcome.duplicates == 0;
    if let Some(ambiguous) = caller.ambiguous() {
        outcome.kept &= outcome.failed <= ambiguous;
        outcome.note = format!("{ambiguous} were in flight");
    }
    outcome.add_codes();
    Ok(outcome)
}
