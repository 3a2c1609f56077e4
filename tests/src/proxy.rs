//! A TCP proxy with bad weather: slow, silent in one direction or both, refusing, or cut right after a COMMIT.
//!
//! It knows PostgreSQL's protocol so far: a simple query that ends with `COMMIT` is known by its bytes. Cut means:
//! the server has read it, the client never hears of it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::HarnessError;

/// The end of a simple query that commits, alone or after other statements.
const COMMIT: &[u8] = b"COMMIT\0";

/// How long the server has to carry a COMMIT out before the connection is cut under it. It would finish anyway: a
/// backend notices a lost client only when it writes to it.
const COMMITTING: Duration = Duration::from_millis(20);

const CHUNK: usize = 16 * 1024;

/// What happens to bytes, in both directions unless said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// Each chunk waits so long.
    pub delay: Duration,
    /// What clients send is kept and goes on when the weather changes.
    pub hold_requests: bool,
    /// What the server sends is kept and goes on when the weather changes.
    pub hold_answers: bool,
    /// Connections are closed, and new ones as soon as they are made.
    pub cut: bool,
}

/// A running proxy. Dropped, it ends, and its connections with it.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    /// Where new connections lead.
    server: Mutex<SocketAddr>,
    weather: watch::Sender<Weather>,
    commits_to_cut: AtomicU32,
    commits_cut: AtomicU64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Requests,
    Answers,
}

impl Proxy {
    /// Starts a proxy to a server on this machine.
    ///
    /// # Errors
    /// When there is no port for it.
    pub async fn start(server: SocketAddr) -> Result<Self, HarnessError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.map_err(HarnessError::io("listen for the proxy"))?;
        let address = listener.local_addr().map_err(HarnessError::io("name the proxy's port"))?;
        let state = Arc::new(State {
            server: Mutex::new(server),
            weather: watch::Sender::new(Weather::default()),
            commits_to_cut: AtomicU32::new(0),
            commits_cut: AtomicU64::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&state)));
        Ok(Self { address, state, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Leads new connections to another server, as a service does after a fail-over. Those that exist stay.
    pub fn lead_to(&self, server: SocketAddr) {
        *self.state.server.lock().unwrap_or_else(PoisonError::into_inner) = server;
    }

    /// Changes the weather, for connections that exist too.
    pub fn set(&self, weather: Weather) {
        self.state.weather.send_replace(weather);
    }

    /// The next connections that send COMMIT, so many, are cut right after it.
    pub fn cut_commits(&self, count: u32) {
        self.state.commits_to_cut.store(count, Ordering::Relaxed);
    }

    /// How many were.
    #[must_use]
    pub fn commits_cut(&self) -> u64 {
        self.state.commits_cut.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.set(Weather { cut: true, ..Weather::default() });
    }
}

impl State {
    fn takes_a_commit(&self) -> bool {
        let less = |left: u32| left.checked_sub(1);
        let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
        self.commits_to_cut.fetch_update(set, get, less).is_ok()
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((client, _)) = listener.accept().await {
        let server = *state.server.lock().unwrap_or_else(PoisonError::into_inner);
        tokio::spawn(connection(client, server, Arc::clone(&state)));
    }
}

/// Dropping the halves closes both sides.
async fn connection(client: TcpStream, server: SocketAddr, state: Arc<State>) {
    let mut weather = state.weather.subscribe();
    if weather.borrow().cut {
        return;
    }
    let Ok(server) = TcpStream::connect(server).await else { return };
    let _slower_at_worst = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) =
        (client.into_split(), server.into_split());
    let muted = AtomicBool::new(false);
    tokio::select! {
        _ = pump(from_client, to_server, Direction::Requests, &state, &muted) => {}
        _ = pump(from_server, to_client, Direction::Answers, &state, &muted) => {}
        _ = weather.wait_for(|weather| weather.cut) => {}
    }
}

/// Ends when either side does: both are then closed, as a middlebox would.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    direction: Direction,
    state: &State,
    muted: &AtomicBool,
) -> io::Result<()> {
    let mut weather = state.weather.subscribe();
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = from.read(&mut chunk).await?;
        if read == 0 {
            return Ok(());
        }
        let bytes = &chunk[..read];
        let flows = |weather: &Weather| match direction {
            Direction::Requests => !weather.hold_requests,
            Direction::Answers => !weather.hold_answers,
        };
        let delay = weather.wait_for(flows).await.map(|weather| weather.delay).unwrap_or_default();
        sleep(delay).await;
        if direction == Direction::Answers && muted.load(Ordering::Relaxed) {
            return std::future::pending().await;
        }
        let commits = direction == Direction::Requests
            && bytes.windows(COMMIT.len()).any(|window| window == COMMIT);
        let cut = commits && state.takes_a_commit();
        if cut {
            muted.store(true, Ordering::Relaxed);
        }
        to.write_all(bytes).await?;
        if cut {
            state.commits_cut.fetch_add(1, Ordering::Relaxed);
            sleep(COMMITTING).await;
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        address
    }

    async fn echoed(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<Vec<u8>> {
        stream.write_all(bytes).await?;
        let mut answer = vec![0; bytes.len()];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn what_is_held_goes_on_later_and_what_is_cut_does_not() {
        let proxy = Proxy::start(echo().await).await.unwrap();
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(echoed(&mut stream, b"one").await.unwrap(), b"one");
        for held in [
            Weather { hold_requests: true, ..Weather::default() },
            Weather { hold_answers: true, ..Weather::default() },
        ] {
            proxy.set(held);
            let mut wait = Box::pin(echoed(&mut stream, b"two"));
            let early = tokio::time::timeout(Duration::from_millis(100), &mut wait).await;
            assert!(early.is_err(), "{held:?}: {early:?}");
            proxy.set(Weather::default());
            assert_eq!(wait.await.unwrap(), b"two");
        }
        proxy.set(Weather { cut: true, ..Weather::default() });
        assert!(echoed(&mut stream, b"three").await.is_err());
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(echoed(&mut stream, b"four").await.is_err());
    }

    #[tokio::test]
    async fn a_connection_is_cut_after_its_commit_and_only_when_asked_for() {
        let proxy = Proxy::start(echo().await).await.unwrap();
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(echoed(&mut stream, COMMIT).await.unwrap(), COMMIT);
        proxy.cut_commits(1);
        assert_eq!(echoed(&mut stream, b"Q\0\0\0\x0aBEGIN\0").await.unwrap().len(), 11);
        assert!(echoed(&mut stream, COMMIT).await.is_err());
        assert_eq!(proxy.commits_cut(), 1);
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(echoed(&mut stream, COMMIT).await.unwrap(), COMMIT);
    }
}
