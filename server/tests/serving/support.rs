//! A service that does as it is told, a server around it, and clients that see frames.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, StreamExt};
use http::{HeaderMap, Request, Response};
use prost::Message;
use prost_types::{
    FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto, ServiceDescriptorProto,
};
use server::{
    Audit, Bound, Deadline, PeerCertificate, ServeConfig, Server, Signals, Summary, Trigger,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::{NamedService, ServerStreamingService, UnaryService};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

/// Longer than anything here takes; a test that gets here has failed.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(20);

/// Answers `echo`; on `peer` tells the client's certificate; on `wait` waits for the gate; on
/// `panic` panics; on `deadline` tells the milliseconds left. As a stream: one message, then the same.
#[derive(Clone)]
pub(crate) struct Probe {
    gate: watch::Receiver<bool>,
    running: Arc<AtomicUsize>,
}

/// Counts handlers that have begun and were neither finished nor dropped.
struct Running(Arc<AtomicUsize>);

impl Running {
    fn begin(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Probe {
    async fn act(mut self, request: tonic::Request<String>) -> Result<String, Status> {
        let _running = Running::begin(&self.running);
        Audit::of(request.extensions()).set("text", request.get_ref().as_str());
        match request.get_ref().as_str() {
            "wait" => {
                let opened = self.gate.wait_for(|open| *open).await;
                opened.map(|_open| "waited".to_owned()).map_err(|_| Status::aborted("no gate"))
            }
            "panic" => panic!("told to"),
            "peer" => Ok(match request.extensions().get::<PeerCertificate>() {
                Some(peer) => format!("{:?}", peer.der()),
                None => "none".to_owned(),
            }),
            "deadline" => match request.extensions().get::<Deadline>() {
                Some(deadline) => Ok(deadline.remaining().as_millis().to_string()),
                None => Ok("none".to_owned()),
            },
            text => Ok(text.to_owned()),
        }
    }
}

type Answer<T> = Pin<Box<dyn Future<Output = Result<tonic::Response<T>, Status>> + Send>>;

impl UnaryService<String> for Probe {
    type Response = String;
    type Future = Answer<String>;

    fn call(&mut self, request: tonic::Request<String>) -> Self::Future {
        let acted = self.clone().act(request);
        Box::pin(async move { acted.await.map(tonic::Response::new) })
    }
}

impl ServerStreamingService<String> for Probe {
    type Response = String;
    type ResponseStream = BoxStream<'static, Result<String, Status>>;
    type Future = Answer<Self::ResponseStream>;

    fn call(&mut self, request: tonic::Request<String>) -> Self::Future {
        let first = stream::once(async { Ok("first".to_owned()) });
        let second = stream::once(self.clone().act(request));
        Box::pin(async move { Ok(tonic::Response::new(first.chain(second).boxed())) })
    }
}

impl NamedService for Probe {
    const NAME: &'static str = "test.Probe";
}

impl Service<Request<Body>> for Probe {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let probe = self.clone();
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<String, String>::default());
            Ok(match request.uri().path() {
                "/test.Probe/Do" => grpc.unary(probe, request).await,
                "/test.Probe/Stream" => grpc.server_streaming(probe, request).await,
                _ => Status::unimplemented("").into_http(),
            })
        })
    }
}

fn descriptors() -> &'static [u8] {
    let method = |name: &str, server_streaming| MethodDescriptorProto {
        name: Some(name.to_owned()),
        server_streaming: Some(server_streaming),
        ..MethodDescriptorProto::default()
    };
    let service = ServiceDescriptorProto {
        name: Some("Probe".to_owned()),
        method: vec![method("Do", false), method("Stream", true)],
        ..ServiceDescriptorProto::default()
    };
    let file = FileDescriptorProto {
        name: Some("probe.proto".to_owned()),
        package: Some("test".to_owned()),
        service: vec![service],
        ..FileDescriptorProto::default()
    };
    FileDescriptorSet { file: vec![file] }.encode_to_vec().leak()
}

/// A running server with one [`Probe`].
pub(crate) struct Pod {
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) admin_grpc: Option<SocketAddr>,
    pub(crate) trigger: Trigger,
    gate: watch::Sender<bool>,
    running: Arc<AtomicUsize>,
    ran: JoinHandle<Summary>,
}

impl Pod {
    pub(crate) async fn start(config: ServeConfig) -> Self {
        Self::start_checked(config, || async { Ok(()) }).await
    }

    pub(crate) async fn start_checked<C, F>(config: ServeConfig, check: C) -> Self
    where
        C: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let gate = watch::Sender::new(false);
        let running = Arc::new(AtomicUsize::new(0));
        let probe = Probe { gate: gate.subscribe(), running: running.clone() };
        let server = Server::new(config).service(probe).reflection(descriptors());
        let server = server.audited(&["test.Probe/Do"]).administrative(&["test.Probe/Stream"]);
        let bound: Bound = server.readiness("database", check).bind().await.unwrap();
        let (address, admin) = (bound.local_addr(), bound.admin_addr());
        let admin_grpc = bound.admin_grpc_addr();
        let (trigger, signals) = Signals::by_hand();
        let ran = tokio::spawn(bound.run(signals));
        Self { address, admin, admin_grpc, trigger, gate, running, ran }
    }

    pub(crate) fn open_gate(&self) {
        self.gate.send_replace(true);
    }

    /// Waits until so many handlers run.
    pub(crate) async fn wait_running(&self, wanted: usize) {
        until("handlers running", async || self.running.load(Ordering::SeqCst) == wanted).await;
    }

    pub(crate) async fn wait_ready(&self, status: u16) {
        until("readiness", async || self.get("/q/health/ready").await.0 == status).await;
    }

    /// The summary of the drain, which must come within a second of what was promised.
    pub(crate) async fn left(self, within: Duration) -> Summary {
        let late = "the server did not leave in its bound";
        let summary = timeout(within + Duration::from_secs(1), self.ran).await.expect(late);
        summary.expect("the server does not panic")
    }

    /// Status and body of an admin page.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.admin).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: pod\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }
}

