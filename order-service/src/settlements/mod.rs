//! `order-service settlements`: what an operator does about settlements that the account service refuses.
//!
//! - `list` prints every row of the outbox, one JSON object per line, read in pages.
//! - `retry` makes an order's rows due now; a running pod tells them within seconds.
//! - `resolve` gives a refused row up: it is deleted, recorded in `settlement_resolutions` with a note, and what it would
//!   have done is a difference between the books that `verify` accepts from then on.
//!
//! Each is one transaction, or one per page. A row that does not exist is an error, and so is resolving one that is not
//! refused: it may still be told.

mod args;

use std::io::{self, Write};

use database::StoreError;
use proto::id::AccountId;
use serde::Serialize;
use thiserror::Error;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

pub use args::SettlementsArgs;

use crate::{
    order::Action,
    storage::{
        Store, Tables,
        outbox::{Resolved, Waiting},
    },
};

/// Rows read at a time.
const PAGE: usize = 1_000;

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Print all rows.
    List,
    /// Tell an order's rows now.
    Retry {
        /// Who pays.
        account: AccountId,
        /// Which order.
        order_id: Uuid,
    },
    /// Give a refused row up.
    Resolve {
        /// Who pays.
        account: AccountId,
        /// Which order.
        order_id: Uuid,
        /// Which of its rows.
        action: Action,
        /// What was done instead, for whoever reads the books.
        note: String,
    },
}

/// Why a command did not do what it was for.
#[derive(Debug, Error)]
pub enum SettlementsError {
    /// There is no such row.
    #[error("no settlement of account {account}, order {order_id} waits{}", of(.action))]
    Unknown {
        /// Who pays.
        account: AccountId,
        /// Which order.
        order_id: Uuid,
        /// Which of its rows; `None`: any.
        action: Option<Action>,
    },
    /// The account service has not refused it.
    #[error("{} of account {account}, order {order_id} is not refused: it will be told", .action.as_str())]
    NotRefused {
        /// Who pays.
        account: AccountId,
        /// Which order.
        order_id: Uuid,
        /// Which of its rows.
        action: Action,
    },
    /// The database is away, or not migrated.
    #[error("cannot read or change the outbox")]
    Store(#[from] StoreError),
    /// Standard output does not take it.
    #[error("cannot print")]
    Output(#[from] io::Error),
}

/// A row, for people and programs.
#[derive(Serialize)]
struct Shown {
    account_id: i64,
    order_id: Uuid,
    action: &'static str,
    amount: String,
    refused: Option<String>,
    attempts: i32,
    created_at: String,
    due_at: String,
}

/// Does it, and prints the rows that it is about.
///
/// # Errors
/// See [`SettlementsError`].
pub async fn run<B: Tables>(mut store: Store<B>, command: Command) -> Result<(), SettlementsError> {
    match command {
        Command::List => list(&mut store).await,
        Command::Retry { account, order_id } => {
            let rows = store.hasten(account, order_id).await?;
            if rows.is_empty() {
                return Err(SettlementsError::Unknown { account, order_id, action: None });
            }
            print(&rows)
        }
        Command::Resolve { account, order_id, action, note } => {
            match store.resolve(account, order_id, action, &note).await? {
                Resolved::Done(row) => {
                    let (account, action) = (account.get(), action.as_str());
                    tracing::warn!(account.id = account, %order_id, action, refused = row.refused, note, "a refused settlement was given up by hand");
                    print(&[row])
                }
                Resolved::NotRefused => {
                    Err(SettlementsError::NotRefused { account, order_id, action })
                }
                Resolved::Unknown => {
                    Err(SettlementsError::Unknown { account, order_id, action: Some(action) })
                }
            }
        }
    }
}

async fn list<B: Tables>(store: &mut Store<B>) -> Result<(), SettlementsError> {
    let mut after = None;
    loop {
        let rows = store.waiting(after.as_ref(), PAGE).await?;
        print(&rows)?;
        let Some(last) = rows.into_iter().last() else { return Ok(()) };
        after = Some(last.notice);
    }
}

fn print(rows: &[Waiting]) -> Result<(), SettlementsError> {
    let mut output = io::stdout().lock();
    for row in rows {
        let json = serde_json::to_string(&Shown::of(row)).expect("a row is plain data");
        writeln!(output, "{json}")?;
    }
    Ok(output.flush()?)
}

impl Shown {
    fn of(row: &Waiting) -> Self {
        let Waiting { notice, refused, attempts, created_at, due_at } = row;
        let text = |time: &time::OffsetDateTime| {
            time.format(&Rfc3339).expect("the database's times have years of four digits")
        };
        Self {
            account_id: notice.account.get(),
            order_id: notice.order_id,
            action: notice.action.as_str(),
            amount: notice.amount.to_string(),
            refused: refused.clone(),
            attempts: *attempts,
            created_at: text(created_at),
            due_at: text(due_at),
        }
    }
}

fn of(action: &Option<Action>) -> String {
    action.map(|action| format!(" for {}", action.as_str())).unwrap_or_default()
}
