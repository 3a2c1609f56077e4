//! A network in memory, so that time can stand still: addresses, the servers behind them, and what
//! each of them was asked.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use client::resolve::{Address, Resolve, ResolveError, Resolved, Resolving};
use client::transport::{Connect, Connecting, Io};
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use tokio::io::DuplexStream;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use crate::pings::CountsPings;

/// How a server answers one request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// A message and OK, after this long.
    Good(Duration),
    /// This status and nothing else, after this long.
    Status(u8, Duration),
    /// As `Status` at once, with this pushback.
    Pushback(u8, &'static str),
    /// Everything that comes in, back out, until the caller ends.
    Echo,
    /// Headers, then a message that never ends, as fast as the windows allow.
    Flood,
    /// The health service's words: a status each.
    Health(Vec<(Duration, u8)>),
}

type Script = Arc<dyn Fn(&Asked) -> Reply + Send + Sync>;

/// What a server was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) at: Instant,
    /// How many requests this server had before.
    pub(crate) before: usize,
    /// How long ago its connection said GOAWAY, if it did.
    pub(crate) after_goaway: Option<Duration>,
}

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Serving,
    /// It said GOAWAY at this moment.
    Leaving(Instant),
    /// Like a stopped process: nothing is read, nothing written, nothing closed.
    Frozen,
}

struct Held {
    task: AbortHandle,
    mood: watch::Sender<Mood>,
}

#[derive(Clone, Default)]
pub(crate) struct Network(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    servers: HashMap<SocketAddr, Script>,
    connections: HashMap<SocketAddr, Vec<Held>>,
    asked: Vec<Asked>,
    /// Streams that a caller reset while they were echoed.
    resets: usize,
    connects: Vec<(SocketAddr, Instant)>,
    resolved: Vec<SocketAddr>,
    /// The resolver only fails.
    unresolvable: bool,
    /// Streams that a connection may have open, where a server says so.
    streams_max: Option<u32>,
    /// After so many requests a connection is asked to leave, where a server says so.
    requests_max: Option<usize>,
    /// Addresses where connecting neither works nor fails.
    black_holes: Vec<SocketAddr>,
    /// PING frames that clients sent of themselves, on all connections.
    pings: Arc<AtomicUsize>,
    /// Told of each request and each reset.
    changed: Arc<Notify>,
}

pub(crate) fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 50051))
}

impl Network {
    /// Starts a server and lists it in the resolver's answers.
    pub(crate) fn serve(
        &self,
        address: SocketAddr,
        script: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) {
        let mut state = self.0.lock().unwrap();
        state.servers.insert(address, Arc::new(script));
        if !state.resolved.contains(&address) {
            state.resolved.push(address);
        }
    }

    /// The server dies with all of its connections; connecting is refused from now on.
    pub(crate) fn kill(&self, address: SocketAddr) {
        let mut state = self.0.lock().unwrap();
        state.servers.remove(&address);
        for connection in state.connections.remove(&address).unwrap_or_default() {
            connection.task.abort();
        }
    }

    /// The connections of today are asked to leave; new ones are welcome.
    pub(crate) fn goaway(&self, address: SocketAddr) {
        self.feel(address, Mood::Leaving(Instant::now()));
    }

    /// The connections of today stand still for good.
    pub(crate) fn freeze(&self, address: SocketAddr) {
        self.feel(address, Mood::Frozen);
    }

    fn feel(&self, address: SocketAddr, mood: Mood) {
        let state = self.0.lock().unwrap();
        for connection in state.connections.get(&address).into_iter().flatten() {
            connection.mood.send_replace(mood);
        }
    }

    /// What the resolver answers from now on.
    pub(crate) fn resolve_to(&self, addresses: &[SocketAddr]) {
        let mut state = self.0.lock().unwrap();
        (state.resolved, state.unresolvable) = (addresses.to_vec(), false);
    }

    /// The resolver fails from now on.
    pub(crate) fn resolve_to_nothing(&self) {
        self.0.lock().unwrap().unresolvable = true;
    }

