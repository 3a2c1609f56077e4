//! Verifying, and what is said about it: one line of JSON.

use std::time::{Duration, Instant};

use database::DatabaseUrl;
use serde::Serialize;

use crate::{
    read::ReadError,
    rules::{Finding, Judgement, judge},
    walk::{Range, Settings, Walk},
};

/// Breaches, and suspects, that are shown; all are counted.
const SHOWN: usize = 100;

/// What was read, and what was wrong with it.
#[derive(Debug, Serialize)]
pub struct Report {
    /// No breach.
    pub ok: bool,
    /// The invariants that were looked at (ARCHITECTURE.md).
    pub checked: [&'static str; 3],
    /// Orders in the order service's database.
    pub orders: usize,
    /// Reservations in the account service's.
    pub reservations: usize,
    /// Of them, those that other callers made; they are not judged.
    pub foreign: usize,
    /// Orders and reservations within the horizon; they are not judged.
    pub young: usize,
    /// What did not agree at first sight.
    pub looked_again: usize,
    /// What changed between all looks; the next run judges it.
    pub restless: usize,
    /// All breaches.
    pub breaches_total: usize,
    /// The first of them.
    pub breaches: Vec<Finding>,
    /// All differences that only may be some.
    pub suspects_total: usize,
    /// The first of them.
    pub suspects: Vec<Finding>,
    /// How often a page of each book was read.
    pub ranges: usize,
    /// How long it took.
    pub seconds: f64,
}

/// Reads both databases and holds them against each other. They may be in use.
///
/// # Errors
/// When one cannot be read.
pub async fn verify(
    account: &DatabaseUrl,
    order: &DatabaseUrl,
    settings: Settings,
) -> Result<Report, ReadError> {
    let began = Instant::now();
    let mut walk = Walk::new(account, order, settings);
    let mut report = Report::empty();
    while let Some(range) = walk.next().await? {
        report.add(&range, settings);
    }
    Ok(report.finish(began.elapsed()))
}

impl Report {
    fn empty() -> Self {
        Self {
            ok: true,
            checked: ["I5", "I6", "I11"],
            orders: 0,
            reservations: 0,
            foreign: 0,
            young: 0,
            looked_again: 0,
            restless: 0,
            breaches_total: 0,
            breaches: Vec::new(),
            suspects_total: 0,
            suspects: Vec::new(),
            ranges: 0,
            seconds: 0.0,
        }
    }

    fn add(&mut self, range: &Range, settings: Settings) {
        self.ranges += 1;
        self.orders += range.orders;
        self.reservations += range.reservations;
        self.foreign += range.foreign;
        self.young += range.young;
        self.looked_again += range.looked_again;
        self.restless += range.restless.len();
        for case in &range.unsound {
            match judge(case, settings.rules) {
                Judgement::Sound => {}
                Judgement::Breach { invariant, why } => {
                    self.breaches_total += 1;
                    keep(&mut self.breaches, Finding::new(invariant, case.name, why));
                }
                Judgement::Suspect(why) => {
                    self.suspects_total += 1;
                    keep(&mut self.suspects, Finding::new("I6", case.name, why));
                }
            }
        }
    }

    fn finish(self, took: Duration) -> Self {
        Self { ok: self.breaches_total == 0, seconds: took.as_secs_f64(), ..self }
    }
}

fn keep(findings: &mut Vec<Finding>, finding: Finding) {
    if findings.len() < SHOWN {
        findings.push(finding);
    }
}
