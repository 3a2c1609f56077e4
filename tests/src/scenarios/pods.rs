//! Servers as processes: this same program, started as a pod.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use rustix::process::Signal;
use server::{ServeConfig, Server, Signals};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::HarnessError;
use crate::echo::{Echo, Executed};
use crate::ports::free_port;
use crate::process::{Process, User};

/// Longest wait for a pod to come or go.
const PATIENCE: Duration = Duration::from_secs(15);
const GLANCE: Duration = Duration::from_millis(10);

/// A pod's command line.
#[derive(Args, Clone, Debug)]
pub struct PodArgs {
    /// Where to serve.
    #[arg(long)]
    pub listen: SocketAddr,
    /// The name that answers carry.
    #[arg(long)]
    pub server: u32,
    /// The file to write executed calls to.
    #[arg(long)]
    pub executed: PathBuf,
    /// Milliseconds that each call takes on top of what it asks for.
    #[arg(long)]
    pub extra_ms: u64,
    /// Milliseconds until a connection is asked to leave.
    #[arg(long)]
    pub age_ms: u64,
}

/// What makes one pod differ from another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traits {
    pub(super) extra_ms: u64,
    pub(super) age: Duration,
}

impl Default for Traits {
    fn default() -> Self {
        Self { extra_ms: 0, age: Duration::from_secs(600) }
    }
}

/// How a pod leaves: half a second as a lame duck, two to finish.
pub(super) const LAME_DUCK: Duration = Duration::from_millis(500);
pub(super) const DRAIN: Duration = Duration::from_secs(2);

/// Serves as a pod until told to leave.
pub async fn serve_pod(args: PodArgs) -> Result<(), Box<dyn std::error::Error>> {
    let signals = Signals::of_process()?;
    let echo = Echo::new(
        args.server,
        Duration::from_millis(args.extra_ms),
        Some(Executed::append_to(&args.executed)?),
    );
    let config = ServeConfig {
        listen: args.listen,
        connection_age: Duration::from_millis(args.age_ms),
        lame_duck: LAME_DUCK,
        drain_timeout: DRAIN,
        ..ServeConfig::default()
    };
    Server::new(config).service(echo).bind().await?.run(signals).await;
    Ok(())
}

/// The pods of one scenario and what they wrote.
pub(super) struct Fleet {
    pods: BTreeMap<u32, Process>,
    directory: TempDir,
    port: u16,
}

impl Fleet {
    pub(super) fn new() -> Result<Self, HarnessError> {
        let directory = TempDir::new().map_err(HarnessError::io("make a directory"))?;
        Ok(Self { pods: BTreeMap::new(), directory, port: free_port()? })
    }

    /// A fleet with pods 1 to `count`.
    pub(super) async fn of(count: u32) -> Result<Self, HarnessError> {
        let mut fleet = Self::new()?;
        for pod in 1..=count {
            fleet.start(pod, Traits::default()).await?;
        }
        Ok(fleet)
    }

    /// Each pod has an address of its own; the port is the same.
    pub(super) fn address(&self, pod: u32) -> SocketAddr {
        let last = u8::try_from(pod).expect("fewer pods than addresses");
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 77, 0, last)), self.port)
    }

    pub(super) fn addresses(&self, pods: impl IntoIterator<Item = u32>) -> Vec<SocketAddr> {
        pods.into_iter().map(|pod| self.address(pod)).collect()
    }

    fn executed(&self) -> PathBuf {
        self.directory.path().join("executed")
    }

    /// Starts a pod and waits until it accepts.
    pub(super) async fn start(&mut self, pod: u32, traits: Traits) -> Result<(), HarnessError> {
        let program = std::env::current_exe().map_err(HarnessError::io("find this program"))?;
        let arguments = [
            "pod".to_owned(),
            format!("--listen={}", self.address(pod)),
            format!("--server={pod}"),
            format!("--executed={}", self.executed().display()),
            format!("--extra-ms={}", traits.extra_ms),
            format!("--age-ms={}", traits.age.as_millis()),
        ];
        let log = self.directory.path().join(format!("pod-{pod}.log"));
        let name = format!("pod {pod}");
        let process = Process::start(&name, User::Ours, &program, arguments, &log)?;
        self.pods.insert(pod, process);
        let began = Instant::now();
        while TcpStream::connect(self.address(pod)).await.is_err() {
            if began.elapsed() > PATIENCE {
                return Err(HarnessError::Late { what: format!("{name} to accept"), log });
            }
            tokio::time::sleep(GLANCE).await;
        }
        Ok(())
    }

    pub(super) fn signal(&self, pod: u32, signal: Signal) {
        if let Some(process) = self.pods.get(&pod) {
            process.signal(signal);
        }
    }

    /// Waits for a pod's end and answers how long that took.
    pub(super) async fn ended(&mut self, pod: u32) -> Result<Duration, HarnessError> {
        let began = Instant::now();
        let Some(mut process) = self.pods.remove(&pod) else { return Ok(Duration::ZERO) };
        while process.ended()?.is_none() {
            if began.elapsed() > PATIENCE {
                let log = self.directory.path().join(format!("pod-{pod}.log"));
                return Err(HarnessError::Late { what: format!("pod {pod} to end"), log });
            }
            tokio::time::sleep(GLANCE).await;
        }
        Ok(began.elapsed())
    }

    /// SIGTERM, and the pod's whole way out.
    pub(super) async fn stop(&mut self, pod: u32) -> Result<Duration, HarnessError> {
        self.signal(pod, Signal::TERM);
        self.ended(pod).await
    }

    /// SIGKILL.
    pub(super) async fn kill(&mut self, pod: u32) -> Result<(), HarnessError> {
        self.signal(pod, Signal::KILL);
        self.ended(pod).await.map(|_| ())
    }

    /// Calls that ran more than once, however many times.
    pub(super) fn duplicates(&self) -> Result<u64, HarnessError> {
        let executed = self.executed();
        if !executed.exists() {
            return Ok(0);
        }
        let ids = Executed::read(&executed).map_err(HarnessError::io("read what was executed"))?;
        let mut times: HashMap<u64, u32> = HashMap::new();
        for id in ids {
            *times.entry(id).or_default() += 1;
        }
        Ok(times.values().filter(|times| **times > 1).count() as u64)
    }
}
