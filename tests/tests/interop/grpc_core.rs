//! grpc-core, through its Python package: the client that most callers outside have.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tests::cluster::{Binaries, Cluster, Plan, Pod};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{sleep, timeout};

const PODS: usize = 3;
const IN_FLIGHT: &str = "64";

/// Longer than any step here takes.
const FOR_EVER: Duration = Duration::from_secs(60);

/// What the client counted.
#[derive(Debug, Deserialize)]
struct Outcomes {
    answered: u64,
    /// By code and message.
    failed: BTreeMap<String, u64>,
}

/// A client that calls until it is told to stop.
struct Caller {
    process: Child,
    output: Lines<BufReader<ChildStdout>>,
}

impl Caller {
    async fn start(pods: &[Pod]) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = root.join("../target/tools/python/bin/python");
        assert!(python.exists(), "grpcio is missing: run .ci/tools");
        let targets: Vec<_> = pods.iter().map(|pod| pod.address().to_string()).collect();
        let mut command = Command::new(python);
        command.arg(root.join("tests/interop/caller.py"));
        command.args(["--targets", &targets.join(","), "--in-flight", IN_FLIGHT]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut caller = Self { process, output };
        assert_eq!(caller.line().await, "calling");
        caller
    }

    async fn line(&mut self) -> String {
        let line = timeout(FOR_EVER, self.output.next_line()).await;
        line.expect("the client hangs").unwrap().expect("the client ended")
    }

    async fn stop(mut self) -> Outcomes {
        drop(self.process.stdin.take());
        let outcomes = serde_json::from_str(&self.line().await).unwrap();
        assert!(timeout(FOR_EVER, self.process.wait()).await.unwrap().unwrap().success());
        outcomes
    }
}

/// Waits until clients have found this pod.
async fn wait_called(pod: &Pod) {
    let called = async {
        let counter =
            "grpc_server_call_started_total{grpc_method=\"account.v1.AccountService/GetAccount\"}";
        loop {
            let (_, metrics) = pod.get("/q/metrics").await.unwrap();
            let count = metrics.lines().find_map(|line| line.strip_prefix(counter));
            if count.is_some_and(|count| count.trim() != "0") {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(FOR_EVER, called).await.expect("nobody calls the pod");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_core_client_loses_no_call_when_every_pod_is_replaced() {
    let flags = ["--lame-duck", "1s", "--drain-timeout", "10s"].map(str::to_owned).to_vec();
    let plan = Plan { account_pods: PODS, order_pods: 0, account_flags: flags, ..Plan::default() };
    let mut cluster = Cluster::start(Binaries::build().unwrap(), plan).await.unwrap();
    let caller = Caller::start(&cluster.account).await;
    for pod in &mut cluster.account {
        wait_called(pod).await;
        pod.terminate();
        // The exit code says that no call was cut off.
        pod.wait_gone().unwrap();
        pod.restart().unwrap();
        pod.wait_ready().await.unwrap();
        wait_called(pod).await;
    }
    let outcomes = caller.stop().await;
    println!("{outcomes:?}");
    assert_eq!(outcomes.failed, BTreeMap::new());
    assert!(outcomes.answered > 1_000, "too few calls to tell: {}", outcomes.answered);
}
