//! Client-side health checking (gRFC A17): a `Watch` on each connection says whether its endpoint
//! takes calls.
//!
//! Unknown counts as not ready yet, SERVING as ready, anything else as not ready. A server without the
//! health service (UNIMPLEMENTED) counts as healthy. When the stream breaks, the endpoint is not ready
//! until a new one, opened after the connection backoff, says otherwise.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Poll;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::RecvStream;
use http::{Method, Request, Uri, Version};
use tokio::time::sleep;

use super::{Connection, Setup};
use crate::backoff::Delays;
use crate::code::Code;

/// What the endpoint's health service said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Health {
    /// Nothing yet.
    Unknown = 0,
    Serving = 1,
    NotServing = 2,
}

/// A [`Health`] that a watch writes and the pool reads.
#[derive(Debug)]
pub(super) struct HealthCell(AtomicU8);

impl HealthCell {
    pub(super) fn new(health: Health) -> Self {
        Self(AtomicU8::new(health as u8))
    }

    pub(super) fn get(&self) -> Health {
        match self.0.load(Ordering::Acquire) {
            0 => Health::Unknown,
            1 => Health::Serving,
            _ => Health::NotServing,
        }
    }

    fn set(&self, health: Health) -> bool {
        self.0.swap(health as u8, Ordering::AcqRel) != health as u8
    }
}

/// Longest health message worth reading; a longer one is not one.
const MESSAGE_BYTES_MAX: usize = 64;

/// What ended a watch.
enum End {
    Unimplemented,
    Broken,
}

/// Watches until dropped, or until the server turns out to have no health service.
pub(crate) async fn watch(connection: Arc<Connection>, setup: Arc<Setup>, service: String) {
    let mut delays = Delays::new(setup.backoff);
    loop {
        match watch_once(&connection, &setup, &service, &mut delays).await {
            End::Unimplemented => {
                tracing::warn!(
                    endpoint = %connection.endpoint.address,
                    "no health service, taken as healthy"
                );
                return tell(&connection, Health::Serving).await;
            }
            End::Broken => tell(&connection, Health::NotServing).await,
        }
        sleep(delays.next(&setup.entropy)).await;
    }
}

async fn tell(connection: &Connection, health: Health) {
    if connection.health.set(health) {
        connection.endpoint.health_changed().await;
    }
}

async fn watch_once(
    connection: &Arc<Connection>,
    setup: &Setup,
    service: &str,
    delays: &mut Delays,
) -> End {
    // Holds a place, so that the connection's calls and this watch together keep to the peer's limit.
    let Some(slot) = connection.try_slot() else { return End::Broken };
    let Ok((response, mut request)) = slot.sender().send_request(head(setup), false) else {
        return End::Broken;
    };
    if request.send_data(request_message(service), true).is_err() {
        return End::Broken;
    }
    let Ok(response) = response.await else { return End::Broken };
    if let Some(status) = response.headers().get("grpc-status") {
        return end_of(Code::from_header(status.as_bytes()));
    }
    let mut stream = response.into_body();
    let mut buffer = BytesMut::new();
    while let Some(Ok(data)) = stream.data().await {
        // Fails only for more bytes than came in.
        let _ = stream.flow_control().release_capacity(data.len());
        buffer.put(data);
        while let Some(serving) = next_answer(&mut buffer) {
            delays.reset();
            tell(connection, if serving { Health::Serving } else { Health::NotServing }).await;
        }
        if buffer.len() > MESSAGE_BYTES_MAX {
            return End::Broken;
        }
    }
    end_of(final_code(&mut stream).await)
}

fn end_of(code: Code) -> End {
    if code == Code::Unimplemented { End::Unimplemented } else { End::Broken }
}

async fn final_code(stream: &mut RecvStream) -> Code {
    let trailers = poll_fn(|cx| match stream.poll_trailers(cx) {
        Poll::Ready(trailers) => Poll::Ready(trailers.ok().flatten()),
        Poll::Pending => Poll::Pending,
    });
    let trailers = trailers.await.unwrap_or_default();
    trailers.get("grpc-status").map_or(Code::Unknown, |it| Code::from_header(it.as_bytes()))
}

fn head(setup: &Setup) -> Request<()> {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(setup.scheme.clone());
    parts.authority = Some(setup.authority.clone());
    parts.path_and_query =
        Some(http::uri::PathAndQuery::from_static("/grpc.health.v1.Health/Watch"));
    let uri = Uri::from_parts(parts).expect("scheme, authority and path make a URI");
    Request::builder()
        .method(Method::POST)
        .version(Version::HTTP_2)
        .uri(uri)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", setup.user_agent.clone())
        .body(())
        .expect("constant headers are valid")
}

/// `HealthCheckRequest { service = 1 }` in its length-prefixed frame.
fn request_message(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        put_varint(&mut message, service.len());
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::with_capacity(5 + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).expect("a service name is short"));
    framed.put(message);
    framed.freeze()
}

fn put_varint(out: &mut BytesMut, mut value: usize) {
    while value >= 0x80 {
        out.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Takes one whole `HealthCheckResponse { status = 1 }` off the buffer: is it SERVING (1)?
fn next_answer(buffer: &mut BytesMut) -> Option<bool> {
    let length = u32::from_be_bytes(buffer.get(1..5)?.try_into().ok()?) as usize;
    if buffer.len() < length.checked_add(5)? {
        return None;
    }
    buffer.advance(5);
    let message = buffer.split_to(length);
    // Field 1, varint; an absent field is UNKNOWN (0).
    Some(message.starts_with(&[0x08, 0x01]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_framed_as_protobuf_and_grpc_ask() {
        assert_eq!(&request_message("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&request_message("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(&request_message(&"x".repeat(200))[5..8], [0x0a, 0xc8, 0x01]);
    }

    #[test]
    fn answers_are_taken_one_at_a_time_however_they_arrive() {
        let mut buffer =
            BytesMut::from(&[0, 0, 0, 0, 2, 8, 1, 0, 0, 0, 0, 2, 8, 2, 0, 0, 0, 0, 0, 0][..]);
        assert_eq!(next_answer(&mut buffer), Some(true));
        assert_eq!(next_answer(&mut buffer), Some(false));
        assert_eq!(next_answer(&mut buffer), Some(false));
        assert_eq!(next_answer(&mut buffer), None);
        assert_eq!(buffer.len(), 1);
    }
}
