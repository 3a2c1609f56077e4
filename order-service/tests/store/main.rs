//! The conformance suite of the stores: every test runs on SQLite and on PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops where it stands")]

mod actors;
mod batches;
mod catalog;
mod currency;
mod deciding;
mod environment;
mod keys;
mod lineage;
mod midnight;
mod orders;
mod outbox;
mod partitions;
mod plans;
mod settlements;
#[path = "../support/mod.rs"]
mod support;
mod verifying;
mod versions;
mod workers;

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
