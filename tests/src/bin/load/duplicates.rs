//! `--profile duplicates`: document B's crowds, on a pair of its own or on one that runs already (B11).

use std::error::Error;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tests::clients::Clients;
use tests::document_b::{self, Report};
use tests::load::Record;
use tests::report::{Page, Table, Verdict};

use crate::args::Args;
use crate::{connect, start};

/// True when each key made one order.
pub(crate) async fn run(args: &Args) -> Result<bool, Box<dyn Error>> {
    let (report, note) = match args.target.is_empty() {
        true => on_own_pair(args).await?,
        false => on_target(args).await?,
    };
    println!("{}", document_b::table(&report));
    println!("{}", report.json());
    if let Some(path) = &args.report {
        write(&report, note, path)?;
    }
    Ok(report.ok)
}

async fn on_own_pair(args: &Args) -> Result<(Report, &'static str), Box<dyn Error>> {
    let stage = start(args).await?;
    let clients = Clients::connect(stage.cluster()).await?;
    // The first crowd on a cold pair would measure page faults and empty caches.
    let first_id = 1_000;
    document_b::run_all(&clients, first_id).await?;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let report = document_b::run_all(&clients, 1).await?;
    drop(clients);
    stage.finish().await?;
    Ok((report, "Both databases were read: the invariants hold."))
}

/// Accounts and products of their own: their ids are the time, in milliseconds, at which the run began.
async fn on_target(args: &Args) -> Result<(Report, &'static str), Box<dyn Error>> {
    let [accounts, orders] = connect(args, None).await?;
    let clients = Clients::of(&accounts, &orders);
    let report = document_b::run_all(&clients, started_at()?).await?;
    let note = "Orders, payments, stock and balance were read through the services. The databases are the target's and \
                were not read: `holdfast-verify` does.";
    Ok((report, note))
}

#[expect(clippy::disallowed_methods, reason = "names the run's accounts, decides nothing")]
fn started_at() -> Result<i64, Box<dyn Error>> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis().try_into()?)
}

fn write(report: &Report, note: &str, path: &Path) -> Result<(), Box<dyn Error>> {
    let crowds = report.runs.len();
    let right = report.runs.iter().filter(|figures| figures.ok).count();
    let rows = report.runs.iter().map(|figures| {
        let refused = figures.duplicates_in_progress + figures.duplicates_already_processed;
        vec![
            format!("{} requests, {}", figures.requests, figures.mode),
            figures.orders.to_string(),
            figures.payments.to_string(),
            figures.stock_taken.to_string(),
            figures.amount_taken.clone(),
            refused.to_string(),
            figures.duplicates_replayed.to_string(),
            figures.errors.to_string(),
            format!("{:.0}", figures.elapsed_ms),
        ]
    });
    let columns = [
        "one key",
        "orders",
        "payments",
        "stock taken",
        "money taken",
        "refused",
        "replayed",
        "failed",
        "all answered, ms",
    ];
    let page = Page {
        title: "Many requests with one key".to_owned(),
        verdict: Verdict {
            ok: report.ok,
            sentence: format!("{right} of {crowds} crowds made exactly one order each."),
        },
        command: std::env::args().collect::<Vec<_>>().join(" "),
        note: note.to_owned(),
        tables: vec![Table {
            heading: "Crowds".to_owned(),
            columns: columns.map(str::to_owned).into(),
            rows: rows.collect(),
        }],
    };
    // Crowds have no timeline.
    Ok(page.write(&Record::default(), path)?)
}