    pub(crate) fn black_hole(&self, address: SocketAddr) {
        self.0.lock().unwrap().black_holes.push(address);
    }

    /// Connections made from now on may have so many streams open.
    pub(crate) fn limit_streams(&self, max: u32) {
        self.0.lock().unwrap().streams_max = Some(max);
    }

    /// Connections made from now on say GOAWAY after so many requests, as proxies do.
    pub(crate) fn limit_requests(&self, max: usize) {
        self.0.lock().unwrap().requests_max = Some(max);
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.0.lock().unwrap().asked.clone()
    }

    pub(crate) fn asked_at(&self, address: SocketAddr) -> usize {
        self.asked().iter().filter(|asked| asked.address == address).count()
    }

    /// How many echoes were reset by their callers, once any was.
    pub(crate) async fn resets(&self) -> usize {
        self.until(|state| state.resets > 0).await;
        self.0.lock().unwrap().resets
    }

    /// Waits for the first request at any server.
    pub(crate) async fn first_asked(&self) {
        self.until(|state| !state.asked.is_empty()).await;
    }

    async fn until(&self, mut looks: impl FnMut(&State) -> bool) {
        let changed = Arc::clone(&self.0.lock().unwrap().changed);
        loop {
            // A waiter is woken by whatever changes from here on.
            let changed = changed.notified();
            if looks(&self.0.lock().unwrap()) {
                return;
            }
            changed.await;
        }
    }

    /// How many PINGs clients sent, acknowledgements left out.
    pub(crate) fn pings(&self) -> usize {
        self.0.lock().unwrap().pings.load(Ordering::Relaxed)
    }

    /// When connections to this address were tried.
    pub(crate) fn connects(&self, address: SocketAddr) -> Vec<Instant> {
        let state = self.0.lock().unwrap();
        let to = |(tried, at): &(SocketAddr, Instant)| (*tried == address).then_some(*at);
        state.connects.iter().filter_map(to).collect()
    }

    fn accept(&self, address: SocketAddr) -> io::Result<Option<DuplexStream>> {
        let mut state = self.0.lock().unwrap();
        state.connects.push((address, Instant::now()));
        if state.black_holes.contains(&address) {
            return Ok(None);
        }
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let script = Arc::clone(state.servers.get(&address).ok_or_else(refused)?);
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let (mood, felt) = watch::channel(Mood::Serving);
        let task = tokio::spawn(run(self.clone(), address, theirs, script, felt));
        let held = Held { task: task.abort_handle(), mood };
        state.connections.entry(address).or_default().push(held);
        Ok(Some(ours))
    }

    fn note(&self, address: SocketAddr, request: &Request<h2::RecvStream>, mood: Mood) -> Asked {
        let mut state = self.0.lock().unwrap();
        let asked = Asked {
            address,
            path: request.uri().path().to_owned(),
            headers: request.headers().clone(),
            at: Instant::now(),
            after_goaway: match mood {
                Mood::Leaving(since) => Some(since.elapsed()),
                Mood::Serving | Mood::Frozen => None,
            },
            before: state.asked.iter().filter(|asked| asked.address == address).count(),
        };
        state.asked.push(asked.clone());
        state.changed.notify_waiters();
        asked
    }
}

impl Connect for Network {
    fn connect(&self, address: &Address) -> Connecting {
        let this = self.clone();
        let Address::Ip(address) = *address else { unreachable!("only IP addresses are resolved") };
        Box::pin(async move {
            match this.accept(address)? {
                Some(stream) => {
                    let pings = Arc::clone(&this.0.lock().unwrap().pings);
                    Ok(Box::new(CountsPings { stream, pings }) as Box<dyn Io>)
                }
                None => std::future::pending().await,
            }
        })
    }
}

