//! Every certificate, key, issuer and revocation list of a pair under mutual TLS is replaced, and a broken file tried, while
//! orders are placed: no call fails.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::{Channel, Credentials, Identity, Roots, Tls, TlsFiles};
use proto::account::v1::account_service_client::AccountServiceClient;
use proto::account::v1::{GetAccountRequest, OpenAccountRequest};
use proto::order::v1::PlaceOrderRequest;
use proto::order::v1::order_service_client::OrderServiceClient;
use tests::certificates::{Authority, Issued, Pair, replace};
use tests::cluster::{Binaries, Cluster, Plan, Pod};
use time::OffsetDateTime;
use tokio::task::JoinHandle;
use tonic::{Code, Request, Status};

use crate::support::{Files, NAMES, flags, log_of, serve, show, until};

/// Far below the test's length, so that every file meets new connections.
const CONNECTION_AGE: [&str; 2] = ["--connection-age", "300ms"];

const CALLERS: usize = 8;
const ACCOUNT: i64 = 7;

/// Who has a certificate: names of files.
const ORDER_CLIENT: &str = "order-client";
const EVERYBODY: [&str; 4] = ["account-server", "order-server", ORDER_CLIENT, "caller"];

/// Everybody's certificate by one authority, valid until then.
fn issue_all(authority: &Authority, until: OffsetDateTime) -> [(&'static str, Issued); 4] {
    EVERYBODY.map(|name| {
        let names = [&[name][..], &NAMES].concat();
        (name, authority.issue_until(&names, until))
    })
}

fn write_all(files: &Files, issued: &[(&'static str, Issued)]) -> Vec<Pair> {
    issued.iter().map(|(name, issued)| files.write(name, issued)).collect()
}

/// Two pods of each service, and files that all of them share.
async fn pair(files: &Files, pairs: &[Pair], crl: &std::path::Path) -> Cluster {
    let [account_server, order_server, order_client, _] = pairs else { unreachable!("four") };
    let verify = [("--tls-client-ca", &*files.ca), ("--tls-client-crl", crl)];
    let age = CONNECTION_AGE.map(str::to_owned);
    let account = flags(serve(account_server).into_iter().chain(verify));
    let trust = [("--account-tls-ca", &*files.ca)];
    let order =
        serve(order_server).into_iter().chain(verify).chain(show(order_client)).chain(trust);
    let plan = Plan {
        account_flags: account.into_iter().chain(age.clone()).collect(),
        order_flags: flags(order).into_iter().chain(age).collect(),
        ..Plan::default()
    };
    Cluster::start(Binaries::build().unwrap(), plan).await.unwrap()
}

fn channel(pods: &[Pod], tls: Tls) -> Channel {
    let addresses: Vec<_> = pods.iter().map(|pod| pod.address().to_string()).collect();
    let target = format!("static:///{}", addresses.join(","));
    Channel::builder(target).tls(tls.server_name("localhost")).build().unwrap()
}

/// Orders placed one after the other by each of some callers.
struct Load {
    stop: Arc<AtomicBool>,
    placed: Arc<AtomicU64>,
    failed: Arc<Mutex<Vec<Status>>>,
    callers: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(channel: &Channel) -> Self {
        let (stop, placed) = <(Arc<AtomicBool>, Arc<AtomicU64>)>::default();
        let failed = Arc::<Mutex<Vec<Status>>>::default();
        let callers = (0..CALLERS).map(|caller| {
            let mut stub = OrderServiceClient::new(channel.clone());
            let (stop, placed, failed) = (stop.clone(), placed.clone(), failed.clone());
            tokio::spawn(async move {
                let mut number = 0;
                while !stop.load(Ordering::Relaxed) {
                    let mut request = Request::new(order(&format!("{caller}-{number}")));
                    request.set_timeout(Duration::from_secs(10));
                    match stub.place_order(request).await {
                        Ok(_) => placed.fetch_add(1, Ordering::Relaxed),
                        Err(status) => {
                            failed.lock().unwrap().push(status);
                            0
                        }
                    };
                    number += 1;
                }
            })
        });
        Self { callers: callers.collect(), stop, placed, failed }
    }

    fn placed(&self) -> u64 {
        self.placed.load(Ordering::Relaxed)
    }

    /// Waits until each caller has placed some more.
    async fn goes_on(&self) {
        let before = self.placed();
        until("more orders", async || self.placed() >= before + 5 * CALLERS as u64).await;
    }

    async fn finish(self) -> (u64, Vec<Status>) {
        self.stop.store(true, Ordering::Relaxed);
        for caller in self.callers {
            caller.await.unwrap();
        }
        let failed = std::mem::take(&mut *self.failed.lock().unwrap());
        (self.placed.load(Ordering::Relaxed), failed)
    }
}

fn order(key: &str) -> PlaceOrderRequest {
    PlaceOrderRequest {
        account_id: ACCOUNT,
        idempotency_key: key.to_owned(),
        amount: "1".to_owned(),
        ..PlaceOrderRequest::default()
    }
}

async fn gauge(pod: &Pod, name: &str, files: &str) -> f64 {
    pod.counter(name, &[("files", files)]).await
}

/// Waits until every pod shows what ends then.
async fn until_all_end(cluster: &Cluster, until_then: OffsetDateTime) {
    let end = until_then.unix_timestamp() as f64;
    let shows =
        async |pod: &Pod, files| gauge(pod, "tls_certificate_expiry_seconds", files).await == end;
    until("every certificate in force", async || {
        let mut all = true;
        for pod in cluster.account.iter().chain(&cluster.order) {
            all &= shows(pod, "server").await;
        }
        for pod in &cluster.order {
            all &= shows(pod, "account").await;
        }
        all
    })
    .await;
}

/// Whether somebody who trusts this authority and is one of its clients is let in by every pod.
async fn lets_in(cluster: &Cluster, trusted: &str, client: &Issued) -> bool {
    for pod in cluster.account.iter().chain(&cluster.order) {
        let tls = Tls::new(trusted).identity(&*client.certificate, &*client.key);
        let channel = channel(std::slice::from_ref(pod), tls);
        let request = GetAccountRequest { account_id: ACCOUNT };
        match AccountServiceClient::new(channel).get_account(request).await {
            // An order pod knows no such method, and says so after the handshake.
            Ok(_) => {}
            Err(status) if status.code() == Code::Unimplemented => {}
            Err(_) => return false,
        }
    }
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_is_replaced_under_load_and_no_call_fails() {
    #[expect(clippy::disallowed_methods, reason = "certificates are judged by this clock")]
    let now = OffsetDateTime::now_utc();
    let (day, two_days) = (now + time::Duration::DAY, now + 2 * time::Duration::DAY);
    let (files, next) = (Files::new(), Authority::new());
    let first = &files.authority;
    let pairs = write_all(&files, &issue_all(first, day));
    let crl = files.text("crl.pem", &first.revoke(&[]));
    let mut cluster = pair(&files, &pairs, &crl).await;

    let identity = pairs.last().map(|Pair { certificate, key }| Identity {
        certificate: certificate.clone(),
        key: key.clone(),
    });
    let mut caller = Credentials::watch(TlsFiles {
        roots: Roots::File(files.ca.clone()),
        identity,
        name: "caller",
        reload_interval: Duration::from_millis(20),
    })
    .unwrap();
    let tls = || Tls::watched(caller.clone());
    let mut accounts = AccountServiceClient::new(channel(&cluster.account, tls()));
    let opening_balance = "1000000".to_owned();
    let opened = OpenAccountRequest { account_id: ACCOUNT, opening_balance, ..Default::default() };
    accounts.open_account(opened).await.unwrap();
    let load = Load::start(&channel(&cluster.order, tls()));
    load.goes_on().await;

    // Trust both, then become the new, then trust the new alone.
    let newcomer = next.issue(&["newcomer"]);
    let both = format!("{}{}", first.pem(), next.pem());
    files.text("crl.pem", &format!("{}{}", first.revoke(&[]), next.revoke(&[])));
    replace(&files.ca, &both).unwrap();
    caller.changed().await;
    until("trust in both", async || lets_in(&cluster, &both, &newcomer).await).await;
    for pod in &cluster.order {
        let reloads = [("files", "account"), ("outcome", "ok")];
        until("trust", async || pod.counter("tls_reloads_total", &reloads).await >= 1.0).await;
    }
    load.goes_on().await;

    write_all(&files, &issue_all(&next, two_days));
    caller.changed().await;
    until_all_end(&cluster, two_days).await;
    load.goes_on().await;

    let leaver = first.issue(&["leaver"]);
    assert!(lets_in(&cluster, &both, &leaver).await);
    replace(&files.ca, next.pem()).unwrap();
    files.text("crl.pem", &next.revoke(&[&newcomer]));
    caller.changed().await;
    until("no more trust", async || !lets_in(&cluster, &both, &leaver).await).await;
    until("revocation", async || !lets_in(&cluster, &both, &newcomer).await).await;
    load.goes_on().await;

    check_a_broken_file_changes_nothing(&files, &cluster, &load).await;
    let (placed, failed) = load.finish().await;
    println!("{placed} orders were placed");
    assert!(failed.is_empty(), "{} of {placed} failed: {:?}", failed.len(), failed[0]);
    cluster.stop().unwrap();
    cluster.verify().unwrap();
}

/// Half a file is told with its path and shown, and orders go on.
async fn check_a_broken_file_changes_nothing(files: &Files, cluster: &Cluster, load: &Load) {
    let path = files.path().join(format!("{ORDER_CLIENT}.key"));
    let whole = std::fs::read_to_string(&path).unwrap();
    replace(&path, &whole[..whole.len() / 2]).unwrap();
    for pod in &cluster.order {
        let failing = async || gauge(pod, "tls_reload_failing", "account").await == 1.0;
        until("a failing reload", failing).await;
        let log = log_of(pod);
        let told = log.lines().find(|line| line.contains("the former files stay in force"));
        let told = told.unwrap_or_else(|| panic!("nothing told in:\n{log}"));
        assert!(told.contains("WARN") && told.contains(&path.display().to_string()), "{told}");
    }
    load.goes_on().await;

    replace(&path, &whole).unwrap();
    for pod in &cluster.order {
        let works = async || gauge(pod, "tls_reload_failing", "account").await == 0.0;
        until("a reload that works", works).await;
    }
}
