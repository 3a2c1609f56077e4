//! A pod of the account service under attack, and a caller that goes on calling.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use proto::account::v1::account_service_client::AccountServiceClient;
use proto::account::v1::{OpenAccountRequest, ReserveRequest};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tests::cluster::{Binaries, Cluster, Plan, Pod};
use tests::frames::Wire;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{sleep, timeout};
use tonic::transport::{Channel, Endpoint};

pub(crate) const RESERVE: &str = "/account.v1.AccountService/Reserve";
pub(crate) const GET_ACCOUNT: &str = "/account.v1.AccountService/GetAccount";

/// Where the caller comes from that attacks nobody.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// Interval of its calls.
const PACE: Duration = Duration::from_millis(10);

/// Below this a slower answer is the machine's doing: its two cores also run the attackers and other tests, and a debug
/// build's batch of 256 commands takes a tenth of a second.
const NOISE: Duration = Duration::from_millis(150);

/// Longer than anything here takes.
const FOR_EVER: Duration = Duration::from_secs(20);

/// The account that the caller reserves from.
const ACCOUNT: i64 = 7;

/// Each test measures times, which others would change.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// A pod and a caller.
pub(crate) struct Scene {
    cluster: Cluster,
    calls: u64,
    _alone: MutexGuard<'static, ()>,
}

/// How the caller fared.
#[derive(Debug)]
pub(crate) struct Fared {
    pub(crate) calls: usize,
    pub(crate) failed: Vec<String>,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

impl Scene {
    pub(crate) async fn start(flags: &[&str]) -> Self {
        let alone = ONE_AT_A_TIME.lock().await;
        allow_open_files();
        let account_flags = flags.iter().map(ToString::to_string).collect();
        let plan = Plan { account_pods: 1, order_pods: 0, account_flags, ..Plan::default() };
        let cluster = Cluster::start(Binaries::build().unwrap(), plan).await.unwrap();
        let scene = Self { cluster, calls: 0, _alone: alone };
        let opening_balance = "100000000".to_owned();
        let (account_id, currency) = (ACCOUNT, String::new());
        let request = OpenAccountRequest { account_id, currency, opening_balance };
        scene.connect().await.unwrap().open_account(request).await.unwrap();
        scene
    }

    pub(crate) fn pod(&self) -> &Pod {
        &self.cluster.account[0]
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.pod().address()
    }

    /// Starts the pod again, which may have so many files open from now on.
    pub(crate) async fn restart_with_open_files(&mut self, most: u32) {
        let pod = &mut self.cluster.account[0];
        pod.set_open_files(most);
        pod.kill().unwrap();
        pod.restart().unwrap();
        pod.wait_ready().await.unwrap();
    }

    /// What was refused or cut by this bound.
    pub(crate) async fn refused(&self, bound: &str) -> u64 {
        self.pod().counter("grpc_server_refused_total", &[("bound", bound)]).await as u64
    }

    /// Waits until the pod's metrics say so.
    pub(crate) async fn until(&self, what: &str, mut reached: impl AsyncFnMut(&Self) -> bool) {
        let wait = async {
            while !reached(self).await {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(FOR_EVER, wait).await.unwrap_or_else(|_| panic!("never came to: {what}"));
    }

    /// Waits until this many calls are in progress, the caller's own included.
    pub(crate) async fn wait_in_flight(&self, wanted: impl Fn(u64) -> bool) {
        self.until("calls in flight", async |scene| {
            wanted(scene.pod().counter("grpc_server_calls_in_flight", &[]).await as u64)
        })
        .await;
    }

    /// Memory of the pod that is in use.
    pub(crate) fn resident_kib(&self) -> u64 {
        let pid = i32::try_from(self.pod().pid()).unwrap();
        let status = procfs::process::Process::new(pid).unwrap().status().unwrap();
        status.vmrss.expect("a process has memory")
    }

    /// Calls at a pace for a while; each tenth call on a connection of its own.
    pub(crate) async fn call_for(&mut self, time: Duration) -> Fared {
        let (mut took, mut failed) = (Vec::new(), Vec::new());
        let began = Instant::now();
        let mut client = None;
        while began.elapsed() < time {
            let call = Instant::now();
            match self.reserve(&mut client).await {
                Ok(()) => took.push(call.elapsed()),
                Err(why) => failed.push(why),
            }
            if self.calls.is_multiple_of(10) {
                client = None;
            }
            sleep(PACE.saturating_sub(call.elapsed())).await;
        }
        took.sort_unstable();
        let at = |percent| took.get(took.len() * percent / 100).copied().unwrap_or(FOR_EVER);
        let (p50, p99) = (at(50), at(99));
        Fared { calls: took.len() + failed.len(), failed, p50, p99 }
    }

    async fn reserve(
        &mut self,
        client: &mut Option<AccountServiceClient<Channel>>,
    ) -> Result<(), String> {
        self.calls += 1;
        let request = ReserveRequest {
            account_id: ACCOUNT,
            amount: "1".to_owned(),
            reserve_id: format!("quiet-{}", self.calls),
            order_id: "quiet".to_owned(),
            ..ReserveRequest::default()
        };
        if client.is_none() {
            *client = Some(self.connect().await.map_err(|why| format!("{why:?}"))?);
        }
        let client = client.as_mut().expect("connected above");
        match timeout(FOR_EVER, client.reserve(request)).await {
            Ok(Ok(_reserved)) => Ok(()),
            Ok(Err(status)) => Err(status.to_string()),
            Err(_) => Err("no answer".to_owned()),
        }
    }

    async fn connect(&self) -> Result<AccountServiceClient<Channel>, tonic::transport::Error> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address()))?;
        let endpoint = endpoint.local_address(Some(ELSEWHERE)).tcp_nodelay(true);
        endpoint.connect().await.map(AccountServiceClient::new)
    }

    /// Ends the pod, which must not have been brought out of its order.
    pub(crate) fn stop_and_verify(mut self) {
        self.cluster.stop().unwrap();
        // There is no order book to check here: the ledger's is.
        let url = &self.cluster.databases().account;
        self.cluster.binaries().verify(tests::cluster::Service::Account, url).unwrap();
    }
}

impl Fared {
    /// Holds how a caller fared while others attacked against how it fared before.
    pub(crate) fn assert_as_calm(&self, calm: &Self) {
        println!("calm {calm:?}\nunder attack {self:?}");
        assert!(self.failed.len() * 1_000 <= self.calls, "{self:?}");
        assert!(self.p99 <= 5 * calm.p99.max(NOISE / 5), "{self:?}, calm {calm:?}");
    }
}

/// An attacker's connections.
pub(crate) async fn wires(address: SocketAddr, count: usize, window: u32) -> Vec<Wire> {
    let mut wires = Vec::with_capacity(count);
    for _ in 0..count {
        wires.push(Wire::connect_with_window(address, window).await.unwrap());
    }
    wires
}

/// Client ids of streams, in the order in which a connection opens them.
pub(crate) fn streams(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|number| 2 * number + 1)
}

/// The attackers' ends of their connections are files of this process.
fn allow_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = 4_096.min(maximum.unwrap_or(u64::MAX));
    if current.is_some_and(|current| current < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).unwrap();
    }
}
