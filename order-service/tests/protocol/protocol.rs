//! The protocol as it is: what must hold does, in every state of each world.

use super::{
    Guards, OTHER_REQUEST, Protocol, REQUEST, Role, USUAL,
    check::hold,
    database::Keys,
    properties::{
        ALL_DONE, COMMIT_READ_BACK, DECLINE_REPLAYED, GIVEN_UP, ORDER_REPLAYED, RESTORED,
        REUSE_REFUSED, SOLD_OUT, TAKEOVER, TOMBSTONE_REFUSED, ZOMBIE_FENCED,
    },
};

#[test]
fn one_key_makes_one_order_whoever_stops_sleeps_or_is_heard_twice() {
    let visits = &[
        TAKEOVER,
        ZOMBIE_FENCED,
        TOMBSTONE_REFUSED,
        GIVEN_UP,
        ORDER_REPLAYED,
        COMMIT_READ_BACK,
        ALL_DONE,
    ];
    hold("two callers, one completer", Protocol { funds: 1, visits, ..USUAL });
}

#[test]
fn two_completers_that_find_the_same_key_do_no_harm() {
    let workers = &[REQUEST, Role::Completer, Role::Completer];
    let visits = &[TAKEOVER, ZOMBIE_FENCED, TOMBSTONE_REFUSED, GIVEN_UP, ALL_DONE];
    hold("one caller, two completers", Protocol { workers, visits, ..USUAL });
}

#[test]
fn a_decline_stands_though_the_money_comes_later() {
    let visits = &[DECLINE_REPLAYED, ALL_DONE, GIVEN_UP];
    hold("money comes late", Protocol { funds: 0, deposits: 1, visits, ..USUAL });
}

#[test]
fn an_order_that_is_sold_out_gives_its_money_back() {
    let visits = &[SOLD_OUT, TAKEOVER, GIVEN_UP];
    hold(
        "sold out",
        Protocol { workers: &[REQUEST, REQUEST], stock: 0, visits: &visits[..2], ..USUAL },
    );
    let workers = &[REQUEST, Role::Completer];
    hold("sold out, completed", Protocol { workers, stock: 0, visits, ..USUAL });
}

#[test]
fn another_request_under_the_key_runs_nothing() {
    let workers = &[REQUEST, OTHER_REQUEST, Role::Completer];
    hold("another request", Protocol { workers, visits: &[REUSE_REFUSED, ALL_DONE], ..USUAL });
    let visits = &[REUSE_REFUSED, ORDER_REPLAYED];
    let workers = &[REQUEST, OTHER_REQUEST, REQUEST];
    hold("another request, later", Protocol { workers, forgets: true, visits, ..USUAL });
}

/// PostgreSQL: writes name the claim's day, not its order.
#[test]
fn a_partition_that_was_let_go_of_makes_no_second_order() {
    let guards = Guards { writes_name_the_order: false, ..Guards::ALL };
    let visits = &[ORDER_REPLAYED, ZOMBIE_FENCED, TOMBSTONE_REFUSED];
    hold("by day", Protocol { forgets: true, guards, visits, ..USUAL });
    let guards = Guards { orders_speak_for_their_keys: false, ..guards };
    let visits = &[RESTORED, ZOMBIE_FENCED, TOMBSTONE_REFUSED];
    hold("by day, by the last fence", Protocol { forgets: true, guards, visits, ..USUAL });
}

#[test]
fn a_row_that_was_let_go_of_makes_no_second_order() {
    let keys = Keys::OneTable;
    let visits = &[ORDER_REPLAYED, ZOMBIE_FENCED, TOMBSTONE_REFUSED];
    hold("one table", Protocol { keys, forgets: true, visits, ..USUAL });
    let guards = Guards { orders_speak_for_their_keys: false, ..Guards::ALL };
    let visits = &[RESTORED, ZOMBIE_FENCED, TOMBSTONE_REFUSED];
    let world = Protocol { keys, forgets: true, guards, visits, ..USUAL };
    hold("one table, by the last fence", world);
}

#[test]
fn a_key_that_placed_an_order_and_was_let_go_of_never_fails() {
    for (stock, funds) in [(2, 1), (1, 2)] {
        let world = Protocol { workers: &[REQUEST, REQUEST], stock, funds, ..USUAL };
        let visits = &[ORDER_REPLAYED, ALL_DONE];
        hold("the second would fail", Protocol { forgets: true, visits, ..world.clone() });
        let guards = Guards { orders_speak_for_their_keys: false, ..Guards::ALL };
        let visits = &[RESTORED, ALL_DONE];
        let world = Protocol { forgets: true, guards, visits, ..world };
        hold("the second would fail, by the last fence", world);
    }
}

#[test]
fn a_key_in_its_orders_own_row_makes_one_order() {
    let usual = Protocol { keys: Keys::WithOrders, ..USUAL };
    let visits = &[
        TAKEOVER,
        ZOMBIE_FENCED,
        TOMBSTONE_REFUSED,
        GIVEN_UP,
        ORDER_REPLAYED,
        COMMIT_READ_BACK,
        ALL_DONE,
    ];
    hold("with orders", Protocol { funds: 1, visits, ..usual.clone() });

    let visits = &[DECLINE_REPLAYED, ALL_DONE, GIVEN_UP];
    hold(
        "with orders, money comes late",
        Protocol { funds: 0, deposits: 1, visits, ..usual.clone() },
    );

    let workers = &[REQUEST, OTHER_REQUEST, REQUEST];
    let visits = &[REUSE_REFUSED, SOLD_OUT];
    let world = Protocol { workers, stock: 0, forgets: true, visits, ..usual };
    hold("with orders, a refused key is free again", world);
}
