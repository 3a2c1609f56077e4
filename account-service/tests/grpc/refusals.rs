//! Every refusal: its code and its reason.

use database::Sqlite;
use proto::{Reason, account::v1 as api};

use crate::running::{
    Running, capture, deposit, get_reservation, list_entries, open, reason, refund, release,
    reserve,
};

/// Calls and answers the reason of the refusal.
macro_rules! refused {
    ($client:expr, $call:ident, $request:expr) => {
        reason(&$client.$call($request).await.unwrap_err())
    };
}

#[tokio::test]
async fn every_refusal_has_its_code_and_its_reason() {
    let mut service = Running::<Sqlite>::fresh().await;
    let c = &mut service.client;
    c.open_account(open(1, "100")).await.unwrap();
    assert_eq!(refused!(c, open_account, open(1, "101")), Reason::AccountAlreadyExists);
    let unknown = api::GetAccountRequest { account_id: 9 };
    assert_eq!(refused!(c, get_account, unknown), Reason::AccountNotFound);
    assert_eq!(refused!(c, deposit, deposit(9, "d", "1")), Reason::AccountNotFound);
    assert_eq!(refused!(c, reserve, reserve(9, "r", "1")), Reason::AccountNotFound);
    assert_eq!(refused!(c, capture, capture(9, "other", "1")), Reason::AccountNotFound);
    assert_eq!(refused!(c, refund, refund(9, "r", "x", "1")), Reason::AccountNotFound);
    assert_eq!(refused!(c, list_entries, list_entries(9, 0, "")), Reason::AccountNotFound);

    c.deposit(deposit(1, "d", "1")).await.unwrap();
    assert_eq!(refused!(c, deposit, deposit(1, "d", "2")), Reason::DepositMismatch);
    for n in 0..8 {
        let most = "100000000000000";
        c.deposit(deposit(1, &format!("d{n}"), most)).await.unwrap();
    }
    let over = deposit(1, "over", "100000000000000");
    assert_eq!(refused!(c, deposit, over), Reason::BalanceLimitExceeded);

    c.open_account(open(2, "100")).await.unwrap();
    assert_eq!(refused!(c, reserve, reserve(2, "short", "101")), Reason::InsufficientFunds);
    assert_eq!(refused!(c, reserve, reserve(2, "short", "101")), Reason::InsufficientFunds);
    assert_eq!(refused!(c, reserve, reserve(2, "short", "1")), Reason::ReservationMismatch);
    assert_eq!(refused!(c, capture, capture(2, "short", "")), Reason::ReservationDeclined);
    assert_eq!(refused!(c, capture, capture(2, "unseen", "")), Reason::ReservationNotFound);
    let unseen = get_reservation(2, "unseen");
    assert_eq!(refused!(c, get_reservation, unseen), Reason::ReservationNotFound);
    assert_eq!(refused!(c, refund, refund(2, "unseen", "x", "1")), Reason::ReservationNotFound);

    c.reserve(reserve(2, "r", "10")).await.unwrap();
    assert_eq!(refused!(c, reserve, reserve(2, "r", "11")), Reason::ReservationMismatch);
    let other_order = api::ReserveRequest { order_id: "other".into(), ..reserve(2, "r", "10") };
    assert_eq!(refused!(c, reserve, other_order), Reason::ReservationMismatch);
    let too_much = capture(2, "r", "10.0001");
    assert_eq!(refused!(c, capture, too_much), Reason::CaptureExceedsReservation);
    assert_eq!(refused!(c, refund, refund(2, "r", "x", "1")), Reason::ReservationNotCaptured);
    c.capture(capture(2, "r", "8")).await.unwrap();
    assert_eq!(refused!(c, capture, capture(2, "r", "")), Reason::CaptureMismatch);
    assert_eq!(refused!(c, release, release(2, "r")), Reason::ReservationCaptured);
    assert_eq!(refused!(c, refund, refund(2, "r", "x", "8.5")), Reason::RefundExceedsCapture);
    c.refund(refund(2, "r", "x", "8")).await.unwrap();
    assert_eq!(refused!(c, refund, refund(2, "r", "x", "7")), Reason::RefundMismatch);

    c.release(release(2, "tombstone")).await.unwrap();
    let late = reserve(2, "tombstone", "1");
    assert_eq!(refused!(c, reserve, late), Reason::ReservationReleased);
    assert_eq!(refused!(c, capture, capture(2, "tombstone", "")), Reason::ReservationReleased);
    service.stop().await;
}

#[tokio::test]
async fn a_hold_ends_by_itself_and_the_sweeper_gives_it_back() {
    let mut service = Running::<Sqlite>::fresh().await;
    let c = &mut service.client;
    c.open_account(open(1, "100")).await.unwrap();
    let ttl = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    c.reserve(api::ReserveRequest { ttl, ..reserve(1, "r", "40") }).await.unwrap();
    let state = |reservation: api::Reservation| reservation.state();
    let began = std::time::Instant::now();
    loop {
        let read = c.get_reservation(get_reservation(1, "r")).await.unwrap().into_inner();
        if state(read) == api::ReservationState::Expired {
            break;
        }
        assert!(began.elapsed() < std::time::Duration::from_secs(20), "the hold never ended");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(began.elapsed() >= std::time::Duration::from_millis(900), "too early");
    let account = c.get_account(api::GetAccountRequest { account_id: 1 }).await.unwrap();
    assert_eq!(account.get_ref().available, "100");
    assert_eq!(refused!(c, capture, capture(1, "r", "")), Reason::ReservationExpired);
    assert_eq!(refused!(c, reserve, reserve(1, "r", "40")), Reason::ReservationExpired);
    assert!(c.release(release(1, "r")).await.unwrap().into_inner().replayed);
    service.stop().await;
}
