//! What the programs that run scenarios share: each is its own servers too, ends with the exit code
//! that its outcome asks for, and shows lines as one table.

use std::error::Error;
use std::future::Future;
use std::process::ExitCode;

use clap::Subcommand;
use comfy_table::Table;

use super::{Line, PodArgs, serve_pod};
use crate::unless_interrupted;

/// What such a program can be besides itself.
#[derive(Subcommand)]
pub enum Role {
    /// Be a server (started by the scenarios themselves).
    #[command(hide = true)]
    Pod(PodArgs),
}

/// Serves as a pod if that is asked for, else does the work, which answers whether all is well.
pub async fn play(
    program: &str,
    role: Option<Role>,
    work: impl Future<Output = Result<bool, Box<dyn Error>>>,
) -> ExitCode {
    let ended = match role {
        Some(Role::Pod(pod)) => serve_pod(pod).await.map(|()| true),
        None => match unless_interrupted(work).await {
            Ok(ended) => ended,
            Err(interrupted) => return interrupted.exit_code(),
        },
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let causes = std::iter::successors(error.source(), |cause| (*cause).source());
            let causes: String = causes.map(|cause| format!(": {cause}")).collect();
            eprintln!("{program}: {error}{causes}");
            ExitCode::FAILURE
        }
    }
}

/// A row a line.
pub fn table(lines: &[Line]) -> Table {
    let mut table = Table::new();
    table.set_header([
        "", "client", "calls", "failed", "retries", "twice", "p50 ms", "p99 ms", "max ms", "", "",
    ]);
    for line in lines {
        let kept = if line.kept { "kept" } else { "MISSED" };
        table.add_row([
            line.scenario.to_owned(),
            line.client.to_owned(),
            line.calls.to_string(),
            line.failed.to_string(),
            line.retries.map_or_else(|| "not told".to_owned(), |retries| retries.to_string()),
            line.duplicates.to_string(),
            format!("{:.1}", line.p50_ms),
            format!("{:.1}", line.p99_ms),
            format!("{:.1}", line.max_ms),
            kept.to_owned(),
            line.note.clone(),
        ]);
    }
    table
}
