//! One range of both books side by side: two pages, each in the order of its primary key, joined by name. Pure.
//!
//! Pages are cut where the shorter of them ends; what lies behind the cut is read again with the next range. So memory
//! is two pages, whatever the size of the books and however unevenly they are filled.

use std::collections::BTreeMap;

use crate::{
    facts::{Aged, Case, Name, Order, Reservation},
    origin::order_id_of,
};

/// Rows of one book, ascending.
#[derive(Debug)]
pub(crate) struct Page<T> {
    pub(crate) rows: Vec<T>,
    /// As many rows as were asked for: there may be more behind them.
    pub(crate) full: bool,
}

/// A row of `orders`.
#[derive(Debug, Clone)]
pub(crate) struct OrderRow {
    pub(crate) name: Name,
    pub(crate) order: Aged<Order>,
}

/// A row of `reservations`.
#[derive(Debug, Clone)]
pub(crate) struct ReservationRow {
    pub(crate) key: Key,
    pub(crate) reservation: Aged<Reservation>,
}

/// A place in a book: account and id. Text orders ids as their bytes do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) account: i64,
    pub(crate) id: String,
}

/// The range that both pages cover.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    /// Cases with an order, a reservation by an order's id, or both. Nothing is known of their outbox rows yet.
    pub(crate) cases: Vec<Case>,
    pub(crate) orders: usize,
    pub(crate) reservations: usize,
    /// The last row of each book within the range, if there is one: where to go on.
    pub(crate) last_order: Option<Name>,
    pub(crate) last_reservation: Option<Key>,
}

/// Joins two pages as far as both reach. Without a full page that is to the end of both books.
pub(crate) fn merge(orders: Page<OrderRow>, reservations: Page<ReservationRow>) -> Merged {
    let order_end = orders.rows.last().filter(|_| orders.full).map(|row| Key::of(row.name));
    let reservation_end = reservations.rows.last().filter(|_| reservations.full);
    let reservation_end = reservation_end.map(|row| row.key.clone());
    let cut = order_end.into_iter().chain(reservation_end).min();
    let within = |key: &Key| cut.as_ref().is_none_or(|cut| key <= cut);

    let mut merged = Merged::default();
    let mut cases = BTreeMap::new();
    for row in orders.rows.into_iter().take_while(|row| within(&Key::of(row.name))) {
        merged.orders += 1;
        merged.last_order = Some(row.name);
        let case = cases.entry(row.name).or_insert_with(|| Case::unknown(row.name));
        case.order = Some(row.order);
    }
    for row in reservations.rows.into_iter().take_while(|row| within(&row.key)) {
        merged.reservations += 1;
        if let Some(id) = order_id_of(&row.key.id) {
            let name = Name { account: row.key.account, id };
            let case = cases.entry(name).or_insert_with(|| Case::unknown(name));
            case.reservation = Some(row.reservation);
        }
        merged.last_reservation = Some(row.key);
    }
    merged.cases = cases.into_values().collect();
    merged
}

impl Key {
    pub(crate) fn of(name: Name) -> Self {
        Self { account: name.account, id: name.id.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;
    use crate::facts::testing::{captured, ordered};

    const AGE: Duration = Duration::from_secs(600);

    fn name(account: i64, id: u128) -> Name {
        Name { account, id: Uuid::from_u128(id) }
    }

    fn order(account: i64, id: u128) -> OrderRow {
        OrderRow { name: name(account, id), order: ordered("10").order.unwrap() }
    }

    fn reservation(account: i64, id: &str) -> ReservationRow {
        let (key, row) = (Key { account, id: id.to_owned() }, captured("10", "0"));
        ReservationRow { key, reservation: Aged { row, age: AGE } }
    }

    fn of_order(account: i64, id: u128) -> ReservationRow {
        reservation(account, &Uuid::from_u128(id).to_string())
    }

    #[test]
    fn rows_of_one_name_meet_and_others_stand_alone() {
        let orders = Page { rows: vec![order(1, 1), order(1, 3), order(2, 1)], full: false };
        let rows = vec![of_order(1, 1), of_order(1, 2), reservation(1, "hotel"), of_order(2, 1)];
        let merged = merge(orders, Page { rows, full: false });
        let sides: Vec<_> = merged
            .cases
            .iter()
            .map(|case| (case.name, case.order.is_some(), case.reservation.is_some()))
            .collect();
        assert_eq!(
            sides,
            [
                (name(1, 1), true, true),
                (name(1, 2), false, true),
                (name(1, 3), true, false),
                (name(2, 1), true, true),
            ]
        );
        assert_eq!((merged.orders, merged.reservations), (3, 4));
    }

    /// Walks books of any shape in pages of any size, as the program does.
    fn walk(orders: &[OrderRow], reservations: &[ReservationRow], limit: usize) -> Vec<Case> {
        let (mut after_order, mut after_reservation) = (None, None);
        let mut cases = Vec::new();
        for _ in 0..1000 {
            let rows = orders.iter().filter(|row| Some(row.name) > after_order);
            let rows: Vec<_> = rows.take(limit).cloned().collect();
            let order_page = Page { full: rows.len() == limit, rows };
            let rows =
                reservations.iter().filter(|row| Some(&row.key) > after_reservation.as_ref());
            let rows: Vec<_> = rows.take(limit).cloned().collect();
            let reservation_page = Page { full: rows.len() == limit, rows };
            let over = !order_page.full && !reservation_page.full;
            let merged = merge(order_page, reservation_page);
            cases.extend(merged.cases);
            if over {
                return cases;
            }
            after_order = merged.last_order.or(after_order);
            after_reservation = merged.last_reservation.or(after_reservation);
        }
        panic!("pages of {limit} never came to the end");
    }

    #[test]
    fn pages_of_any_size_show_the_same_cases_as_one_page() {
        // Densely filled on one side and sparsely on the other, in turns; foreign reservations between.
        let ids =
            |account: i64| (0..40).map(move |id| order(account, id * u128::from(account as u64)));
        let orders: Vec<_> = (1..=3).flat_map(ids).collect();
        let mut reservations: Vec<_> = (1..=4)
            .flat_map(|account| (0..60).map(move |id| of_order(account, id)))
            .chain((1..=4).map(|account| reservation(account, "zebra")))
            .chain((1..=4).map(|account| reservation(account, "")))
            .collect();
        reservations.sort_by(|a, b| a.key.cmp(&b.key));
        let whole = walk(&orders, &reservations, 1000);
        for limit in 1..=70 {
            assert_eq!(walk(&orders, &reservations, limit), whole, "pages of {limit}");
        }
    }
}
