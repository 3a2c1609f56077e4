//! R1–R15: what a channel meets in a cluster, each with our channel and with tonic's beside it.
//!
//! Servers are real processes on loopback addresses of their own; what they ran is written to a file
//! that survives them, so that a call that ran twice is seen. Each scenario has a bound that our
//! channel has to keep; the others are there to show what the bound is worth.

mod absence;
mod callers;
mod dns;
mod foreign;
mod load;
mod moody;
mod outcome;
mod pods;
mod program;
mod rolls;
mod spread;
mod wire;

use std::time::Duration;

use serde::Serialize;

pub use self::callers::ClientKind;
pub use self::foreign::ForeignClient;
use self::outcome::Outcome;
pub use self::pods::{PodArgs, serve_pod};
pub use self::program::{Role, play, table};
use crate::HarnessError;

/// What a scenario can be run with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Decides every random choice of our channel.
    pub seed: u64,
    /// How long R8 stops a server.
    pub stop: Duration,
    /// Where grpc-core's client is, for [`ClientKind::GrpcCore`].
    pub grpc_core: Option<ForeignClient>,
}

/// One line of the report.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// R1–R15.
    pub scenario: &'static str,
    /// Whose channel.
    pub client: &'static str,
    /// Calls made.
    pub calls: u64,
    /// Calls that failed.
    pub failed: u64,
    /// Attempts beyond the first of each call; absent for a client that does not tell.
    pub retries: Option<u64>,
    /// Calls that ran more than once.
    pub duplicates: u64,
    /// Median latency.
    pub p50_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// The slowest call.
    pub max_ms: f64,
    /// What else decides, in words.
    pub note: String,
    /// Whether the bound was kept.
    pub kept: bool,
}

impl Line {
    /// Whether our channel missed its bound. What others do is shown and not judged.
    pub fn is_ours_missed(&self) -> bool {
        self.client == ClientKind::Holdfast.name() && !self.kept
    }
}

/// The scenarios in order, with what each is about.
pub const SCENARIOS: [(&str, &str); 15] = [
    ("R1", "SIGTERM roll, endpoints kept"),
    ("R2", "endpoint removed, then SIGTERM"),
    ("R3", "all pods replaced by new addresses through DNS"),
    ("R4", "SIGKILL, idempotent calls"),
    ("R5", "SIGKILL, calls that must not run twice"),
    ("R6", "GOAWAY with an open stream, then calls"),
    ("R7", "one server refuses every stream"),
    ("R8", "SIGSTOP of one server"),
    ("R9", "a server that accepts and never sends SETTINGS"),
    ("R10", "idle for long, a roll, then the first calls"),
    ("R11", "the whole backend away for 5 s, wait-for-ready"),
    ("R12", "server streams cut midway"),
    ("R13", "drain with an endless stream and an unfinished handshake"),
    ("R14", "scale 2 → 5"),
    ("R15", "one endpoint ten times as slow"),
];

/// Runs one scenario with one kind of client.
pub async fn run(
    scenario: &'static str,
    kind: ClientKind,
    settings: &Settings,
) -> Result<Line, HarnessError> {
    let outcome = match scenario {
        "R1" => rolls::sigterm(kind, settings).await?,
        "R2" => rolls::removed_first(kind, settings).await?,
        "R3" => rolls::replaced_through_dns(kind, settings).await?,
        "R4" => rolls::sigkill_idempotent(kind, settings).await?,
        "R5" => rolls::sigkill_once(kind, settings).await?,
        "R6" => wire::goaway_with_open_stream(kind, settings).await?,
        "R7" => wire::refused(kind, settings).await?,
        "R8" => absence::stopped(kind, settings).await?,
        "R9" => wire::mute(kind, settings).await?,
        "R10" => absence::idle_then_roll(kind, settings).await?,
        "R11" => absence::all_away(kind, settings).await?,
        "R12" => wire::streams_cut(kind, settings).await?,
        "R13" => wire::bounded_drain(settings).await?,
        "R14" => spread::scaled_up(kind, settings).await?,
        _ => spread::one_slow(kind, settings).await?,
    };
    Ok(outcome.line(scenario, kind))
}

impl Outcome {
    fn line(self, scenario: &'static str, kind: ClientKind) -> Line {
        let ms = |quantile| {
            #[expect(clippy::cast_precision_loss, reason = "microseconds of a call")]
            let us = self.latency_us.value_at_quantile(quantile) as f64;
            us / 1000.0
        };
        Line {
            scenario,
            client: kind.name(),
            calls: self.calls,
            failed: self.failed,
            retries: self.retries,
            duplicates: self.duplicates,
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
            max_ms: ms(1.0),
            note: self.note,
            kept: self.kept,
        }
    }
}
