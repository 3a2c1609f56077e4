//! How the run goes: a bar on a terminal, counts every few seconds in a log.

use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tests::load::{Live, Record};
use tokio_util::task::AbortOnDropHandle;

use crate::callers::Callers;

const GLANCE: Duration = Duration::from_millis(500);

/// A progress bar. Dropped, it is wiped away.
pub(crate) struct Progress {
    bar: ProgressBar,
    _drawing: AbortOnDropHandle<()>,
}

impl Progress {
    pub(crate) fn start(time: Duration, record: Arc<Record>, callers: Arc<Callers>) -> Self {
        let bar = ProgressBar::new(time.as_secs());
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} s  {msg}  {prefix}");
        bar.set_style(style.expect("a constant template"));
        let drawing = tokio::spawn(draw(bar.clone(), record, callers));
        Self { bar, _drawing: AbortOnDropHandle::new(drawing) }
    }

    /// Says what happens now, and keeps it on the screen.
    pub(crate) fn say(&self, what: &str) {
        self.bar.set_prefix(what.to_owned());
        if self.bar.is_hidden() {
            eprintln!("{:>5} s  {what}", self.bar.position());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

async fn draw(bar: ProgressBar, record: Arc<Record>, callers: Arc<Callers>) {
    let mut live = Live::default();
    let mut glance = tokio::time::interval(GLANCE);
    loop {
        glance.tick().await;
        let second = usize::try_from(record.began().elapsed().as_secs()).unwrap_or(usize::MAX);
        let last = record.window(second.saturating_sub(2)..second.saturating_sub(1));
        let (rate, p99, failed) = (last.requests(), last.quantile_ms(0.99), record.failed());
        bar.set_position(u64::try_from(second).unwrap_or(u64::MAX));
        let retried = || callers.totals().retries;
        if let Some(line) = bar.is_hidden().then(|| live.line(&record, retried)).flatten() {
            eprintln!("{line}");
        }
        bar.set_message(format!("{rate}/s  p99 {p99:.1} ms  {failed} failed"));
    }
}
