//! A balancer of layer 4, as a Service with a ClusterIP is: each new connection goes to one of the
//! pods that the balancer takes for ready, drawn at random, and stays with it as long as both live.
//!
//! Nothing is ever moved: a pod that left the list keeps the connections it has. Where no pod is
//! known, or the one drawn does not answer, the client's connection is reset, as a refused one
//! would be. At most [`CONNECTIONS_MAX`] connections at a time; more wait in the backlog.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

/// Connections at a time.
pub const CONNECTIONS_MAX: usize = 8192;
/// A pod that does not take a connection within this time is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes buffered in each direction of a connection.
const BUFFER_BYTES: usize = 8 << 10;
/// Pause after a failure to accept, which is a lack of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// A running balancer. Dropped, it closes all its connections.
#[derive(Debug)]
pub struct Balancer {
    address: SocketAddr,
    _balancing: AbortOnDropHandle<()>,
}

impl Balancer {
    /// Serves on a loopback port of its own, in front of pods that all listen on `pod_port`.
    ///
    /// # Errors
    /// When there is no such port.
    pub async fn serve(
        pods: watch::Receiver<Vec<Ipv4Addr>>,
        pod_port: u16,
        seed: u64,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let random = StdRng::seed_from_u64(seed);
        let balancing = tokio::spawn(accept(listener, pods, pod_port, random));
        Ok(Self { address, _balancing: AbortOnDropHandle::new(balancing) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn accept(
    listener: TcpListener,
    pods: watch::Receiver<Vec<Ipv4Addr>>,
    pod_port: u16,
    mut random: StdRng,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
        let Ok((client, _)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        let pod = choose(&pods.borrow(), &mut random).map(|ip| SocketAddr::from((ip, pod_port)));
        connections.spawn(async move {
            join(client, pod).await;
            drop(place);
        });
        while connections.try_join_next().is_some() {}
    }
}

fn choose(pods: &[Ipv4Addr], random: &mut StdRng) -> Option<Ipv4Addr> {
    (!pods.is_empty()).then(|| pods[random.random_range(0..pods.len())])
}

/// Passes bytes both ways until either side is done.
async fn join(mut client: TcpStream, pod: Option<SocketAddr>) {
    let Some(mut pod) = connect(pod).await else {
        reset(&client);
        return;
    };
    // Neither end should wait for the other's small frames to be gathered.
    let _as_good_as_possible = client.set_nodelay(true).and_then(|()| pod.set_nodelay(true));
    let passed =
        copy_bidirectional_with_sizes(&mut client, &mut pod, BUFFER_BYTES, BUFFER_BYTES).await;
    if passed.is_err() {
        // What one end broke off is broken off for the other.
        reset(&client);
        reset(&pod);
    }
}

async fn connect(pod: Option<SocketAddr>) -> Option<TcpStream> {
    timeout(CONNECT_TIMEOUT, TcpStream::connect(pod?)).await.ok()?.ok()
}

/// Closing now sends RST instead of FIN. A socket that is gone already needs no RST.
fn reset(stream: &TcpStream) {
    let _set_or_gone = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A pod that greets with the last byte of its address, then echoes.
    async fn pod(ip: Ipv4Addr, port: u16) -> (u16, AbortOnDropHandle<()>) {
        let listener = TcpListener::bind((ip, port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                connections.spawn(async move {
                    stream.write_u8(ip.octets()[3]).await.unwrap();
                    let (mut read, mut write) = stream.split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        (port, AbortOnDropHandle::new(serving))
    }

    struct World {
        balancer: Balancer,
        ready: watch::Sender<Vec<Ipv4Addr>>,
        pods: BTreeMap<u8, (Ipv4Addr, AbortOnDropHandle<()>)>,
    }

    /// Pods on addresses of their own (`127.200.net.1` and on), all ready.
    async fn world(net: u8, pods: u8, seed: u64) -> World {
        let ip = |last| Ipv4Addr::new(127, 200, net, last);
        let (port, first) = pod(ip(1), 0).await;
        let mut running = BTreeMap::from([(1, (ip(1), first))]);
        for last in 2..=pods {
            running.insert(last, (ip(last), pod(ip(last), port).await.1));
        }
        let ready = watch::Sender::new((1..=pods).map(ip).collect());
        let balancer = Balancer::serve(ready.subscribe(), port, seed).await.unwrap();
        World { balancer, ready, pods: running }
    }

    impl World {
        /// A connection, and the pod it came to.
        async fn connect(&self) -> io::Result<(TcpStream, u8)> {
            let mut stream = TcpStream::connect(self.balancer.address()).await?;
            let pod = stream.read_u8().await?;
            Ok((stream, pod))
        }
    }

    #[tokio::test]
    async fn connections_are_spread_and_stay_with_their_pod_when_it_leaves_the_list() {
        let mut world = world(1, 2, 1).await;
        let mut kept = Vec::new();
        let mut met = BTreeMap::<u8, usize>::new();
        for _ in 0..100 {
            let (stream, pod) = world.connect().await.unwrap();
            *met.entry(pod).or_default() += 1;
            kept.push((stream, pod));
        }
        assert!(met.len() == 2 && met.values().all(|count| *count > 30), "{met:?}");

        world.ready.send_modify(|ready| ready.retain(|ip| ip.octets()[3] != 1));
        for _ in 0..20 {
            assert_eq!(world.connect().await.unwrap().1, 2);
        }
        for (stream, _) in kept.iter_mut().filter(|(_, pod)| *pod == 1) {
            stream.write_u8(7).await.unwrap();
            assert_eq!(stream.read_u8().await.unwrap(), 7);
        }

        world.pods.remove(&1);
        for (stream, pod) in &mut kept {
            let gone = stream.read_u8();
            match pod {
                1 => assert!(gone.await.is_err()),
                _ => assert!(timeout(Duration::from_millis(1), gone).await.is_err()),
            }
        }
    }

    #[tokio::test]
    async fn a_pod_that_is_dead_or_missing_is_a_connection_reset() {
        let mut world = world(2, 1, 1).await;
        world.pods.clear();
        // The port closes when the pod's task is dropped, which is a moment after.
        let refused = async {
            while world.connect().await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), refused).await.unwrap();
        world.ready.send_replace(Vec::new());
        let reset = world.connect().await.unwrap_err();
        assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn one_seed_makes_one_sequence_of_choices() {
        let pods: Vec<_> = (1..=4).map(|last| Ipv4Addr::new(127, 200, 3, last)).collect();
        let choices = |seed| {
            let mut random = StdRng::seed_from_u64(seed);
            (0..50).map(|_| choose(&pods, &mut random)).collect::<Vec<_>>()
        };
        assert_eq!(choices(1), choices(1));
        assert_ne!(choices(1), choices(2));
        assert_eq!(choose(&[], &mut StdRng::seed_from_u64(1)), None);
    }
}
