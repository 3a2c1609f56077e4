//! Mutated requests of every method against running pods of both services.
//!
//! What must hold of each answer: it comes; it is INTERNAL only where the message itself could not be decoded, which is
//! tonic's answer and not ours; and UNKNOWN never. In the end nothing has panicked, every pod still runs and serves, memory
//! has stopped to grow, and both services find their books sound.

mod raw;
mod samples;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use fuzz::Fuzz;
use proto::account::v1::OpenAccountRequest;
use proto::order::v1::{
    ListOrdersRequest, ListProductsRequest, OnDuplicate, PlaceOrderRequest, PutProductRequest,
};
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::HarnessError;
use crate::clients::Clients;
use crate::cluster::{Cluster, Pod, Service, connect};
use crate::cpu::resident_bytes;
use samples::{ACCOUNT, Known, PRODUCT, Sample};

/// Longer than any call takes: its deadline is 15 s where the caller names none.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// What memory may differ by between two looks at a pod that does the same all the time.
const GROWTH_MAX: u64 = 24 << 20;

/// How tonic begins what it says of bytes that are no message.
const UNDECODED: &str = "failed to decode Protobuf message";

/// What came of a run.
#[derive(Debug, Default, serde::Serialize)]
pub struct Report {
    /// Requests sent.
    pub requests: u64,
    /// Answers by code.
    pub answers: BTreeMap<String, u64>,
    /// Resident MiB of each pod after half of the requests and after all.
    pub resident_mib: BTreeMap<String, [u64; 2]>,
    /// What must not have happened.
    pub wrong: Vec<String>,
}

/// A method with its source of requests.
struct Method {
    service: Service,
    name: &'static str,
    fuzz: Fuzz,
}

/// Sends so many requests, spread over all methods.
///
/// # Errors
/// When the cluster cannot be prepared, or a pod's memory not be read.
pub async fn run(cluster: &mut Cluster, requests: u64) -> Result<Report, HarnessError> {
    let known = prepare(cluster).await?;
    let channels = (connect(&cluster.account[0]).await?, connect(&cluster.order[0]).await?);
    let samples = samples::all(&known);
    let each = requests.div_ceil(samples.len() as u64);
    let mut methods: Vec<Method> =
        samples.into_iter().map(|sample| Method::of(sample, each)).collect();

    let mut report = Report::default();
    let mut halfway = BTreeMap::new();
    for round in 0..each {
        if round == each / 2 {
            halfway = resident(cluster)?;
        }
        for method in &mut methods {
            let channel = match method.service {
                Service::Account => &channels.0,
                Service::Order => &channels.1,
            };
            method.call(channel, &mut report).await;
        }
    }

    let end = resident(cluster)?;
    for (pod, after) in end {
        let before = halfway.get(&pod).copied().unwrap_or(after);
        if after > before + GROWTH_MAX {
            report.wrong.push(format!("{pod} grew from {before} to {after} bytes"));
        }
        report.resident_mib.insert(pod, [before >> 20, after >> 20]);
    }
    look_at_pods(cluster, &mut report).await?;
    Ok(report)
}

impl Method {
    fn of(sample: Sample, requests: u64) -> Self {
        let words = ["1e3", "-1", "0.00001", "USD", "\u{0}", "\u{fffd}"];
        let varints: [&[u8]; 4] = [
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            &[0x80, 0x00],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f],
        ];
        let words = words.iter().map(|word| word.as_bytes()).chain(varints);
        let fuzz = Fuzz::new(sample.method, sample.messages).dictionary(words).exactly(requests);
        Self { service: sample.service, name: sample.method, fuzz }
    }

    async fn call(&mut self, channel: &Channel, report: &mut Report) {
        let Some(input) = self.fuzz.next() else { return };
        report.requests += 1;
        let calling = raw::call(channel, self.name, Bytes::from(input.clone()));
        let answer = timeout(ANSWER_MAX, calling).await;

        let outcome = match &answer {
            Err(_late) => (Code::DeadlineExceeded, "no answer".to_owned()),
            Ok(Ok(_)) => (Code::Ok, String::new()),
            Ok(Err(status)) => (status.code(), shape(status)),
        };
        *report.answers.entry(format!("{:?}", outcome.0)).or_default() += 1;
        let is_wrong = match &answer {
            Err(_late) => true,
            Ok(Ok(_)) => false,
            Ok(Err(status)) => is_wrong(status),
        };
        if is_wrong {
            report.wrong.push(format!("{outcome:?}: {}", self.fuzz.describe(&input)));
        }
        // What is no message leads to nothing but more of its kind.
        if !matches!(&answer, Ok(Err(status)) if is_undecoded(status)) {
            self.fuzz.learn(&input, &(outcome.0 as i32, outcome.1));
        }
    }
}

