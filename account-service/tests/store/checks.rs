//! What the database itself guards: money, whatever a program believes.

use std::collections::BTreeSet;

use database::Postgres;
use sqlx::{Connection, PgConnection};

use crate::{
    commands::{capture, deposit, open, refund, reserve},
    support::Fresh,
};

const CHECKS: &str = "
    SELECT conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
    WHERE contype = 'c' AND conrelid::regclass::text IN ('accounts', 'reservations', 'deposits', 'refunds', 'entries')";

/// By what they say: the names of some are the server's.
const GUARDS: [&str; 11] = [
    "accounts CHECK ((balance >= (0)::numeric))",
    "accounts CHECK ((opening_balance >= (0)::numeric))",
    "accounts CHECK ((reserved <= balance))",
    "accounts CHECK ((reserved >= (0)::numeric))",
    "deposits CHECK ((amount > (0)::numeric))",
    "entries CHECK ((amount > (0)::numeric))",
    "entries CHECK ((balance >= (0)::numeric))",
    "refunds CHECK ((amount > (0)::numeric))",
    "reservations CHECK (((captured >= (0)::numeric) AND (captured <= amount)))",
    "reservations CHECK (((refunded >= (0)::numeric) AND (refunded <= captured)))",
    "reservations CHECK ((amount >= (0)::numeric))",
];

/// What would take or make money.
const WRONG: [&str; 8] = [
    "UPDATE accounts SET balance = -1, reserved = -1",
    "UPDATE accounts SET reserved = -1",
    "UPDATE accounts SET reserved = balance + 1",
    "UPDATE reservations SET captured = amount + 1",
    "UPDATE reservations SET refunded = captured + 1",
    "UPDATE deposits SET amount = 0",
    "UPDATE refunds SET amount = -1",
    "UPDATE entries SET balance = -1",
];

#[tokio::test]
async fn the_checks_that_guard_money_are_there_and_no_others() {
    let place = Postgres::fresh().await;
    let mut connection = PgConnection::connect_with(&place.options).await.unwrap();
    let checks: Vec<String> = sqlx::query_scalar(CHECKS).fetch_all(&mut connection).await.unwrap();
    let (checks, guards) = (BTreeSet::from_iter(checks), GUARDS.map(str::to_owned));
    assert_eq!(checks, BTreeSet::from(guards));
}

#[tokio::test]
async fn the_database_refuses_rows_that_would_take_or_make_money() {
    let place = Postgres::fresh().await;
    let batch = [
        open(1, "10"),
        deposit(1, "d", "1"),
        reserve(1, "r", "4"),
        capture(1, "r", "4"),
        refund(1, "r", "x", "1"),
    ];
    place.store().apply(&batch).await.unwrap();

    let mut connection = PgConnection::connect_with(&place.options).await.unwrap();
    for wrong in WRONG {
        let refused = sqlx::raw_sql(wrong).execute(&mut connection).await.unwrap_err();
        let is_check = refused.as_database_error().is_some_and(|it| it.is_check_violation());
        assert!(is_check, "{wrong}: {refused}");
    }
}
