//! Requests that come compressed, made plain before anything else reads them.
//!
//! gzip and zstd, as `grpc-encoding` names them, for every service; what a service reads is never
//! compressed. A message has the same bound plain as it has on the wire, so that a small one that
//! expands to much (a "bomb") ends its call with RESOURCE_EXHAUSTED, after as many bytes as are allowed
//! and one more. A call holds one message compressed and plain, two bounds at most, and what the decoder
//! needs beside: 32 KiB for gzip, 8 MiB or the bound, if that is more, for zstd. What does not decode is
//! INTERNAL, as the gRPC specification of compression says.

use std::io::{self, Read};

use bytes::{BufMut, Bytes, BytesMut};
use flate2::read::GzDecoder;
use http::header::{HeaderMap, HeaderValue};
use ruzstd::decoding::StreamingDecoder;
use tonic::Status;

use super::message_size::{PREFIX, too_long};

pub(super) const GRPC_ACCEPT_ENCODING: &str = "grpc-accept-encoding";
const GRPC_ENCODING: &str = "grpc-encoding";

/// What a caller whose encoding is not known is told.
pub(super) const ACCEPTED: HeaderValue = HeaderValue::from_static("identity,gzip,zstd");

/// A zstd frame says how much of its past the decoder has to keep; 8 MiB is what every decoder should
/// allow (RFC 8878, 3.1.1.1.2), and no encoder asks for more unless it is told to, or writes a longer
/// message in one piece.
const ZSTD_WINDOW_BYTES_MAX: u64 = 8 << 20;

/// How a request's messages are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Gzip,
    Zstd,
}

impl Encoding {
    /// Takes the encoding out of a request's headers, if it is one that is decoded here. Any other stays
    /// for the service to refuse.
    pub(super) fn take(headers: &mut HeaderMap) -> Option<Self> {
        let encoding = match headers.get(GRPC_ENCODING)?.as_bytes() {
            b"gzip" => Self::Gzip,
            b"zstd" => Self::Zstd,
            _ => return None,
        };
        headers.remove(GRPC_ENCODING);
        Some(encoding)
    }

    /// The message, or as much of it as is one byte too long.
    fn decode(self, compressed: &[u8], max: u32) -> io::Result<Vec<u8>> {
        let (mut plain, bound) = (Vec::new(), u64::from(max) + 1);
        match self {
            Self::Gzip => GzDecoder::new(compressed).take(bound).read_to_end(&mut plain)?,
            Self::Zstd => {
                let window_max = ZSTD_WINDOW_BYTES_MAX.max(max.into());
                let decoder = StreamingDecoder::new_with_max_window_size(compressed, window_max);
                decoder.map_err(io::Error::other)?.take(bound).read_to_end(&mut plain)?
            }
        };
        Ok(plain)
    }
}

/// Makes the messages of one request plain as they come in, in pieces of any size.
#[derive(Debug)]
pub(super) struct Inflate {
    encoding: Encoding,
    max: u32,
    /// The message that is not all here yet, its prefix included.
    begun: BytesMut,
}

impl Inflate {
    pub(super) fn new(encoding: Encoding, max: u32) -> Self {
        Self { encoding, max, begun: BytesMut::new() }
    }

    /// The messages that are complete with this piece, plain, each with its prefix.
    pub(super) fn read(&mut self, mut data: &[u8]) -> Result<Bytes, Status> {
        let mut plain = BytesMut::new();
        loop {
            self.fill(&mut data, PREFIX);
            let Some((prefix, _)) = self.begun.split_first_chunk::<PREFIX>() else { break };
            let [flag, length @ ..] = *prefix;
            let length = u32::from_be_bytes(length);
            if length > self.max {
                return Err(too_long(Some(length), self.max));
            }

            let whole = PREFIX + usize::try_from(length).expect("within a bound in memory");
            self.fill(&mut data, whole);
            if self.begun.len() < whole {
                break;
            }
            let message = self.begun.split();
            self.put(flag, &message[PREFIX..], &mut plain)?;
        }
        Ok(plain.freeze())
    }

