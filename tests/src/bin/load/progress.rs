//! A line that shows how the run goes, where somebody watches.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tests::load::{Live, Record, Stage};

const GLANCE: Duration = Duration::from_millis(250);

/// How often memory is looked at in a run, and once more at its beginning.
const LOOKS: u32 = 10;

/// What the services' memory was, from the beginning of a run to its end.
#[derive(Debug, Default)]
pub(crate) struct Memory(RefCell<Vec<[u64; 2]>>);

impl Memory {
    /// Watches a pair for so long, in equal steps; whoever has no pair sees nothing.
    pub(crate) async fn watch(&self, stage: Option<&Stage>, duration: Duration) {
        let Some(stage) = stage else { return };
        for look in 0..=LOOKS {
            if look > 0 {
                tokio::time::sleep(duration / LOOKS).await;
            }
            self.0.borrow_mut().push(stage.resident_mib());
        }
    }

    /// MiB of account-service and of order-service, look by look.
    pub(crate) fn mib(&self) -> [Vec<u64>; 2] {
        let looks = self.0.borrow();
        [0, 1].map(|service: usize| looks.iter().map(|look| look[service]).collect())
    }
}

/// Waits for the end of the run: its time is over, or so many requests are answered. Where no bar is seen the counts are
/// logged; `retried` is what the channels sent again.
pub(crate) async fn until(
    duration: Duration,
    requests: Option<u64>,
    record: &Record,
    retried: impl Fn() -> u64,
) {
    let mut live = Live::default();
    let (began, bar) = (Instant::now(), ProgressBar::new(duration.as_secs()));
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} s  {msg}");
    bar.set_style(style.expect("a constant template"));
    while began.elapsed() < duration {
        tokio::time::sleep(GLANCE.min(duration.saturating_sub(began.elapsed()))).await;
        let second = usize::try_from(began.elapsed().as_secs()).unwrap_or(usize::MAX);
        let last = record.window(second.saturating_sub(1)..second);
        let total = record.total();
        bar.set_position(began.elapsed().as_secs());
        let (rate, p99, failed) = (last.requests(), last.quantile_ms(0.99), total.failed());
        bar.set_message(format!("{rate}/s  p99 {p99:.1} ms  {failed} failed"));
        if let Some(line) = bar.is_hidden().then(|| live.line(record, &retried)).flatten() {
            eprintln!("{line}");
        }
        if requests.is_some_and(|wanted| total.requests() >= wanted) {
            break;
        }
    }
    bar.finish_and_clear();
}
