//! The conformance suite of the stores: every test runs on SQLite and on PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops where it stands")]

mod actors;
mod audit;
mod batches;
mod checks;
#[path = "../ledger/commands.rs"]
mod commands;
mod concurrency;
mod currency;
mod expiry;
mod foresight;
mod ledger;
mod plans;
mod reads;
#[expect(dead_code, reason = "here it only runs batches; tests/ledger checks it")]
#[path = "../ledger/shelf.rs"]
mod shelf;
#[path = "../support/mod.rs"]
mod support;

/// Makes a test of each named function for each kind of database.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name::<database::Sqlite>().await;
            })*
        }

        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                super::$name::<database::Postgres>().await;
            })*
        }
    };
}

pub(crate) use on_both;