    /// Whether a message was begun and is not complete.
    pub(super) fn is_amid(&self) -> bool {
        !self.begun.is_empty()
    }

    /// Takes from the data until the begun message has this length, or nothing is left.
    fn fill(&mut self, data: &mut &[u8], length: usize) {
        let wanted = length.saturating_sub(self.begun.len());
        let (taken, rest) = data.split_at(wanted.min(data.len()));
        self.begun.extend_from_slice(taken);
        *data = rest;
    }

    fn put(&self, flag: u8, message: &[u8], plain: &mut BytesMut) -> Result<(), Status> {
        match flag {
            0 => append(message, plain),
            1 => {
                let decoded = self.encoding.decode(message, self.max).map_err(|error| {
                    Status::internal(format!("the request message does not decode: {error}"))
                })?;
                if decoded.len() > self.max as usize {
                    return Err(too_long(None, self.max));
                }
                append(&decoded, plain);
            }
            _ => return Err(Status::internal("the request message has an unknown flag")),
        }
        Ok(())
    }
}

fn append(message: &[u8], plain: &mut BytesMut) {
    plain.reserve(PREFIX + message.len());
    plain.put_u8(0);
    plain.put_u32(u32::try_from(message.len()).expect("within a bound of 32 bits"));
    plain.put_slice(message);
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    const MAX: u32 = 200;

    fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[flag][..], &length, message].concat()
    }

    fn compressed(encoding: Encoding, message: &[u8]) -> Vec<u8> {
        match encoding {
            Encoding::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(message).unwrap();
                encoder.finish().unwrap()
            }
            Encoding::Zstd => compress_to_vec(message, CompressionLevel::Fastest),
        }
    }

    proptest! {
        #[test]
        fn what_comes_out_is_what_went_in_however_the_bytes_are_cut(
            messages in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..100)), 0..6),
            cuts in prop::collection::vec(1_usize..9, 1..20),
            is_gzip: bool,
        ) {
            let encoding = if is_gzip { Encoding::Gzip } else { Encoding::Zstd };
            let (mut wire, mut expected) = (Vec::new(), Vec::new());
            for (is_compressed, message) in &messages {
                expected.extend(framed(0, message));
                wire.extend(match is_compressed {
                    true => framed(1, &compressed(encoding, message)),
                    false => framed(0, message),
                });
            }
            let (mut inflate, mut plain, mut rest) = (Inflate::new(encoding, MAX), Vec::new(), &wire[..]);
            let mut lengths = cuts.iter().cycle();
            while !rest.is_empty() {
                let (piece, left) = rest.split_at((*lengths.next().unwrap()).min(rest.len()));
                plain.extend(inflate.read(piece).unwrap());
                rest = left;
            }
            prop_assert_eq!(plain, expected);
            prop_assert!(!inflate.is_amid());
        }

        #[test]
        fn no_bytes_make_it_panic_or_grow_beyond_its_bound(bytes: Vec<u8>, is_gzip: bool) {
            let encoding = if is_gzip { Encoding::Gzip } else { Encoding::Zstd };
            let mut inflate = Inflate::new(encoding, MAX);
            let _ = inflate.read(&framed(1, &bytes));
            let _ = inflate.read(&bytes);
            prop_assert!(inflate.begun.len() <= PREFIX + MAX as usize);
        }
    }

    #[test]
    fn a_message_is_as_long_plain_as_it_may_be_and_no_longer() {
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            let mut inflate = Inflate::new(encoding, MAX);
            let longest = framed(1, &compressed(encoding, &[7; MAX as usize]));
            assert_eq!(inflate.read(&longest).unwrap().len(), PREFIX + MAX as usize);
            let longer = framed(1, &compressed(encoding, &[7; MAX as usize + 1]));
            let refused = inflate.read(&longer).unwrap_err();
            assert_eq!(refused.code(), tonic::Code::ResourceExhausted, "{encoding:?}");
        }
    }
}
