//! The settler: tells the account service what was decided, until it has answered.
//!
//! Notices come from flights of this process, moments after their commit, and from housekeeping, which finds rows that
//! fell due because their process died or the account service was away. Telling is idempotent, so a row that two
//! processes tell does no harm. A row is deleted only after a definite answer.
//!
//! A refusal contradicts what was decided: another caller released or captured the hold, or it expired. The row stays,
//! with the reason, and is told again at growing intervals, from a minute to an hour. It is counted in
//! `order_settlements_refused_total` each time, shown by `order_settlements_refused` while it stands, and is a breach to
//! `verify`. `order-service settlements` lists, retries and resolves it.

use failpoint::Point;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    accounts::{Accounts, Told},
    desk::Desk,
    order::{Action, Notice},
    storage::outbox::RefusedNotice,
};

/// Notices that may wait here; those beyond wait in the database.
pub const QUEUE: usize = 16_384;

/// Notices told at once: they travel together, and what one call takes along is several times fewer.
const AT_ONCE: usize = 1_024;

/// Tells notices until stopped; those under way are finished.
pub async fn settle(
    mut notices: mpsc::Receiver<Notice>,
    accounts: Accounts,
    desk: Desk,
    stop: CancellationToken,
) {
    let waiting = futures_util::stream::poll_fn(|context| notices.poll_recv(context));
    waiting
        .take_until(stop.cancelled())
        .for_each_concurrent(AT_ONCE, |notice| tell(notice, &accounts, &desk))
        .await;
}

async fn tell(notice: Notice, accounts: &Accounts, desk: &Desk) {
    let action = notice.action.as_str();
    let order_id = notice.order_id;
    failpoint::reach(Point::BeforeTell);
    match accounts.tell(&notice).await {
        Told::Done { .. } => {
            failpoint::reach(Point::Told);
            metrics::counter!("order_settlements_total", "action" => action).increment(1);
            finish(notice, desk).await;
            failpoint::reach(Point::Finished);
        }
        Told::Unknown(status) => {
            metrics::counter!("order_settlements_unknown_total", "action" => action).increment(1);
            tracing::debug!(%order_id, action, %status, "a notice will be told again");
        }
        Told::Refused(reason) => {
            metrics::counter!("order_settlements_refused_total", "action" => action).increment(1);
            keep(RefusedNotice { notice, reason }, desk).await;
        }
    }
}

/// Deletes what was told. A cancel leaves its order's capture nothing to do, even one that was refused.
async fn finish(notice: Notice, desk: &Desk) {
    // A refused one is in the outbox, whatever batch the refund is in.
    let capture = Notice { action: Action::Capture, batch: None, ..notice.clone() };
    let capture = (notice.action == Action::Refund).then_some(capture);
    // Were the refund's row deleted first, a process that ends in between would leave the capture's.
    for told in capture.into_iter().chain([notice]) {
        let (order_id, action) = (told.order_id, told.action.as_str());
        if let Err(error) = desk.finish(told).await {
            tracing::debug!(%order_id, action, %error, "a told notice is kept and will be told again");
            return;
        }
    }
}

/// Keeps a refused notice for an operator. Logged when it is refused, not each time that it is told again.
async fn keep(refused: RefusedNotice, desk: &Desk) {
    let RefusedNotice { notice, reason } = refused.clone();
    let (account, order_id, action) =
        (notice.account.get(), notice.order_id, notice.action.as_str());
    match desk.refuse(refused).await {
        Ok(true) => {
            tracing::error!(account.id = account, %order_id, action, %reason, "the account service refuses what was decided; see `order-service settlements list`");
        }
        Ok(false) => tracing::debug!(%order_id, action, %reason, "a notice is refused as before"),
        Err(error) => {
            tracing::warn!(account.id = account, %order_id, action, %reason, %error, "a refusal was not written; the notice will be told again");
        }
    }
}
