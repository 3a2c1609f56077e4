//! Every safeguard is needed: without it, a property breaks. Each test prints the shortest way there.

use super::{
    Guards, OTHER_REQUEST, Protocol, REQUEST, Role, USUAL,
    check::{breaks, hold},
    database::Keys,
    properties::{
        FAILED_WITHOUT_ORDER, FENCED, HELD_FOR_A_REASON, ONE_ORDER, PAID, REFUSED_FOR_EVER,
        TRUE_REFUSAL,
    },
};

const PAIR: Protocol = Protocol { workers: &[REQUEST, REQUEST], ..USUAL };

#[test]
fn bug_4_money_that_is_held_before_the_key_is_claimed_leaks() {
    let guards = Guards { claims_come_first: false, ..Guards::ALL };
    breaks(HELD_FOR_A_REASON, Protocol { guards, ..PAIR });
}

#[test]
fn bug_1_without_the_fence_a_zombie_writes() {
    let guards = Guards { fences_are_checked: false, ..Guards::ALL };
    breaks(FENCED, Protocol { guards, ..PAIR });
}

#[test]
fn a_commit_that_is_repeated_blindly_rewrites_a_decision() {
    let guards = Guards { decisions_are_final: false, ..Guards::ALL };
    breaks(FENCED, Protocol { guards, ..PAIR });
}

#[test]
fn a_fence_alone_does_not_name_a_row_that_was_made_anew() {
    let guards = Guards { writes_name_the_order: false, ..Guards::ALL };
    let world = Protocol { keys: Keys::OneTable, forgets: true, guards, ..USUAL };
    breaks(FENCED, world.clone());
    breaks(HELD_FOR_A_REASON, world);
}

#[test]
fn bug_5_a_takeover_with_another_reservation_leaves_the_first_one_held() {
    let guards = Guards { takeovers_keep_the_reservation: false, ..Guards::ALL };
    breaks(HELD_FOR_A_REASON, Protocol { guards, ..PAIR });
}

#[test]
fn bug_10_a_key_that_is_not_unique_among_orders_makes_two() {
    let guards = Guards {
        a_key_is_unique_among_orders: false,
        orders_speak_for_their_keys: false,
        ..Guards::ALL
    };
    breaks(ONE_ORDER, Protocol { forgets: true, guards, ..PAIR });
    // Either of them is enough.
    let guards = Guards { a_key_is_unique_among_orders: false, ..Guards::ALL };
    hold("claims that look for orders", Protocol { forgets: true, guards, ..PAIR });
}

#[test]
fn a_key_for_which_its_order_does_not_speak_is_denied_to_its_owner() {
    let guards = Guards { orders_speak_for_their_keys: false, ..Guards::ALL };
    let workers = &[REQUEST, OTHER_REQUEST, REQUEST];
    for keys in [Keys::Partitioned, Keys::OneTable] {
        breaks(TRUE_REFUSAL, Protocol { workers, keys, forgets: true, guards, ..USUAL });
    }
}

#[test]
fn a_failure_that_looks_for_no_earlier_order_denies_one() {
    let guards = Guards {
        failures_look_for_orders: false,
        orders_speak_for_their_keys: false,
        ..Guards::ALL
    };
    breaks(FAILED_WITHOUT_ORDER, Protocol { funds: 1, forgets: true, guards, ..PAIR });
    breaks(FAILED_WITHOUT_ORDER, Protocol { stock: 1, forgets: true, guards, ..PAIR });
}

#[test]
fn a_notice_that_is_written_after_the_decision_is_lost_in_a_crash() {
    let guards = Guards { notices_are_written_with_decisions: false, ..Guards::ALL };
    breaks(PAID, Protocol { guards, ..PAIR });
}

#[test]
fn a_notice_that_is_deleted_unanswered_is_lost_on_the_way() {
    let guards = Guards { notices_await_an_answer: false, ..Guards::ALL };
    breaks(PAID, Protocol { guards, ..PAIR });
}

#[test]
fn bug_6_a_decline_that_is_not_stored_holds_money_later() {
    let guards = Guards { declines_are_stored: false, ..Guards::ALL };
    let world = Protocol { funds: 0, deposits: 1, guards, ..PAIR };
    breaks(REFUSED_FOR_EVER, world.clone());
    breaks(HELD_FOR_A_REASON, world);
}

#[test]
fn a_release_without_a_tombstone_lets_a_late_reserve_hold_money_for_ever() {
    let guards = Guards { releases_leave_tombstones: false, ..Guards::ALL };
    let world = Protocol { workers: &[REQUEST, Role::Completer], guards, ..USUAL };
    breaks(REFUSED_FOR_EVER, world.clone());
    breaks(HELD_FOR_A_REASON, world);
}

#[test]
fn a_key_that_goes_undecided_may_fail_though_its_order_comes() {
    let guards = Guards { undecided_keys_are_kept: false, ..Guards::ALL };
    breaks(FAILED_WITHOUT_ORDER, Protocol { funds: 1, forgets: true, guards, ..PAIR });
}

#[test]
fn a_flight_that_outlives_its_key_finds_its_own_order_and_leaves_its_money_alone() {
    let guards = Guards { flights_end_before_keys_go: false, ..Guards::ALL };
    hold("a flight that outlives its key", Protocol { forgets: true, guards, ..PAIR });
}

/// A claim waits at the unique index for a row that is being deleted, and takes the key once that is gone, by what it had
/// seen of the refusals before.
#[test]
fn a_refusal_that_leaves_the_orders_at_once_lets_a_claim_of_before_run_its_key_again() {
    let guards = Guards { refusals_leave_late: false, ..Guards::ALL };
    let workers = &[REQUEST, OTHER_REQUEST];
    breaks(
        FAILED_WITHOUT_ORDER,
        Protocol { workers, keys: Keys::WithOrders, stock: 0, guards, ..USUAL },
    );
}
