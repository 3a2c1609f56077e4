//! Any method of any service by its name, with a message that is encoded already.

use std::time::Duration;

use bytes::{Buf, BufMut};
use futures_util::stream;
use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Request, Status};

/// Longer than any call here takes.
const DEADLINE: Duration = Duration::from_secs(20);

/// Calls `package.Service/Method` and answers the first message, encoded. Every kind of method looks the same from here:
/// one message is sent, and of a stream that never ends the first answer is enough.
pub(crate) async fn call(
    channel: &Channel,
    method: &str,
    message: Vec<u8>,
    token: Option<&str>,
) -> Result<Vec<u8>, Status> {
    let mut request = Request::new(stream::iter([message]));
    request.set_timeout(DEADLINE);
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
    }

    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.map_err(|why| Status::unavailable(why.to_string()))?;
    let path: PathAndQuery = format!("/{method}").parse().unwrap();
    let mut answers = grpc.streaming(request, path, Bytes).await?.into_inner();
    answers.message().await?.ok_or_else(|| Status::unknown("no message and no error"))
}

/// Messages as they are on the wire.
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, message: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&message);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut message = vec![0; buffer.remaining()];
        buffer.copy_to_slice(&mut message);
        Ok(Some(message))
    }
}
