//! The report as a table for people.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};

use super::{Figures, Report};

/// One row a crowd, with document B's time beside ours.
#[must_use]
pub fn table(report: &Report) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header([
        "requests\nwith one key",
        "placed",
        "refused\nE301 + E302",
        "replayed",
        "errors",
        "orders",
        "payments",
        "stock\ntaken",
        "money\ntaken",
        "all\nanswered",
        "document B",
        "one more\nlater",
        "",
    ]);
    for figures in &report.runs {
        table.add_row(row(figures));
    }
    table.to_string()
}

fn row(figures: &Figures) -> Vec<Cell> {
    let refused =
        format!("{} + {}", figures.duplicates_in_progress, figures.duplicates_already_processed);
    let numbers = [
        figures.placed.to_string(),
        refused,
        figures.duplicates_replayed.to_string(),
        figures.errors.to_string(),
        figures.orders.to_string(),
        figures.payments.to_string(),
        figures.stock_taken.to_string(),
        figures.amount_taken.clone(),
        format!("{:.0} ms", figures.elapsed_ms),
        told_by_document_b(figures.requests).to_owned(),
        format!("{:.1} ms", figures.late_duplicate_ms),
    ];
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    let verdict = if figures.ok { "✓" } else { "✗" };
    let mut row = vec![right(format!("{}, {}", figures.requests, figures.mode))];
    row.extend(numbers.map(right));
    row.push(Cell::new(verdict));
    row
}

/// The times the document reports for its own system.
fn told_by_document_b(requests: usize) -> &'static str {
    match requests {
        10 => "1200 ms",
        100 => "1500 ms",
        1_000 => "2000 ms",
        _ => "–",
    }
}
