//! The figures for people, for machines, and as a page.

use std::error::Error;

use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use holdfast_verify::Report;
use serde_json::json;
use tests::load::{Figures, Record};
use tests::report;

use crate::args::Args;
use crate::progress::Memory;

pub(crate) fn show(
    args: &Args,
    figures: &Figures,
    record: &Record,
    memory: &Memory,
    books: Option<&Report>,
) -> Result<(), Box<dyn Error>> {
    let [account_mib, order_mib] = memory.mib();
    let mut rows = rows(figures, books);
    for (service, mib) in [("account-service", &account_mib), ("order-service", &order_mib)] {
        if let (Some(first), Some(last)) = (mib.first(), mib.last()) {
            rows.push((service, format!("{first} MiB at the beginning, {last} MiB at the end")));
        }
    }
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    for (what, much) in &rows {
        table.add_row([*what, much.as_str()]);
    }
    println!("{table}");
    if let Some(path) = &args.report {
        let table = report::Table {
            heading: "Figures".to_owned(),
            columns: vec![String::new(), String::new()],
            rows: rows.into_iter().map(|(what, much)| vec![what.to_owned(), much]).collect(),
        };
        let page = report::Page {
            title: "Load on Holdfast".to_owned(),
            verdict: verdict(figures),
            command: std::env::args().collect::<Vec<_>>().join(" "),
            note: note(books),
            tables: vec![table],
        };
        page.write(record, path)?;
    }
    let mut line = figures.json();
    line["seed"] = json!(args.requests.seed);
    line["resident_mib"] = json!({ "account": account_mib, "order": order_mib });
    line["verified"] = json!(books.is_some_and(|books| books.ok));
    line["orders"] = json!(books.map(|books| books.orders));
    println!("{line}");
    Ok(())
}

fn verdict(figures: &Figures) -> report::Verdict {
    let tally = &figures.tally;
    let (failed, requests) = (tally.failed(), tally.requests());
    let speed = format!(
        "{:.0} answered per second, p99 {:.1} ms",
        figures.per_second(),
        tally.quantile_ms(0.99)
    );
    report::Verdict {
        ok: failed == 0,
        sentence: format!("{failed} of {requests} requests failed; {speed}."),
    }
}

fn note(books: Option<&Report>) -> String {
    match books {
        Some(books) => {
            format!("Both databases were read: the invariants hold for all {} orders.", books.orders)
        }
        None => "The databases were not read: they are the target's. Only the answers were judged; `account-service \
                 verify` and `order-service verify` read the books."
            .to_owned(),
    }
}

fn rows(figures: &Figures, books: Option<&Report>) -> Vec<(&'static str, String)> {
    let tally = &figures.tally;
    let ms = |quantile| format!("{:.1} ms", tally.quantile_ms(quantile));
    let cpu = |of| format!("{:.3} s", figures.cpu_per_thousand(of));
    let mut rows = vec![
        ("answered", format!("{:.0} a second", figures.per_second())),
        ("requests", tally.requests().to_string()),
        ("done", tally.done.to_string()),
        ("replayed", tally.replayed.to_string()),
        ("refused", tally.refused.to_string()),
        ("failed", format!("{} {}", tally.failed(), tally.failures_in_words())),
        ("p50", ms(0.5)),
        ("p99", ms(0.99)),
        ("p99.9", ms(0.999)),
        ("slowest", ms(1.0)),
    ];
    let by_who = [
        ("CPU for 1,000: load", Some(figures.cpu.load)),
        ("order-service", figures.cpu.order),
        ("account-service", figures.cpu.account),
        ("PostgreSQL", figures.cpu.postgres),
    ];
    rows.extend(by_who.into_iter().filter_map(|(who, used)| Some((who, cpu(used?)))));
    rows.push(("CPU given to other machines", format!("{:.1} %", figures.stolen_percent())));
    if let Some(books) = books {
        rows.push(("invariants", format!("hold for all {} orders", books.orders)));
    }
    rows
}
