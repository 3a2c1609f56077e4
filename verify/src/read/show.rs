//! Rows as people and programs read them: amounts as decimals, times by RFC 3339, ids with their hyphens.

use proto::Money;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    Book, ReadError, Text,
    show_sql::{self, UNDECIDED},
    sql::{Query, Sql},
};

/// One row: its columns by their names.
pub(crate) type Row = Map<String, Value>;

/// Rows under the name of what they are.
pub(crate) type Rows = Vec<(&'static str, Vec<Row>)>;

const AMOUNTS: [&str; 4] = ["amount", "captured", "refunded", "balance"];
const TIMES: [&str; 5] = ["created_at", "due_at", "expires_at", "lease_until", "resolved_at"];
const IDS: [&str; 3] = ["order_id", "payment_id", "owner"];
/// JSON within a column.
const NESTED: [&str; 2] = ["basket", "response"];

/// The ids of all orders that a key was claimed for: a refusal may be forgotten, and its key used again.
pub(crate) async fn orders_of_key(
    book: &mut Book,
    account: i64,
    key: &str,
) -> Result<Vec<String>, ReadError> {
    let found = read(book, account, key, &[("keys", &show_sql::BY_KEY)]).await?;
    let rows = found.into_iter().flat_map(|(_, rows)| rows);
    Ok(rows.filter_map(|row| Some(row.get("order_id")?.as_str()?.to_owned())).collect())
}

/// What the order service's book says about some orders of an account.
pub(crate) async fn of_order(
    book: &mut Book,
    account: i64,
    ids: &[String],
) -> Result<Rows, ReadError> {
    let asked = [
        ("keys", &show_sql::KEYS),
        ("orders", &show_sql::ORDERS),
        ("payments", &show_sql::PAYMENTS),
        ("outbox", &show_sql::OUTBOX),
        ("settlement_resolutions", &show_sql::RESOLUTIONS),
    ];
    read(book, account, &Value::from(ids).to_string(), &asked).await
}

/// What the account service's book says about them.
pub(crate) async fn of_account(
    book: &mut Book,
    account: i64,
    ids: &[String],
) -> Result<Rows, ReadError> {
    let asked = [
        ("reservations", &show_sql::RESERVATIONS),
        ("refunds", &show_sql::REFUNDS),
        ("entries", &show_sql::ENTRIES),
    ];
    read(book, account, &Value::from(ids).to_string(), &asked).await
}

/// Undecided keys of this age in microseconds and more, the oldest first; at most 1,000.
pub(crate) async fn undecided(book: &mut Book, age: i64) -> Result<Vec<Row>, ReadError> {
    let found = read(book, age, "", &[("undecided", &UNDECIDED)]).await?;
    Ok(found.into_iter().flat_map(|(_, rows)| rows).collect())
}

async fn read(
    book: &mut Book,
    number: i64,
    text: &str,
    asked: &[(&'static str, &'static Sql)],
) -> Result<Rows, ReadError> {
    let queries: Vec<_> = asked
        .iter()
        .map(|(_, sql)| Query { sql, numbers: vec![number], text: text.to_owned() })
        .collect();
    let answers = book.snapshot(&queries).await?;

    let mut found = Vec::with_capacity(asked.len());
    for ((name, _), rows) in asked.iter().zip(answers) {
        let rows = rows.into_iter().map(|row| row_of(&row).ok_or_else(|| book.odd(&row)));
        found.push((*name, rows.collect::<Result<_, _>>()?));
    }
    Ok(found)
}

fn row_of(columns: &[Text]) -> Option<Row> {
    let mut row: Row = serde_json::from_str(columns.first()?.as_deref()?).ok()?;
    for (name, value) in &mut row {
        if !value.is_null() {
            *value = legible(name, value)?;
        }
    }
    Some(row)
}

/// `None` where a column does not hold what its name says.
fn legible(name: &str, value: &Value) -> Option<Value> {
    Some(match name {
        _ if AMOUNTS.contains(&name) => Money::from_units(value.as_i64()?).ok()?.to_string().into(),
        _ if TIMES.contains(&name) => time(value.as_i64()?)?.into(),
        _ if IDS.contains(&name) => id(value.as_str()?).into(),
        _ if NESTED.contains(&name) => serde_json::from_str(value.as_str()?).ok()?,
        _ => value.clone(),
    })
}

/// The account service takes any text for an order's id.
fn id(text: &str) -> String {
    Uuid::parse_str(text).map_or_else(|_| text.to_owned(), |id| id.to_string())
}

fn time(micros: i64) -> Option<String> {
    let since = std::time::Duration::from_micros(u64::try_from(micros).ok()?);
    let time = std::time::UNIX_EPOCH.checked_add(since)?;
    Some(humantime::format_rfc3339_micros(time).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(row: &str) -> Option<String> {
        let row = row_of(&[Some(row.to_owned())])?;
        Some(Value::Object(row).to_string())
    }

    #[test]
    fn amounts_times_ids_and_json_are_shown_as_people_read_them() {
        let row = r#"{"amount":125000,"created_at":1764252000000001,"order_id":"01932c07209c70008000000000000001",
            "basket":"{\"amount\":\"12.5\"}","refused":null}"#;
        let told = r#"{"amount":"12.5","basket":{"amount":"12.5"},"created_at":"2025-11-27T14:00:00.000001Z",
            "order_id":"01932c07-209c-7000-8000-000000000001","refused":null}"#;
        let told: Value = serde_json::from_str(told).unwrap();
        assert_eq!(shown(row).unwrap(), told.to_string());
        assert_eq!(shown(r#"{"order_id":"hotel-17"}"#).unwrap(), r#"{"order_id":"hotel-17"}"#);
    }

    #[test]
    fn a_row_that_no_service_wrote_is_not_made_up() {
        for odd in [r#"{"amount":"12.5"}"#, r#"{"created_at":-1}"#, r#"{"basket":"{"}"#, "[]"] {
            assert_eq!(shown(odd), None, "{odd}");
        }
    }
}
