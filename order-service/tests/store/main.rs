//! The conformance suite of the stores: every test runs on SQLite and on PostgreSQL, with keys apart and
//! among the orders.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops where it stands")]

mod actors;
mod batches;
mod catalog;
mod currency;
mod deciding;
mod environment;
mod keys;
mod layout;
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

/// Makes a test of each named function for each kind of database, with keys apart only.
macro_rules! on_both_with_keys_apart {
    ($($name:ident),* $(,)?) => {
        mod sqlite_with_keys_apart {
            $(#[tokio::test]
            async fn $name() {
                super::$name::<database::Sqlite>().await;
            })*
        }

        mod postgres_with_keys_apart {
            $(#[tokio::test]
            async fn $name() {
                super::$name::<database::Postgres>().await;
            })*
        }
    };
}

/// Makes a test of each named function for each kind of database and each layout.
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

        mod sqlite_in_orders {
            $(#[tokio::test]
            async fn $name() {
                $crate::support::claim_in_orders();
                super::$name::<database::Sqlite>().await;
            })*
        }

        mod postgres_in_orders {
            $(#[tokio::test]
            async fn $name() {
                $crate::support::claim_in_orders();
                super::$name::<database::Postgres>().await;
            })*
        }
    };
}

pub(crate) use {on_both, on_both_with_keys_apart};
