//! The oracle's one message and its four methods, over our channel.

use client::Channel;
use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::{IntoStreamingRequest, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

/// `oracle.Say`; its fields are explained in `oracle.proto`.
#[derive(Clone, PartialEq, ::prost::Message)]
pub(crate) struct Say {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) payload: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub(crate) answers: u32,
    #[prost(uint32, tag = "3")]
    pub(crate) pause_ms: u32,
    #[prost(uint32, tag = "4")]
    pub(crate) status: u32,
    #[prost(string, tag = "5")]
    pub(crate) message: String,
    #[prost(uint32, tag = "6")]
    pub(crate) work_ms: u32,
    #[prost(uint32, tag = "7")]
    pub(crate) fail_first: u32,
    #[prost(sint32, tag = "8")]
    pub(crate) pushback_ms: i32,
    #[prost(uint64, tag = "9")]
    pub(crate) total_bytes: u64,
}

impl Say {
    pub(crate) fn bytes(payload: impl Into<Vec<u8>>) -> Self {
        Self { payload: payload.into(), ..Self::default() }
    }
}

/// The stub.
#[derive(Clone)]
pub(crate) struct Oracle(pub(crate) Channel);

impl Oracle {
    async fn ready(&self) -> Result<Grpc<Channel>, Status> {
        let mut grpc = Grpc::new(self.0.clone());
        grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        Ok(grpc)
    }

    pub(crate) async fn unary(&self, request: Request<Say>) -> Result<Response<Say>, Status> {
        self.method("/oracle.Oracle/Unary", request).await
    }

    /// A unary call of any method.
    pub(crate) async fn method(
        &self,
        path: &'static str,
        request: Request<Say>,
    ) -> Result<Response<Say>, Status> {
        let path = PathAndQuery::from_static(path);
        self.ready().await?.unary(request, path, ProstCodec::default()).await
    }

    pub(crate) async fn collect(
        &self,
        says: impl IntoStreamingRequest<Message = Say>,
    ) -> Result<Response<Say>, Status> {
        let path = PathAndQuery::from_static("/oracle.Oracle/Collect");
        let request = says.into_streaming_request();
        self.ready().await?.client_streaming(request, path, ProstCodec::default()).await
    }

    pub(crate) async fn repeat(
        &self,
        request: Request<Say>,
    ) -> Result<Response<Streaming<Say>>, Status> {
        let path = PathAndQuery::from_static("/oracle.Oracle/Repeat");
        self.ready().await?.server_streaming(request, path, ProstCodec::default()).await
    }

    pub(crate) async fn chat(
        &self,
        says: impl IntoStreamingRequest<Message = Say>,
    ) -> Result<Response<Streaming<Say>>, Status> {
        let path = PathAndQuery::from_static("/oracle.Oracle/Chat");
        let request = says.into_streaming_request();
        self.ready().await?.streaming(request, path, ProstCodec::default()).await
    }
}
