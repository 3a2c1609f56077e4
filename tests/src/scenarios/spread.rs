//! R14, R15: who gets how much.

use std::time::Duration;

use tokio::time::sleep;

use super::Settings;
use super::callers::{Caller, ClientKind, Truth};
use super::load::{Load, Outcome};
use super::pods::{Fleet, Traits};
use super::rolls::PLAN;
use crate::HarnessError;

/// Two pods become five; soon each has its fifth.
pub(super) async fn scaled_up(
    kind: ClientKind,
    settings: &Settings,
) -> Result<Outcome, HarnessError> {
    const FEW: u32 = 2;
    const MANY: u32 = 5;
    let mut fleet = Fleet::of(FEW).await?;
    let truth = Truth::new(fleet.addresses(1..=FEW));
    let caller = Caller::new(kind, &truth, settings)?;
    caller.ready(FEW as usize).await;
    let warm = Load::start(&caller, PLAN).await?;
    sleep(Duration::from_secs(1)).await;
    for pod in FEW + 1..=MANY {
        fleet.start(pod, Traits::default()).await?;
    }
    truth.send_replace(fleet.addresses(1..=MANY));
    sleep(Duration::from_secs(2)).await;
    let before = warm.finish(&fleet).await?;
    let load = Load::start(&caller, PLAN).await?;
    sleep(Duration::from_secs(3)).await;
    let mut outcome = load.finish(&fleet).await?;
    // Each load counts its calls from 1, so numbers repeat without any call having run twice.
    outcome.duplicates = 0;
    let share = outcome.largest_share(MANY as usize);
    outcome.failed += before.failed;
    outcome.calls += before.calls;
    outcome.kept = outcome.failed == 0 && share <= 1.1;
    outcome.note = format!("largest share {share:.3} × mean");
    outcome.add_codes();
    Ok(outcome)
}

/// One of three pods takes ten times as long; it gets less than half of an even share.
pub(super) async fn one_slow(
    kind: ClientKind,
    settings: &Settings,
) -> Result<Outcome, HarnessError> {
    const SLOW: u32 = 1;
    const PODS: u32 = 3;
    let mut fleet = Fleet::new()?;
    fleet.start(SLOW, Traits { extra_ms: 45, ..Traits::default() }).await?;
    for pod in 2..=PODS {
        fleet.start(pod, Traits::default()).await?;
    }
    let truth = Truth::new(fleet.addresses(1..=PODS));
    let caller = Caller::new(kind, &truth, settings)?;
    caller.ready(PODS as usize).await;
    let load = Load::start(&caller, PLAN).await?;
    sleep(Duration::from_secs(4)).await;
    let mut outcome = load.finish(&fleet).await?;
    let slow = outcome.by_server.get(&SLOW).copied().unwrap_or(0);
    #[expect(clippy::cast_precision_loss, reason = "counts of calls")]
    let share = slow as f64 * f64::from(PODS) / outcome.calls as f64;
    outcome.kept = outcome.failed == 0 && share < 0.5;
    outcome.note = format!("the slow one's share {share:.3} × mean");
    outcome.add_codes();
    Ok(outcome)
}