fn is_undecoded(status: &Status) -> bool {
    status.message().starts_with(UNDECODED)
}

fn is_wrong(status: &Status) -> bool {
    let is_ours = status.code() == Code::Internal && !is_undecoded(status);
    // Nothing is away and nothing cut off here, so that whoever is told so was not answered.
    let unanswered = [Code::Unknown, Code::Unavailable, Code::DeadlineExceeded, Code::DataLoss];
    is_ours || unanswered.contains(&status.code())
}

/// What a status says, without its numbers: those are no new outcome.
fn shape(status: &Status) -> String {
    status.message().chars().filter(|c| !c.is_ascii_digit()).take(120).collect()
}

/// Makes an account, a product and orders, and asks for what pages lead on to.
async fn prepare(cluster: &Cluster) -> Result<Known, HarnessError> {
    let mut clients = Clients::connect(cluster).await?;
    let currency = String::new();
    let opening_balance = "1000000".to_owned();
    let open = OpenAccountRequest { account_id: ACCOUNT, currency, opening_balance };
    clients.accounts.open_account(open).await.map_err(HarnessError::call("open the account"))?;
    for product_id in [PRODUCT, PRODUCT + 1] {
        let (name, price, currency) = ("brick".to_owned(), "10.5".to_owned(), String::new());
        let product = PutProductRequest { product_id, name, price, stock: 1_000, currency };
        clients.catalog.put_product(product).await.map_err(HarnessError::call("put a product"))?;
    }
    let mut order_id = String::new();
    for key in ["k0", "k1"] {
        let order = PlaceOrderRequest {
            account_id: ACCOUNT,
            idempotency_key: key.to_owned(),
            amount: "1".to_owned(),
            lines: Vec::new(),
            on_duplicate: OnDuplicate::Replay.into(),
            currency: String::new(),
        };
        let placed = clients.orders[0]
            .place_order(order)
            .await
            .map_err(HarnessError::call("place an order"))?
            .into_inner();
        order_id = placed.order.map(|order| order.order_id).unwrap_or_default();
    }
    tokens(&mut clients, order_id).await
}

async fn tokens(clients: &mut Clients, order_id: String) -> Result<Known, HarnessError> {
    let (account_id, page_size, page_token) = (ACCOUNT, 1, String::new());
    let entries = proto::account::v1::ListEntriesRequest {
        account_id,
        page_size,
        page_token: page_token.clone(),
    };
    let entries = clients
        .accounts
        .list_entries(entries)
        .await
        .map_err(HarnessError::call("list entries"))?
        .into_inner();
    let orders = ListOrdersRequest { account_id, page_size, page_token: page_token.clone() };
    let orders = clients.orders[0]
        .list_orders(orders)
        .await
        .map_err(HarnessError::call("list orders"))?
        .into_inner();
    let products = ListProductsRequest { page_size, page_token };
    let products = clients
        .catalog
        .list_products(products)
        .await
        .map_err(HarnessError::call("list products"))?
        .into_inner();
    Ok(Known {
        order_id,
        entries_token: entries.next_page_token,
        orders_token: orders.next_page_token,
        products_token: products.next_page_token,
    })
}

fn pods(cluster: &Cluster) -> impl Iterator<Item = &Pod> {
    cluster.account.iter().chain(&cluster.order)
}

fn resident(cluster: &Cluster) -> Result<BTreeMap<String, u64>, HarnessError> {
    let of = |pod: &Pod| {
        let bytes = resident_bytes(pod.pid()).map_err(|error| HarnessError::Io {
            what: format!("read the memory of {}", pod.name()),
            source: std::io::Error::other(error),
        })?;
        Ok((pod.name().to_owned(), bytes))
    };
    pods(cluster).map(of).collect()
}

async fn look_at_pods(cluster: &mut Cluster, report: &mut Report) -> Result<(), HarnessError> {
    for pod in pods(cluster) {
        match pod.get("/q/metrics").await {
            Some((_, metrics)) if metrics.contains("grpc_server_panics_total") => {
                report.wrong.push(format!("{} panicked", pod.name()));
            }
            Some(_) => {}
            None => report.wrong.push(format!("{} no longer answers", pod.name())),
        }
        let log = std::fs::read_to_string(pod.log());
        let log = log.map_err(HarnessError::io(format!("read the log of {}", pod.name())))?;
        if let Some(line) = log.lines().find(|line| line.contains("panicked at")) {
            report.wrong.push(format!("{}: {line}", pod.name()));
        }
    }
    Ok(())
}
