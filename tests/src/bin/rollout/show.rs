//! The figures for people, for machines, and as a page.

use std::error::Error;
use std::path::Path;

use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use serde_json::json;
use tests::load::Record;
use tests::report;

use crate::measure::Line;
use crate::run::Outcome;

const COLUMNS: [&str; 13] = [
    "",
    "at s",
    "for s",
    "left",
    "killed",
    "requests",
    "failed",
    "retried",
    "again",
    "twice",
    "p50 ms",
    "p99 (before) ms",
    "largest share out (in)",
];

/// Prints tables, then JSON, a line an event and a line a run.
pub(crate) fn print(runs: &[(&str, &Outcome)]) {
    for (name, outcome) in runs {
        println!("{name}:");
        println!("{}", table(outcome));
        println!("{}", outcome.books());
    }
    for (name, outcome) in runs {
        for line in &outcome.lines {
            let mut value = serde_json::to_value(line).expect("a line is plain data");
            value["run"] = json!(name);
            println!("{value}");
        }
        println!("{}", total(name, outcome));
    }
}

/// Writes the timeline of the first run, and the tables of all.
pub(crate) fn write(
    runs: &[(&str, &Outcome)],
    record: &Record,
    path: &Path,
) -> Result<(), Box<dyn Error>> {
    let tables = runs.iter().map(|(name, outcome)| report::Table {
        heading: (*name).to_owned(),
        columns: COLUMNS.map(str::to_owned).into(),
        rows: rows(outcome),
    });
    let page = report::Page {
        title: "Pods come and go".to_owned(),
        verdict: runs.first().map(|(_, outcome)| verdict(outcome)).unwrap_or_default(),
        command: std::env::args().collect::<Vec<_>>().join(" "),
        note: runs.iter().map(|(_, outcome)| outcome.books()).collect::<Vec<_>>().join(" "),
        tables: tables.collect(),
    };
    Ok(page.write(record, path)?)
}

fn verdict(outcome: &Outcome) -> report::Verdict {
    let Outcome { all, audit, .. } = outcome;
    let sentence = format!(
        "{} of {} requests failed; {} orders are there twice, {} are missing.",
        all.failed,
        all.requests,
        audit.duplicates.len(),
        audit.missing.len(),
    );
    // A pod that left in disorder, or got too much of the load, spoils a run in which nothing failed.
    let disorder = match outcome.is_ok() || all.failed > 0 {
        true => "",
        false => " Something else is not as it should be: see the tables and the program's output.",
    };
    report::Verdict { ok: outcome.is_ok(), sentence: sentence + disorder }
}

fn table(outcome: &Outcome) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(COLUMNS);
    table.add_rows(rows(outcome));
    table
}

fn rows(outcome: &Outcome) -> Vec<Vec<String>> {
    outcome.lines.iter().chain([&outcome.all]).map(row).collect()
}

fn row(line: &Line) -> Vec<String> {
    let share = |share: Option<f64>| share.map_or_else(String::new, |it| format!("{it:.2}"));
    let shares = match line.largest_share_in_cluster {
        Some(_) => {
            format!("{} ({})", share(line.largest_share), share(line.largest_share_in_cluster))
        }
        None => share(line.largest_share),
    };
    let failed = match line.failures.as_str() {
        "" => line.failed.to_string(),
        words => format!("{}: {words}", line.failed),
    };
    vec![
        line.event.clone(),
        line.at_s.to_string(),
        line.seconds.to_string(),
        line.departures.to_string(),
        line.kills.to_string(),
        line.requests.to_string(),
        failed,
        line.retried.to_string(),
        line.asked_again.to_string(),
        line.duplicates.to_string(),
        format!("{:.1}", line.p50_ms),
        format!("{:.1} ({:.1})", line.p99_ms, line.p99_before_ms),
        shares,
    ]
}

fn total(name: &str, outcome: &Outcome) -> serde_json::Value {
    let mut value = serde_json::to_value(&outcome.all).expect("a line is plain data");
    let Outcome { audit, seed, graceful, connections, reckoning, .. } = outcome;
    let more = json!({
        "run": name,
        "seed": seed,
        "graceful_events": graceful.events,
        "graceful_failed": graceful.failed,
        "graceful_asked_again": graceful.asked_again,
        "orders": audit.orders,
        "missing": audit.missing.len(),
        "untold": audit.untold,
        "goaways": connections.drained,
        "connections_lost": connections.lost,
        "out_of_order": reckoning.as_ref().map(|it| it.out_of_order.len()),
        // null where the databases were not read.
        "verified": reckoning.as_ref().map(|it| it.breach.is_none()),
        "ok": outcome.is_ok(),
    });
    for (key, of) in more.as_object().into_iter().flatten() {
        value[key] = of.clone();
    }
    value
}
