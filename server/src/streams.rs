//! The tasks of streams, each of which ends although its peer does not read.
//!
//! Once its response has begun, a stream that cannot be written stays with hyper, which waits for the peer's window
//! without bound and does not ask the body any more, so that no deadline inside the body is ever looked at. So the task
//! is bounded from outside: [`cut_at`] says when, and a stream that is still there then is reset and all it holds is
//! given back.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use hyper::rt::Executor;
use tokio::time::{Instant, Sleep, sleep_until};

/// What the trailers of a call that ends at its deadline have to be written.
const FAREWELL: Duration = Duration::from_millis(100);

tokio::task_local! {
    static CUT: Cell<Option<Instant>>;
}

/// Runs each stream of a connection in a task of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Streams;

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        // Boxed here: moved into the task and pinned there, a future of kilobytes would be held twice.
        tokio::spawn(CUT.scope(Cell::new(None), until_cut(Box::pin(stream))));
    }
}

/// The response of the stream that this task serves has begun, and has until then to be read.
pub(crate) fn cut_at(deadline: Instant) {
    // Elsewhere than in a stream's task, as in a unit test, there is nothing to cut.
    let _set_or_elsewhere = CUT.try_with(|cut| cut.set(Some(deadline + FAREWELL)));
}

async fn until_cut(mut stream: Pin<Box<impl Future<Output = ()>>>) {
    // Made when a response first has to wait for its peer, which a small one never does.
    let mut alarm: Option<Pin<Box<Sleep>>> = None;
    let cut = poll_fn(|context| {
        if stream.as_mut().poll(context).is_ready() {
            return Poll::Ready(false);
        }
        let Some(at) = CUT.with(Cell::get) else { return Poll::Pending };
        let alarm = alarm.get_or_insert_with(|| Box::pin(sleep_until(at)));
        alarm.as_mut().poll(context).map(|()| true)
    });
    if cut.await {
        crate::metrics::refused("unread");
        tracing::debug!("a response was not read by its deadline: its stream is reset");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_cut_after_its_deadline_and_only_once_its_response_has_begun() {
        let began = Instant::now();
        let (ended, end) = tokio::sync::oneshot::channel::<()>();
        Streams.execute(async move {
            let _dropped_at_the_cut = ended;
            tokio::time::sleep(Duration::from_secs(60)).await;
            cut_at(began + Duration::from_secs(70));
            std::future::pending::<()>().await;
        });
        end.await.unwrap_err();
        assert_eq!(began.elapsed(), Duration::from_secs(70) + FAREWELL);
    }
}
