//! `order-service layout`: where claims go, and moving an installation from one place to the other while it serves.
//!
//! Each step waits for longer than a statement may live, so that no claim of before is under way when the next one is
//! taken; in the steps between, claims of both layouts lock their keys. On the way back, what programs of the version before
//! need is written where they look for it. A command that is broken off is begun again.

use std::{io, time::Duration};

use database::StoreError;
use serde::Serialize;
use thiserror::Error;
use tokio::time::sleep;

use crate::storage::{Layout, LeftInOrders, Store, Tables};

/// Between two looks at what is left.
const LOOK: Duration = Duration::from_secs(1);

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Print where claims go.
    Show,
    /// Move to this layout.
    Move {
        /// [`Layout::Keys`] or [`Layout::Orders`].
        goal: Layout,
        /// How long what is left may take to be decided, told and moved.
        limit: Duration,
    },
}

/// Why the layout is not what was asked for.
#[derive(Debug, Error)]
pub enum LayoutError {
    /// The database is away, or not migrated.
    #[error("cannot read or change the layout")]
    Store(#[from] StoreError),
    /// Another command moves it at the same time.
    #[error("the layout was changed meanwhile, to {}: run the command again", .0.as_str())]
    Changed(Layout),
    /// Programs of the version before cannot read what is still there.
    #[error(
        "claims go into the table of keys, but {undecided} orders are undecided, {untold} notices are not told and \
         {refused} refusals have not left: keep these pods running, and run the command again before older ones start"
    )]
    Left {
        /// Orders without a decision.
        undecided: u64,
        /// What the account service must still be told.
        untold: u64,
        /// Refused orders whose rows are still there.
        refused: u64,
    },
    /// Standard output does not take it.
    #[error("cannot print")]
    Output(#[from] io::Error),
}

#[derive(Serialize)]
struct Shown {
    claims: &'static str,
    #[serde(flatten)]
    left: LeftInOrders,
}

/// Does it, and prints each step as a line of JSON. `step`: how long each one waits.
///
/// # Errors
/// See [`LayoutError`].
pub async fn run<B: Tables>(
    mut store: Store<B>,
    command: Command,
    step: Duration,
) -> Result<(), LayoutError> {
    let mut layout = store.layout().await?;
    show(&mut store, layout).await?;
    let Command::Move { goal, limit } = command else { return Ok(()) };

    while let Some(next) = layout.next_to(goal) {
        if !store.change_layout(layout, next).await? {
            return Err(LayoutError::Changed(store.layout().await?));
        }
        layout = next;
        show(&mut store, layout).await?;
        sleep(step).await;
    }
    if goal == Layout::Keys {
        store.return_payments().await?;
        wait_until_nothing_is_left(&mut store, limit).await?;
    }
    show(&mut store, layout).await
}

/// Payments of orders that are decided meanwhile are returned as well.
async fn wait_until_nothing_is_left<B: Tables>(
    store: &mut Store<B>,
    limit: Duration,
) -> Result<(), LayoutError> {
    let mut waited = Duration::ZERO;
    loop {
        let LeftInOrders { undecided, untold, refused } = store.left_in_orders().await?;
        if undecided + untold + refused == 0 {
            return Ok(store.return_payments().await?);
        }
        if waited >= limit {
            return Err(LayoutError::Left { undecided, untold, refused });
        }
        sleep(LOOK).await;
        waited += LOOK;
        // Housekeeping of the pods does the rest.
        store.let_refusals_leave().await?;
    }
}

async fn show<B: Tables>(store: &mut Store<B>, layout: Layout) -> Result<(), LayoutError> {
    let shown = Shown { claims: layout.as_str(), left: store.left_in_orders().await? };
    let line = serde_json::to_string(&shown).map_err(io::Error::from)?;
    io::Write::write_all(&mut io::stdout(), format!("{line}\n").as_bytes())?;
    Ok(())
}
