//! What a run found, and whether it is what document B asks for.

use std::time::Duration;

use proto::order::v1::{OnDuplicate, PlaceOrderReply};
use serde::Serialize;
use tonic::Status;

use super::{Left, PRICE};

/// How the requests of a crowd were answered.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) placed: usize,
    pub(crate) replayed: usize,
    /// E301.
    pub(crate) in_progress: usize,
    /// E302.
    pub(crate) already_processed: usize,
    /// OK answers that tell another order than the first of them.
    pub(crate) differing: usize,
    pub(crate) errors: usize,
    pub(crate) first_error: Option<String>,
}

impl Answers {
    pub(crate) fn note_error(&mut self, status: &Status) {
        self.errors += 1;
        let told = || format!("{:?}: {}", status.code(), status.message());
        self.first_error.get_or_insert_with(told);
    }
}

/// The figures of one crowd.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Requests with one key.
    pub requests: usize,
    /// `reject` or `replay`.
    pub mode: &'static str,
    /// Requests that were told they placed the order. 1.
    pub placed: usize,
    /// Requests answered as duplicates: the rest.
    pub duplicates: usize,
    /// Of these, refused while the first request was running (E301).
    pub duplicates_in_progress: usize,
    /// Of these, refused after the first request was done (E302).
    pub duplicates_already_processed: usize,
    /// Of these, answered with the first answer.
    pub duplicates_replayed: usize,
    /// Other errors. 0.
    pub errors: usize,
    /// The first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_error: Option<String>,
    /// Orders of the account. 1.
    pub orders: usize,
    /// Completed payments of these orders. 1.
    pub payments: usize,
    /// Pieces. 1.
    pub stock_taken: i64,
    /// From the balance. The price of one piece.
    pub amount_taken: String,
    /// From the start of all requests to the last answer.
    pub elapsed_ms: f64,
    /// One more request with the key, alone, afterwards.
    pub late_duplicate_ms: f64,
    /// Whether all of this is as it has to be.
    pub ok: bool,
}

impl Figures {
    pub(crate) fn new(
        requests: usize,
        mode: OnDuplicate,
        answers: Answers,
        left: &Left,
        elapsed: Duration,
        (late, late_took): (&Result<PlaceOrderReply, Status>, Duration),
    ) -> Self {
        let duplicates = answers.in_progress + answers.already_processed + answers.replayed;
        let is_told_right = match mode {
            OnDuplicate::Reject => answers.replayed == 0 && late.is_err(),
            OnDuplicate::Replay | OnDuplicate::Unspecified => {
                duplicates == answers.replayed && late.as_ref().is_ok_and(|late| late.replayed)
            }
        };
        let amount_taken = left.amount_taken.map_or_else(String::new, |taken| taken.to_string());
        let ok = is_told_right
            && (answers.placed, duplicates) == (1, requests - 1)
            && (answers.errors, answers.differing) == (0, 0)
            && (left.orders, left.payments, left.stock_taken) == (1, 1, 1)
            && amount_taken == PRICE;
        Self {
            requests,
            mode: mode_name(mode),
            placed: answers.placed,
            duplicates,
            duplicates_in_progress: answers.in_progress,
            duplicates_already_processed: answers.already_processed,
            duplicates_replayed: answers.replayed,
            errors: answers.errors,
            first_error: answers.first_error,
            orders: left.orders,
            payments: left.payments,
            stock_taken: left.stock_taken,
            amount_taken,
            elapsed_ms: milliseconds(elapsed),
            late_duplicate_ms: milliseconds(late_took),
            ok,
        }
    }
}

/// All crowds.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// In the order they ran.
    pub runs: Vec<Figures>,
    /// Whether every one of them is as it has to be.
    pub ok: bool,
}

impl Default for Report {
    fn default() -> Self {
        Self { runs: Vec::new(), ok: true }
    }
}

impl Report {
    pub(crate) fn add(&mut self, figures: Figures) {
        self.ok &= figures.ok;
        self.runs.push(figures);
    }

    /// One JSON object on one line.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("numbers and strings serialise")
    }
}

fn mode_name(mode: OnDuplicate) -> &'static str {
    match mode {
        OnDuplicate::Reject => "reject",
        OnDuplicate::Replay => "replay",
        OnDuplicate::Unspecified => "default",
    }
}

/// With three digits after the point: more would be noise.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
