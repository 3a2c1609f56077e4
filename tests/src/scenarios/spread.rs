//! R14, R15: who gets how much.

use std::time::Duration;

use tokio::time::sleep;

use super::Settings;
use super::callers::{Caller, ClientKind, Truth};
use super::load::Load;
use super::outcome::{Outcome, Plan, Served};
use super::pods::{Fleet, Traits};
use super::rolls::PLAN;
use crate::HarnessError;

/// Load that leaves the machine room, for what is measured here is the picker. It evens out calls *in
/// flight*, so that a pod's calls are its part of those over the time that they take (Little's law). A
/// machine with more to do than it can decides those times itself: beside eight busy programs on two
/// cores, calls of 5 ms took 17, and R15's "ten times" was four. 200 callers with calls of 50 ms ask
/// for 4,000 calls/s, a third of what two cores were seen to carry, and a wait for the processor is a
/// small part of 50 ms.
const CALM: Plan = Plan { callers: 200, work_ms: 50, ..PLAN };

/// Two pods become five; two seconds later each has its fifth.
///
/// The bound is 1.1 of the mean. About 12,000 calls in three seconds are 2,400 a pod: were they thrown
/// at random, one pod's number would have a standard deviation of √(12,000 · ⅕ · ⅘) = 44, or 1.8 %,
/// so that 10 % is more than five of them. Two choices spread better than that.
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
    let warm = Load::start(&caller, CALM).await?;
    sleep(Duration::from_secs(1)).await;
    for pod in FEW + 1..=MANY {
        fleet.start(pod, Traits::default()).await?;
    }
    truth.send_replace(fleet.addresses(1..=MANY));
    sleep(Duration::from_secs(2)).await;
    let ready = caller.ready_now().unwrap_or(MANY as usize);
    let before = warm.finish(&fleet).await?;
    let load = Load::start(&caller, CALM).await?;
    sleep(Duration::from_secs(3)).await;
    let mut outcome = load.finish(&fleet).await?;
    // Each load counts its calls from 1, so numbers repeat without any call having run twice.
    outcome.duplicates = 0;
    let share = (1..=MANY).map(|pod| outcome.share(pod, MANY)).fold(0.0, f64::max);
    outcome.failed += before.failed;
    outcome.calls += before.calls;
    outcome.kept = outcome.failed == 0 && ready == MANY as usize && share <= 1.1;
    let times = times(&outcome);
    outcome.note = format!("largest share {share:.3} × mean; {ready} ready after 2 s; {times}");
    outcome.add_codes();
    Ok(outcome)
}

/// One of three pods takes ten times as long; it gets less than half of an even share.
///
/// With as many calls in flight at each, its share of the mean is 3 · ¹⁄₅₀₀ ÷ (2 · ¹⁄₅₀ + ¹⁄₅₀₀) = 0.14.
/// It reaches one half only when the others take 300 ms instead of 50.
pub(super) async fn one_slow(
    kind: ClientKind,
    settings: &Settings,
) -> Result<Outcome, HarnessError> {
    const SLOW: u32 = 1;
    const PODS: u32 = 3;
    let extra_ms = u64::from(CALM.work_ms) * 9;
    let mut fleet = Fleet::new()?;
    fleet.start(SLOW, Traits { extra_ms, ..Traits::default() }).await?;
    for pod in 2..=PODS {
        fleet.start(pod, Traits::default()).await?;
    }
    let truth = Truth::new(fleet.addresses(1..=PODS));
    let caller = Caller::new(kind, &truth, settings)?;
    caller.ready(PODS as usize).await;
    let load = Load::start(&caller, CALM).await?;
    sleep(Duration::from_secs(4)).await;
    let mut outcome = load.finish(&fleet).await?;
    let share = outcome.share(SLOW, PODS);
    outcome.kept = outcome.failed == 0 && share < 0.5;
    outcome.note = format!("the slow one's share {share:.3} × mean; {}", times(&outcome));
    outcome.add_codes();
    Ok(outcome)
}

/// What a call took at each pod, for whoever wonders why shares are as they are.
fn times(outcome: &Outcome) -> String {
    let means: Vec<String> = outcome
        .by_server
        .values()
        .map(|served: &Served| format!("{:.1}", served.mean_ms()))
        .collect();
    format!("mean ms by pod {}", means.join(" "))
}