impl Resolve for Network {
    fn resolve(&self) -> Resolving {
        let state = self.0.lock().unwrap();
        if state.unresolvable {
            return Box::pin(async { Err(ResolveError::Empty("test".to_owned())) });
        }
        let resolved = state.resolved.clone();
        let addresses = resolved.into_iter().map(Address::Ip).collect();
        Box::pin(async move { Ok(Resolved { addresses, valid_for: None }) })
    }
}

async fn run(
    network: Network,
    address: SocketAddr,
    stream: DuplexStream,
    script: Script,
    mut felt: watch::Receiver<Mood>,
) {
    // The caller may have hung up already.
    let mut settings = h2::server::Builder::new();
    if let Some(streams) = network.0.lock().unwrap().streams_max {
        settings.max_concurrent_streams(streams);
    }
    let requests_max = network.0.lock().unwrap().requests_max;
    let Ok(mut connection) = settings.handshake(stream).await else { return };
    let mut requests = 0;
    let mut answers = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            Ok(()) = felt.changed() => {
                let mood = *felt.borrow_and_update();
                match mood {
                    Mood::Serving => {}
                    Mood::Leaving(_) => connection.graceful_shutdown(),
                    Mood::Frozen => std::future::pending().await,
                }
                continue;
            }
            accepted = connection.accept() => accepted,
        };
        let Some(Ok((request, respond))) = accepted else { return };
        let mood = *felt.borrow();
        let asked = network.note(address, &request, mood);
        requests += 1;
        if requests_max == Some(requests) {
            connection.graceful_shutdown();
        }
        answers.spawn(answer(network.clone(), script(&asked), request, respond));
    }
}

async fn answer(
    network: Network,
    reply: Reply,
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let head = || Response::builder().header("content-type", "application/grpc");
    match reply {
        Reply::Good(after) => {
            sleep(after).await;
            send_all(&mut respond, [Bytes::from_static(b"\0\0\0\0\x02ok")]).await;
        }
        Reply::Status(code, after) => {
            sleep(after).await;
            let status = head().header("grpc-status", u16::from(code)).body(()).unwrap();
            let _ = respond.send_response(status, true);
        }
        Reply::Pushback(code, ms) => {
            let head = head().header("grpc-status", u16::from(code));
            let status = head.header("grpc-retry-pushback-ms", ms).body(()).unwrap();
            let _ = respond.send_response(status, true);
        }
        Reply::Echo => {
            let mut body = request.into_body();
            let Ok(mut stream) = respond.send_response(head().body(()).unwrap(), false) else {
                return;
            };
            while let Some(data) = body.data().await {
                let Ok(data) = data else {
                    let mut state = network.0.lock().unwrap();
                    state.resets += 1;
                    state.changed.notify_waiters();
                    return;
                };
                let _ = body.flow_control().release_capacity(data.len());
                let _ = stream.send_data(data, false);
            }
            let _ = stream.send_trailers(status_ok());
        }
        Reply::Flood => {
            let Ok(mut stream) = respond.send_response(head().body(()).unwrap(), false) else {
                return;
            };
            loop {
                stream.reserve_capacity(16 << 10);
                let granted = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
                let Some(Ok(bytes)) = granted else { return };
                let _ = stream.send_data(vec![0xff; bytes].into(), false);
            }
        }
        Reply::Health(words) => {
            let Ok(mut stream) = respond.send_response(head().body(()).unwrap(), false) else {
                return;
            };
            for (after, status) in words {
                sleep(after).await;
                let message = Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 8, status]);
                let _ = stream.send_data(message, false);
            }
            // The stream stays open, as a real watch does.
            std::future::pending::<()>().await;
        }
    }
}

async fn send_all<const N: usize>(respond: &mut SendResponse<Bytes>, parts: [Bytes; N]) {
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    // A caller that has left is no concern of a server.
    let Ok(mut stream) = respond.send_response(head, false) else { return };
    for part in parts {
        let _ = stream.send_data(part, false);
    }
    let _ = stream.send_trailers(status_ok());
}

fn status_ok() -> HeaderMap {
    HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        http::HeaderValue::from_static("0"),
    )])
}
