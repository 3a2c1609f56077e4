//! A bound on each request message, enforced from its length prefix, before it is buffered.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tonic::Status;

/// A request body that fails with RESOURCE_EXHAUSTED at the prefix of a message that is too long.
#[derive(Debug)]
pub(crate) struct RequestBody {
    inner: Incoming,
    scan: Scan,
}

impl RequestBody {
    pub(super) fn new(inner: Incoming, max_message_bytes: u32) -> Self {
        Self { inner, scan: Scan::new(max_message_bytes) }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = tonic::codegen::StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(frame) = ready!(Pin::new(&mut self.inner).poll_frame(context)?) else {
            return Poll::Ready(None);
        };
        let scanned = frame.data_ref().map_or(Ok(()), |data| self.scan.read(data));
        Poll::Ready(Some(scanned.map(|()| frame).map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A message is preceded by a flag byte and its length in four bytes, big endian.
const PREFIX: usize = 5;

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
        let (length, max) = (self.message_left, self.max);
        let text = format!("request message of {length} bytes is longer than the allowed {max}");
        Err(Status::resource_exhausted(text))
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
