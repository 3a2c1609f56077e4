//! The budget for people and for machines.

use std::time::Duration;

use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use serde_json::{Map, json};

use super::count::{Budget, Counts};

/// A name in JSON, one in the table, and how the figure is read.
type Named<Of, To> = (&'static str, &'static str, fn(&Of) -> To);

/// How a figure is read from a budget.
type Read = Box<dyn Fn(&Budget) -> f64>;

struct Figure {
    /// In JSON.
    name: String,
    /// In the table.
    label: String,
    read: Read,
}

/// Whose counts are shown; the rest is the server's and the observer's own.
const DATABASES: [&str; 2] = ["account", "orders"];

/// What is counted for each database.
const COUNTED: [Named<Counts, u64>; 12] = [
    ("round_trips", "round trips", |c| c.round_trips),
    ("commits", "commits", |c| c.commits),
    ("rows_inserted", "rows inserted", |c| c.inserted),
    ("rows_updated", "rows updated", |c| c.updated),
    ("rows_updated_hot", "of them HOT", |c| c.hot),
    ("rows_deleted", "rows deleted", |c| c.deleted),
    ("rows_locked", "rows locked", |c| c.locked),
    ("index_entries", "index entries", |c| c.index_entries),
    ("buffers", "buffers looked at", |c| c.buffers),
    ("wal_records", "WAL records", |c| c.wal_records),
    ("wal_bytes", "WAL bytes", |c| c.wal_bytes),
    ("wal_image_bytes", "bytes of page images", |c| c.image_bytes),
];

const USED: [Named<Budget, Duration>; 4] = [
    ("cpu_us.order_service", "CPU µs: order-service", |b| b.cpu.order.unwrap_or_default()),
    ("cpu_us.account_service", "CPU µs: account-service", |b| b.cpu.account.unwrap_or_default()),
    ("cpu_us.postgres", "CPU µs: PostgreSQL", |b| b.cpu.postgres.unwrap_or_default()),
    ("cpu_us.generator", "CPU µs: generator", |b| b.cpu.load),
];

/// Prints medians over the rounds, and how the first pair's compare with the other's.
pub(crate) fn show(orders: u64, ours: &[Budget], theirs: &[Budget]) {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    let columns = ["for one order", "programs", "against", "ratio"];
    let shown_columns = if theirs.is_empty() { 2 } else { columns.len() };
    table.set_header(&columns[..shown_columns]);

    let mut lines = Map::new();
    for Figure { name, label, read } in figures() {
        let one = median(ours.iter().map(&read).collect());
        let mut row = vec![label, shown(one)];
        let mut line = json!({ "programs": rounded(one) });
        if !theirs.is_empty() {
            let other = median(theirs.iter().map(&read).collect());
            let ratio = (other != 0.0).then(|| one / other);
            row.extend([shown(other), ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}"))]);
            line["against"] = json!(rounded(other));
            line["ratio"] = json!(ratio.map(rounded));
        }
        table.add_row(row);
        lines.insert(name, line);
    }
    println!("{table}");
    println!("{}", json!({ "orders": orders, "rounds": ours.len(), "budget": lines }));
}

fn figures() -> Vec<Figure> {
    let mut figures = Vec::new();
    for database in DATABASES {
        for (name, label, count) in COUNTED {
            let counted =
                move |budget: &Budget| budget.of_one(budget.counts.get(database).map_or(0, count));
            let (name, label) = (format!("{database}.{name}"), format!("{database}: {label}"));
            figures.push(Figure { name, label, read: Box::new(counted) });
        }
    }

    for (name, label, used) in USED {
        let micros = move |budget: &Budget| used(budget).as_secs_f64() * 1e6;
        let of_one = move |budget: &Budget| micros(budget) / as_f64(budget.placed.max(1));
        let (name, label) = (name.to_owned(), label.to_owned());
        figures.push(Figure { name, label, read: Box::new(of_one) });
    }
    let rate = |budget: &Budget| as_f64(budget.placed) / budget.time.as_secs_f64();
    let (name, label) = ("orders_per_s".to_owned(), "orders a second".to_owned());
    figures.push(Figure { name, label, read: Box::new(rate) });
    figures
}

impl Budget {
    fn of_one(&self, of_all: u64) -> f64 {
        as_f64(of_all) / as_f64(self.placed.max(1))
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of orders and rows")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

/// Small figures with their decimals, large ones without.
fn shown(value: f64) -> String {
    if value < 100.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
