//! Frames that arrive in two parts: nothing may be done about a frame before all of it is here.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use client::resolve::Address;
use client::transport::{Connect, Connecting, Io, Sockets};
use client::{Channel, Code};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::call::{PLAIN, start};
use crate::peer::{CANCEL, MAX_STREAMS, NO_ERROR, PING, PRIORITY, Peer, WINDOW_UPDATE};

/// Holds back what comes after the first `at` bytes of each connection until they were looked at.
#[derive(Clone)]
struct Cut {
    at: usize,
    happened: Arc<AtomicBool>,
}

struct Halting {
    io: Box<dyn Io>,
    /// Bytes still to come before the halt. Absent: it is over.
    left: Option<usize>,
    happened: Arc<AtomicBool>,
}

impl Connect for Cut {
    fn connect(&self, address: &Address) -> Connecting {
        let (connecting, Cut { at, happened }) = (Sockets.connect(address), self.clone());
        Box::pin(async move {
            let halting = Halting { io: connecting.await?, left: Some(at), happened };
            Ok(Box::new(halting) as Box<dyn Io>)
        })
    }
}

impl AsyncRead for Halting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.left == Some(0) {
            this.left = None;
            this.happened.store(true, Ordering::Relaxed);
            // Ready again at once: who reads sees the first part alone, then the rest.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }

        let mut piece = vec![0; this.left.unwrap_or(usize::MAX).min(buf.remaining())];
        let mut read = ReadBuf::new(&mut piece);
        ready!(Pin::new(&mut this.io).poll_read(cx, &mut read))?;
        this.left = this.left.map(|left| left - read.filled().len());
        buf.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Halting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Every type of frame that a server may send, and what each has to lead to.
async fn say_everything(cut: Cut) {
    let peer = Peer::listen().await;
    let target = format!("static:///{}", peer.address);
    let channel = Channel::builder(target).transport(cut).build().unwrap();
    let mut wire = peer.accept_with(&[(MAX_STREAMS, 1), (INITIAL_WINDOW, 100_000)]).await;

    // One place: the second call waits for the first to end.
    let calls = [start(&channel, PLAIN), start(&channel, PLAIN)];
    let answered = wire.request().await;
    wire.send(PING, 0, 0, &[7; 8]).await;
    wire.send(WINDOW_UPDATE, 0, 0, &1_000_u32.to_be_bytes()).await;
    wire.send(WINDOW_UPDATE, 0, answered, &1_000_u32.to_be_bytes()).await;
    wire.send(PRIORITY, 0, answered, &[0, 0, 0, 0, 9]).await;
    wire.send(UNKNOWN, 0xff, 0, b"what?").await;
    wire.response_headers_continued(answered).await;
    wire.message(answered, "answered").await;
    wire.trailers(answered, "0").await;
    let cancelled = wire.request().await;
    wire.reset(cancelled, CANCEL).await;
    let mut ends = Vec::new();
    for call in calls {
        ends.push(call.await.unwrap().map_err(|error| error.code()));
    }
    ends.sort_by_key(Result::is_err);
    assert_eq!(ends, [Ok(("answered".to_owned(), Code::Ok)), Err(Code::Cancelled)]);

    // A raised limit is seen while the connection runs.
    wire.settings(&[(MAX_STREAMS, 3)]).await;
    let calls = [start(&channel, PLAIN), start(&channel, PLAIN), start(&channel, PLAIN)];
    let streams = [wire.request().await, wire.request().await, wire.request().await];
    wire.goaway(streams[2], NO_ERROR, b"enough").await;
    for stream in streams {
        wire.reply(stream, "beside").await;
    }
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), ("beside".to_owned(), Code::Ok));
    }

    let mut next = peer.accept().await;
    let call = start(&channel, PLAIN);
    let stream = next.request().await;
    next.reply(stream, "after").await;
    assert_eq!(call.await.unwrap().unwrap(), ("after".to_owned(), Code::Ok));
}

/// A type that no standard has given out.
const UNKNOWN: u8 = 0xfa;
/// `SETTINGS_INITIAL_WINDOW_SIZE`.
const INITIAL_WINDOW: u16 = 4;

#[tokio::test]
async fn every_frame_may_arrive_in_two_parts_cut_at_any_byte() {
    for at in 0.. {
        let cut = Cut { at, happened: Arc::default() };
        let happened = Arc::clone(&cut.happened);
        say_everything(cut).await;
        if !happened.load(Ordering::Relaxed) {
            // The script is said at this length: every byte of it was a place to cut.
            assert!(at > 300, "only {at} bytes came");
            return;
        }
    }
}
