//! Bounds on each request: the length of a message, enforced from its prefix, before it is buffered; and the time until
//! all of the request is here, so that whoever sends headers and then nothing, or a byte at a time, holds its place no
//! longer than that.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::Status;

use super::Inbound;
use super::compression::{Encoding, Inflate};

/// A request body that fails with RESOURCE_EXHAUSTED at the prefix of a message that is too long, and
/// that is plain whatever came in.
#[derive(Debug)]
pub(crate) struct RequestBody {
    inner: Inbound,
    reading: Reading,
    /// `None`: a stream of messages, which may take as long as its call.
    due: Option<Instant>,
    /// Made when the body first has to be waited for, which a small one never needs.
    alarm: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
enum Reading {
    Plain(Scan),
    Compressed(Inflate),
}

impl RequestBody {
    pub(super) fn new(
        inner: Inbound,
        encoding: Option<Encoding>,
        max_message_bytes: u32,
        due: Option<Instant>,
    ) -> Self {
        let reading = match encoding {
            None => Reading::Plain(Scan::new(max_message_bytes)),
            Some(encoding) => Reading::Compressed(Inflate::new(encoding, max_message_bytes)),
        };
        Self { inner, reading, due, alarm: None }
    }

    /// Whether the time is over; else arranges to be woken when it is.
    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        let Some(due) = self.due else { return false };
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(due)));
        alarm.as_mut().poll(context).is_ready()
    }
}

impl Reading {
    /// What the service gets of a piece. Absent: nothing yet.
    fn read(&mut self, data: Bytes) -> Result<Option<Bytes>, Status> {
        match self {
            Self::Plain(scan) => scan.read(&data).map(|()| Some(data)),
            Self::Compressed(inflate) => {
                inflate.read(&data).map(|plain| (!plain.is_empty()).then_some(plain))
            }
        }
    }

    fn ends_amid(&self) -> bool {
        match self {
            // The service finds this out itself.
            Self::Plain(_) => false,
            Self::Compressed(inflate) => inflate.is_amid(),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = tonic::codegen::StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        loop {
            let frame = match Pin::new(&mut self.inner).poll_frame(context)? {
                Poll::Pending if self.is_late(context) => {
                    crate::metrics::refused("body_time");
                    let late = Status::deadline_exceeded("the request did not come in time");
                    return Poll::Ready(Some(Err(late.into())));
                }
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(frame)) => frame,
                Poll::Ready(None) if self.reading.ends_amid() => {
                    let cut = Status::internal("the request ends within a message");
                    return Poll::Ready(Some(Err(cut.into())));
                }
                Poll::Ready(None) => return Poll::Ready(None),
            };
            match frame.into_data() {
                Ok(data) => {
                    if let Some(read) = self.reading.read(data).transpose() {
                        return Poll::Ready(Some(read.map(Frame::data).map_err(Into::into)));
                    }
                }
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream() && !self.reading.ends_amid()
    }

    fn size_hint(&self) -> SizeHint {
        match self.reading {
            Reading::Plain(_) => self.inner.size_hint(),
            Reading::Compressed(_) => SizeHint::default(),
        }
    }
}

/// The refusal of a message; its length where it is known.
pub(super) fn too_long(length: Option<u32>, max: u32) -> Status {
    let text = match length {
        Some(length) => {
            format!("request message of {length} bytes is longer than the allowed {max}")
        }
        None => format!("request message decompresses to more than the allowed {max} bytes"),
    };
    Status::resource_exhausted(text)
}

/// A message is preceded by a flag byte and its length in four bytes, big endian.
pub(super) const PREFIX: usize = 5;

/// Follows the length prefixes through data that arrives in pieces of any size.
#[derive(Debug)]
struct Scan {
    max: u32,
    /// The prefix being read, and how much of it is there.
    prefix: [u8; PREFIX],
    have: usize,
    /// Bytes of the current message still to come.
    message_left: u32,
}

impl Scan {
    fn new(max: u32) -> Self {
        Self { max, prefix: [0; PREFIX], have: 0, message_left: 0 }
    }

    fn read(&mut self, mut data: &[u8]) -> Result<(), Status> {
        loop {
            let skipped = data.len().min(usize::try_from(self.message_left).unwrap_or(usize::MAX));
            data = &data[skipped..];
            self.message_left -= u32::try_from(skipped).expect("no more than message_left");
            let taken = data.len().min(PREFIX - self.have);
            if taken == 0 {
                return Ok(());
            }
            self.prefix[self.have..self.have + taken].copy_from_slice(&data[..taken]);
            self.have += taken;
            data = &data[taken..];
            if self.have == PREFIX {
                self.begin_message()?;
            }
        }
    }

    fn begin_message(&mut self) -> Result<(), Status> {
        let [_flag, length @ ..] = self.prefix;
        self.have = 0;
        self.message_left = u32::from_be_bytes(length);
        if self.message_left <= self.max {
            return Ok(());
        }
        Err(too_long(Some(self.message_left), self.max))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(messages: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for message in messages {
            bytes.push(0);
            bytes.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
            bytes.extend(message);
        }
        bytes
    }

    proptest! {
        #[test]
        fn the_verdict_does_not_depend_on_how_the_bytes_are_cut(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            cuts in prop::collection::vec(1_usize..9, 1..20),
        ) {
            let bytes = encode(&messages);
            let mut scan = Scan::new(30);
            let mut rest = bytes.as_slice();
            let mut verdict = Ok(());
            let mut lengths = cuts.iter().cycle();
            while verdict.is_ok() && !rest.is_empty() {
                let (piece, left) = rest.split_at((*lengths.next().unwrap()).min(rest.len()));
                verdict = scan.read(piece);
                rest = left;
            }
            prop_assert_eq!(verdict.is_ok(), messages.iter().all(|message| message.len() <= 30));
        }
    }

    #[test]
    fn a_long_message_is_refused_at_its_prefix() {
        let mut scan = Scan::new(1_000);
        let refused = scan.read(&[0, 0, 0, 3, 233]).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        assert!(refused.message().contains("1001 bytes"), "{}", refused.message());
    }
}
