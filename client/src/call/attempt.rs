//! One attempt: one stream on one connection, from its headers to the response's headers.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use http::{Request, Response};
use http_body::Body;

use super::classify::Cause;
use super::pump::{Pump, Stopped};
use super::replay::Source;
use super::underway::Underway;
use crate::answer::list_bytes;
use crate::connection::Slot;
use crate::error::BoxError;

/// Response headers came.
pub(super) struct Answered<B> {
    pub(super) response: Response<RecvStream>,
    /// The rest of the request, if it is not sent to its end.
    pub(super) pump: Option<Pump<B>>,
    pub(super) slot: Slot,
}

/// No response headers came.
pub(super) enum Broken {
    Transport {
        cause: Cause,
        message: String,
    },
    /// The caller's own body failed.
    Body(BoxError),
}

pub(super) async fn send<B>(
    slot: Slot,
    request: Request<()>,
    source: &Source<B>,
    limit: Option<Duration>,
    underway: &Underway,
) -> Result<Answered<B>, Broken>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    let connection = Arc::clone(slot.connection());
    let broken = |cause, detail: &dyn std::fmt::Display| {
        let message = connection.describe(detail);
        Broken::Transport { cause, message }
    };
    // A peer that gets more than it reads answers 431, or ends the connection and everyone's calls.
    let (bytes, read) = (list_bytes(request.headers()), connection.facts.header_list_max());
    if bytes > read as usize {
        let text = format!("the request has {bytes} bytes of metadata, the server reads {read}");
        return Err(broken(Cause::MetadataTooLong, &text));
    }

    let ends = source.is_empty();
    let mut sender = slot.sender();
    let (mut response, stream) = match sender.send_request(request, ends) {
        Ok(opened) => opened,
        Err(error) => {
            let cause = cause_of_refusal(&mut sender, &error).await;
            let died = error.is_io() || error.is_go_away() || error.is_reset();
            match (cause == Cause::NotOpened, died) {
                (true, true) => connection.retire(),
                // The connection lives and has no stream ids left: its driver finds nothing wrong.
                (true, false) => connection.spend(),
                (false, _) => {}
            }
            return Err(broken(cause, &error));
        }
    };
    drop(sender);
    let id = response.stream_id().as_u32();
    let mut pump = (!ends).then(|| Pump::new(source.reader(), stream));
    let answer = poll_fn(|cx| {
        let polled = pump.as_mut().map(|pump| {
            let polled = pump.poll(cx);
            underway.sent(pump.sent_bytes());
            polled
        });
        if let Some(Poll::Ready(result)) = polled {
            match result {
                Err(Stopped::Body(error)) => return Poll::Ready(Err(Broken::Body(error))),
                // The response says what became of the stream.
                Ok(()) | Err(Stopped::Stream) => pump = None,
            }
        }
        Pin::new(&mut response)
            .poll(cx)
            .map_err(|error| broken(Cause::of_stream(&error, id, &connection.facts), &error))
    });
    let response = match limit {
        None => answer.await?,
        Some(limit) => tokio::time::timeout(limit, answer)
            .await
            .map_err(|_| broken(Cause::AttemptTimeout, &format!("no answer within {limit:?}")))??,
    };
    connection.answered();
    Ok(Answered { response, pump, slot })
}

/// h2 gave no stream: is it the connection, or is it this request?
async fn cause_of_refusal(sender: &mut h2::client::SendRequest<Bytes>, error: &h2::Error) -> Cause {
    if error.is_io() || error.is_go_away() || error.is_reset() {
        return Cause::NotOpened;
    }
    match poll_fn(|cx| Poll::Ready(sender.poll_ready(cx))).await {
        Poll::Ready(Err(_)) => Cause::NotOpened,
        Poll::Ready(Ok(())) | Poll::Pending => Cause::RequestInvalid,
    }
}
