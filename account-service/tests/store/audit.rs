//! The audit finds what is wrong, and names it. Every damage is done with plain SQL, behind the ledger's back.

use account_service::audit::audit;
use database::Backend;

use crate::{
    commands::{capture, deposit, open, refund, release, reserve},
    on_both,
    support::{Fresh, Place},
};

on_both!(sound_books_pass, every_kind_of_damage_is_found_and_named);

async fn sound<B: Fresh>() -> Place<B> {
    let place = B::fresh().await;
    let batch = [
        open(1, "10"),
        open(2, "20"),
        deposit(1, "d", "5"),
        reserve(1, "held", "1"),
        reserve(1, "captured", "4"),
        capture(1, "captured", "3"),
        refund(1, "captured", "x", "1"),
        reserve(1, "declined", "99"),
        release(1, "tombstone"),
        release(9, "tombstone"),
        reserve(9, "declined", "1"),
    ];
    place.store().apply(&batch).await.unwrap();
    place
}

async fn sound_books_pass<B: Fresh>() {
    let place = sound::<B>().await;
    let report = audit::<B>(place.options.clone()).await.unwrap();
    assert!(report.ok && report.breaches.is_empty(), "{report:?}");
    assert_eq!((report.accounts, report.reservations, report.entries), (2, 6, 5));
    let usd = report.currencies["USD"];
    assert_eq!([usd.opened, usd.deposited, usd.captured], [300_000, 50_000, 30_000]);
    assert_eq!([usd.refunded, usd.balance, usd.held], [10_000, 330_000, 10_000]);
}

async fn every_kind_of_damage_is_found_and_named<B: Fresh>() {
    let damages = [
        ("UPDATE accounts SET balance = balance + 1 WHERE account_id = 2", "I1", 2, None),
        ("DELETE FROM deposits WHERE deposit_id = 'd'", "I1", 1, None),
        ("DELETE FROM refunds", "I1", 1, None),
        ("UPDATE accounts SET reserved = reserved + 1 WHERE account_id = 2", "I2", 2, None),
        ("UPDATE reservations SET state = 'RELEASED' WHERE reserve_id = 'held'", "I2", 1, None),
        (
            "UPDATE reservations SET captured = 1 WHERE account_id = 1 AND reserve_id = 'declined'",
            "I11",
            1,
            Some("reservation declined"),
        ),
        ("DELETE FROM entries WHERE account_id = 1 AND sequence = 2", "I10", 1, Some("entry 3")),
        (
            "UPDATE entries SET balance = 1 WHERE account_id = 1 AND sequence = 2",
            "I10",
            1,
            Some("entry 2"),
        ),
        ("DELETE FROM entries WHERE account_id = 1 AND sequence = 4", "I10", 1, None),
        ("DELETE FROM accounts WHERE account_id = 1", "I1", 1, Some("deposit d")),
        (
            "UPDATE reservations SET account_id = 8 WHERE reserve_id = 'held'",
            "I1",
            8,
            Some("reservation held"),
        ),
        ("UPDATE entries SET account_id = 99 WHERE account_id = 2", "I10", 99, Some("entry 1")),
    ];
    for (damage, invariant, account, row) in damages {
        let place = sound::<B>().await;
        let mut connection = B::connect(&place.options).await.unwrap();
        <B as Backend>::execute(&mut connection, damage).await.unwrap();
        let report = audit::<B>(place.options.clone()).await.unwrap();
        assert!(!report.ok);
        let named = report.breaches.iter().any(|breach| {
            (breach.invariant, breach.account_id) == (invariant, account)
                && row.is_none_or(|row| breach.row.as_deref() == Some(row))
        });
        assert!(named, "{damage}: {report:?}");
    }
}
