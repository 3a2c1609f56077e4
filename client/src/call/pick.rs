//! Getting a place on an endpoint, waiting for one if need be.
//!
//! A call waits while the channel is connecting and while every ready endpoint is full; a call that
//! waits for ready also while no endpoint can be reached. The wait ends with the call's deadline (or
//! its caller), and only so many calls may wait at one time. They are served in the order in which
//! they came.

use std::pin::pin;
use std::sync::Arc;

use tokio::sync::{MutexGuard, watch};
use tokio::task::yield_now;

use crate::balance::{Connectivity, Pick, Picker};
use crate::capacity::Waiting;
use crate::connection::Slot;
use crate::pool::EndpointId;
use crate::shared::Shared;

/// Why there is no place.
#[derive(Clone, Debug)]
pub(super) enum NoPlace {
    /// Every endpoint failed, for this reason.
    Unreachable(Arc<str>),
    /// Too many calls wait already.
    Crowded,
    /// The channel's task is gone, and its runtime with it.
    Closed,
}

pub(super) async fn acquire(
    shared: &Shared,
    avoid: Option<EndpointId>,
    wait_for_ready: bool,
) -> Result<Slot, NoPlace> {
    if shared.setup.capacity.waiting() == 0
        && let Pick::Slot(slot) = shared.pickers.borrow().pick(avoid, &shared.setup.entropy)
    {
        return Ok(slot);
    }
    let place = wait_for_place(shared, avoid, wait_for_ready).await;
    if place.is_err() {
        // Who asks again at once, and again, must not keep the channel's own tasks from connecting.
        yield_now().await;
    }
    place
}

async fn wait_for_place(
    shared: &Shared,
    avoid: Option<EndpointId>,
    wait_for_ready: bool,
) -> Result<Slot, NoPlace> {
    let waiting = shared.setup.capacity.enter().ok_or(NoPlace::Crowded)?;
    let mut pickers = shared.pickers.clone();
    let _front = stand_in_line(&waiting, &mut pickers, wait_for_ready).await?;
    loop {
        let mut released = pin!(waiting.notified());
        released.as_mut().enable();
        {
            let picker = pickers.borrow_and_update();
            match (picker.pick(avoid, &shared.setup.entropy), &picker.state) {
                (Pick::Slot(slot), _) => return Ok(slot),
                (Pick::None, Connectivity::Failing(why)) if !wait_for_ready => {
                    return Err(NoPlace::Unreachable(Arc::clone(why)));
                }
                (Pick::Full | Pick::None, _) => {}
            }
        }
        tokio::select! {
            () = released => {}
            changed = pickers.changed() => changed.map_err(|_| NoPlace::Closed)?,
        }
    }
}

/// Waits until all who came before have their place or gave up. Of news only one matters here: that there is nothing to
/// wait for.
async fn stand_in_line<'a>(
    waiting: &Waiting<'a>,
    pickers: &mut watch::Receiver<Arc<Picker>>,
    wait_for_ready: bool,
) -> Result<MutexGuard<'a, ()>, NoPlace> {
    let mut front = pin!(waiting.front());
    loop {
        match &pickers.borrow_and_update().state {
            Connectivity::Failing(why) if !wait_for_ready => {
                return Err(NoPlace::Unreachable(Arc::clone(why)));
            }
            Connectivity::Failing(_) | Connectivity::Connecting | Connectivity::Ready => {}
        }
        tokio::select! {
            biased;
            front = &mut front => return Ok(front),
            changed = pickers.changed() => changed.map_err(|_| NoPlace::Closed)?,
        }
    }
}
