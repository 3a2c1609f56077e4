//! The settler: tells the account service what was decided, until it has answered.
//!
//! Notices come from flights of this process, moments after their commit, and from housekeeping, which finds rows that
//! fell due because their process died or the account service was away. Telling is idempotent, so a row that two
//! processes tell does no harm. A row is deleted only after a definite answer.
//!
//! A refusal cannot happen while the invariants hold (the money was held for the order). Should it happen, the row
//! stays, is counted in `order_settlements_refused_total`, and is tried again each time it falls due: somebody must
//! look.

use failpoint::Point;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    accounts::{Accounts, Told},
    desk::Desk,
    order::Notice,
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
            if let Err(error) = desk.finish(notice).await {
                tracing::debug!(%order_id, action, %error, "a told notice is kept and will be told again");
            }
            failpoint::reach(Point::Finished);
        }
        Told::Unknown(status) => {
            metrics::counter!("order_settlements_unknown_total", "action" => action).increment(1);
            tracing::debug!(%order_id, action, %status, "a notice will be told again");
        }
        Told::Refused(reason) => {
            metrics::counter!("order_settlements_refused_total", "action" => action).increment(1);
            tracing::error!(%order_id, action, %reason, "the account service refuses what was decided");
        }
    }
}
