//! Rows read back into facts.

use std::{collections::BTreeMap, time::Duration};

use proto::Money;
use serde_json::json;
use uuid::Uuid;

use super::{
    Book, ReadError, Text,
    sql::{self, Query, Sql},
};
use crate::{
    facts::{Aged, Name, Notice, Order, Reservation, State, Told},
    merge::{Key, OrderRow, Page, ReservationRow},
    origin::{is_ours, order_id_of},
};

/// What the order service's book says about some names.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    pub(crate) orders: Vec<(Name, Aged<Order>)>,
    /// Without the age where the database does not know it.
    pub(crate) waiting: Vec<(Name, Notice, Option<Duration>)>,
    pub(crate) resolved: Vec<(Name, Told)>,
    pub(crate) undecided: Vec<Name>,
}

/// The orders that follow a name.
pub(crate) async fn orders(
    book: &mut Book,
    after: Name,
    limit: u32,
) -> Result<Page<OrderRow>, ReadError> {
    let query = after_key(&sql::ORDERS_AFTER, &Key::of(after), limit);
    let rows = one(book.snapshot(&[query]).await?);
    let full = rows.len() >= limit as usize;
    let read = |row: Vec<Text>| {
        let (name, order) = order(&row).ok_or_else(|| book.odd(&row))?;
        Ok(OrderRow { name, order })
    };
    Ok(Page { rows: rows.into_iter().map(read).collect::<Result<_, _>>()?, full })
}

/// The reservations that follow a place.
pub(crate) async fn reservations(
    book: &mut Book,
    after: &Key,
    limit: u32,
) -> Result<Page<ReservationRow>, ReadError> {
    let query = after_key(&sql::RESERVATIONS_AFTER, after, limit);
    let rows = one(book.snapshot(&[query]).await?);
    let full = rows.len() >= limit as usize;
    let read = |row: Vec<Text>| {
        let (key, reservation) = reservation(&row).ok_or_else(|| book.odd(&row))?;
        Ok(ReservationRow { key, reservation })
    };
    Ok(Page { rows: rows.into_iter().map(read).collect::<Result<_, _>>()?, full })
}

/// These orders, their outbox rows and their undecided keys, at one moment.
pub(crate) async fn look_at_orders(book: &mut Book, names: &[Name]) -> Result<Looked, ReadError> {
    let has = |table: &str| {
        let text = table.to_owned();
        Query { sql: &sql::HAS_TABLE, numbers: Vec::new(), text }
    };
    let tables = book.snapshot(&["notices", "settlement_resolutions"].map(has)).await?;
    let [notices, resolutions] =
        std::array::from_fn(|at| tables.get(at).is_some_and(|found| !found.is_empty()));

    let waiting = if notices { &sql::NOTICES } else { &sql::OUTBOX };
    let mut asked = vec![&sql::ORDERS, waiting, &sql::UNDECIDED];
    if resolutions {
        asked.push(&sql::RESOLUTIONS);
    }

    let queries: Vec<_> = asked.into_iter().map(|sql| of_names(sql, names)).collect();
    let mut answers = book.snapshot(&queries).await?.into_iter();
    let [found, outbox, undecided, resolved] =
        std::array::from_fn(|_| answers.next().unwrap_or_default());
    let mut looked = Looked::default();
    for row in resolved {
        looked.resolved.push(resolution(&row).ok_or_else(|| book.odd(&row))?);
    }
    for row in found {
        looked.orders.push(order(&row).ok_or_else(|| book.odd(&row))?);
    }
    for row in outbox {
        looked.waiting.push(notice(&row).ok_or_else(|| book.odd(&row))?);
    }
    for row in undecided {
        looked.undecided.push(name(&row).ok_or_else(|| book.odd(&row))?);
    }
    Ok(looked)
}

/// The reservations of these names.
pub(crate) async fn look_at_reservations(
    book: &mut Book,
    names: &[Name],
) -> Result<BTreeMap<Name, Aged<Reservation>>, ReadError> {
    let rows = one(book.snapshot(&[of_names(&sql::RESERVATIONS, names)]).await?);
    let read = |row: Vec<Text>| {
        let named = reservation(&row).and_then(|(key, reservation)| {
            Some((Name { account: key.account, id: order_id_of(&key.id)? }, reservation))
        });
        named.ok_or_else(|| book.odd(&row))
    };
    rows.into_iter().map(read).collect()
}

fn after_key(sql: &'static Sql, after: &Key, limit: u32) -> Query {
    Query { sql, numbers: vec![after.account, i64::from(limit)], text: after.id.clone() }
}

fn of_names(sql: &'static Sql, names: &[Name]) -> Query {
    let names = names.iter().map(|name| json!([name.account, name.id]));
    let text = serde_json::Value::Array(names.collect()).to_string();
    Query { sql, numbers: Vec::new(), text }
}

fn one(mut answers: Vec<Vec<Vec<Text>>>) -> Vec<Vec<Text>> {
    answers.pop().expect("one answer for one query")
}

fn name(row: &[Text]) -> Option<Name> {
    let [account, id, ..] = row else { return None };
    Some(Name { account: number(account)?, id: Uuid::parse_str(id.as_deref()?).ok()? })
}

fn order(row: &[Text]) -> Option<(Name, Aged<Order>)> {
    let [_, _, amount, status, age] = row else { return None };
    let order = Order { amount: money(amount)?, cancelled: status.as_deref()? == "CANCELLED" };
    Some((name(row)?, Aged { row: order, age: time(age)? }))
}

fn resolution(row: &[Text]) -> Option<(Name, Told)> {
    let [_, _, action] = row else { return None };
    Some((name(row)?, Told::parse(action.as_deref()?)?))
}

fn notice(row: &[Text]) -> Option<(Name, Notice, Option<Duration>)> {
    let [_, _, action, age, refused] = row else { return None };
    let notice = Notice { action: Told::parse(action.as_deref()?)?, refused: refused.is_some() };
    Some((name(row)?, notice, time(age)))
}

fn reservation(row: &[Text]) -> Option<(Key, Aged<Reservation>)> {
    let [account, reserve_id, order_id, state, amount, captured, refunded, age, returned] = row
    else {
        return None;
    };
    let id = reserve_id.clone()?;
    let reservation = Reservation {
        state: State::parse(state.as_deref()?)?,
        amount: money(amount)?,
        captured: money(captured)?,
        refunded: money(refunded)?,
        returned: number(returned)? > 0,
        origin: is_ours(&id, order_id.as_deref()),
    };
    Some((Key { account: number(account)?, id }, Aged { row: reservation, age: time(age)? }))
}

fn number(text: &Text) -> Option<i64> {
    text.as_deref()?.parse().ok()
}

fn money(units: &Text) -> Option<Money> {
    Money::from_units(number(units)?).ok()
}

/// A row that is younger than now by the database's clock has no age yet.
fn time(micros: &Text) -> Option<Duration> {
    number(micros).map(|micros| Duration::from_micros(u64::try_from(micros).unwrap_or(0)))
}