/// Polls a state, with a bound.
pub(crate) async fn until(what: &str, mut reached: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !reached().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(FOR_EVER, wait).await.unwrap_or_else(|_| panic!("never came to: {what}"));
}

/// One HTTP/2 connection without any gRPC library that could hide what the server did.
pub(crate) struct Client {
    requests: h2::client::SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

/// How a call ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) headers: HeaderMap,
    body: Bytes,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap()).await
    }

    pub(crate) async fn over<S>(stream: S) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (requests, connection) = h2::client::handshake(stream).await.unwrap();
        Self { requests, connection: tokio::spawn(connection) }
    }

    /// Sends one message to `test.Probe/<method>`; the future is the answer.
    pub(crate) fn call(
        &self,
        method: &str,
        message: &str,
        headers: &[(&'static str, &str)],
    ) -> impl Future<Output = Result<Ended, h2::Error>> + use<> {
        self.send(method, framed(0, &encoded(message)), headers)
    }

    /// As `call`, with a body that is framed already.
    pub(crate) fn send(
        &self,
        method: &str,
        body: Bytes,
        headers: &[(&'static str, &str)],
    ) -> impl Future<Output = Result<Ended, h2::Error>> + use<> {
        let path = match method.contains('/') {
            true => method.to_owned(),
            false => format!("/test.Probe/{method}"),
        };
        let mut request = Request::post(format!("http://pod{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let requests = self.requests.clone();
        async move {
            let mut requests = requests.ready().await?;
            let (response, mut sending) =
                requests.send_request(request.body(()).unwrap(), false)?;
            sending.send_data(body, true)?;
            ended(response.await?).await
        }
    }

    /// Any request, and its answer whatever it is.
    pub(crate) async fn exchange(
        &self,
        request: Request<Bytes>,
    ) -> Result<(http::response::Parts, Bytes), h2::Error> {
        let mut requests = self.requests.clone().ready().await?;
        let (head, body) = request.into_parts();
        let (response, mut sending) =
            requests.send_request(Request::from_parts(head, ()), false)?;
        sending.send_data(body, true)?;
        let (head, mut body) = response.await?.into_parts();
        let mut received = BytesMut::new();
        while let Some(data) = body.data().await {
            received.extend_from_slice(&data?);
        }
        Ok((head, received.freeze()))
    }

    /// As `call`, in a task of its own.
    pub(crate) fn spawn(
        &self,
        method: &str,
        message: &str,
    ) -> JoinHandle<Result<Ended, h2::Error>> {
        tokio::spawn(self.call(method, message, &[]))
    }

    /// Waits for the connection's end and tells whether it was an orderly one.
    pub(crate) async fn gone(self) -> bool {
        let Self { requests, connection } = self;
        let ended = timeout(FOR_EVER, connection).await.expect("the connection never ended");
        drop(requests);
        ended.unwrap().is_ok()
    }
}

/// A message as protobuf writes it.
pub(crate) fn encoded(message: &str) -> Vec<u8> {
    message.to_owned().encode_to_vec()
}

/// With gRPC's prefix; the flag says whether it is compressed.
pub(crate) fn framed(flag: u8, message: &[u8]) -> Bytes {
    let mut framed = BytesMut::new();
    framed.put_u8(flag);
    framed.put_u32(u32::try_from(message.len()).unwrap());
    framed.put_slice(message);
    framed.freeze()
}

async fn ended(response: Response<h2::RecvStream>) -> Result<Ended, h2::Error> {
    let (head, mut body) = response.into_parts();
    let mut received = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        received.extend_from_slice(&data);
    }
    let mut headers = head.headers;
    headers.extend(body.trailers().await?.unwrap_or_default());
    let status = Status::from_header_map(&headers).expect("every answer ends in a status");
    let (code, message) = (status.code(), status.message().to_owned());
    Ok(Ended { code, message, headers, body: received.freeze() })
}

impl Ended {
    /// The messages of a [`Probe`]'s answer.
    pub(crate) fn answers(&self) -> Vec<String> {
        let messages = self.messages().into_iter();
        messages.map(|message| String::decode(&message[..]).unwrap()).collect()
    }

    /// The messages of any answer, encoded.
    pub(crate) fn messages(&self) -> Vec<Vec<u8>> {
        let (mut messages, mut bytes) = (Vec::new(), self.body.as_ref());
        while let [_flag, a, b, c, d, rest @ ..] = bytes {
            let length = usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).unwrap();
            messages.push(rest[..length].to_vec());
            bytes = &rest[length..];
        }
        messages
    }
}
