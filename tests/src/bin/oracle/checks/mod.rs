//! What our channel and a foreign server have to agree on.

mod errors;
mod flow;
mod kinds;
mod leaving;
mod times;

use std::fmt::Debug;

use client::Channel;
use futures_util::future::BoxFuture;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Status};

use crate::foreign::{Foreign, Language};
use crate::say::{Oracle, Say};
use crate::tools::Tools;

/// What was seen, in words, or what was wrong.
pub(crate) type Verdict = Result<String, String>;

pub(crate) type Check = for<'a> fn(&'a Bench<'a>) -> BoxFuture<'a, Verdict>;

/// All checks, by name.
pub(crate) const CHECKS: [(&str, Check); 19] = [
    ("unary", |bench| Box::pin(kinds::unary(bench))),
    ("client stream", |bench| Box::pin(kinds::client_stream(bench))),
    ("server stream", |bench| Box::pin(kinds::server_stream(bench))),
    ("both streams", |bench| Box::pin(kinds::both_streams(bench))),
    ("metadata, text and binary", |bench| Box::pin(kinds::metadata(bench))),
    ("every status code, trailers only", |bench| Box::pin(errors::every_code(bench))),
    ("a message in any script", |bench| Box::pin(errors::message(bench))),
    ("a status after answers", |bench| Box::pin(errors::after_answers(bench))),
    ("a method that is not there", |bench| Box::pin(errors::unknown_method(bench))),
    ("unknown compression", |bench| Box::pin(errors::unknown_compression(bench))),
    ("compression not asked for", |bench| Box::pin(errors::unasked_compression(bench))),
    ("a large message", |bench| Box::pin(flow::large_message(bench))),
    ("a long stream beyond all windows", |bench| Box::pin(flow::long_stream(bench))),
    ("a message over a server's limit", |bench| Box::pin(flow::over_the_limit(bench))),
    ("deadline", |bench| Box::pin(times::deadline(bench))),
    ("retries with pushback", |bench| Box::pin(times::pushback(bench))),
    ("pushback that forbids", |bench| Box::pin(times::never(bench))),
    ("GOAWAY lets streams finish", |bench| Box::pin(leaving::open_stream(bench))),
    ("two servers replaced under load", |bench| Box::pin(leaving::replaced(bench))),
];

/// One foreign server and our channel to it.
pub(crate) struct Bench<'a> {
    pub(crate) tools: &'a Tools,
    pub(crate) language: Language,
    seed: u64,
    /// Stops with the bench.
    _server: Foreign,
    pub(crate) oracle: Oracle,
}

/// Four attempts; a health service is asked for that neither server has, which must count as healthy.
const CONFIG: &str = r#"{
    "healthCheckConfig": {"serviceName": "oracle.Oracle"},
    "methodConfig": [{
        "name": [{"service": "oracle.Oracle"}],
        "idempotent": true,
        "retryPolicy": {
            "maxAttempts": 4, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"]
        }
    }]
}"#;

impl<'a> Bench<'a> {
    pub(crate) async fn start(
        tools: &'a Tools,
        language: Language,
        seed: u64,
    ) -> Result<Self, String> {
        let server = Foreign::start(tools, language).await?;
        let oracle = connect(&[&server], CONFIG, seed).await?;
        Ok(Self { tools, language, seed, _server: server, oracle })
    }
}

/// Our channel to these servers, all of them ready.
async fn connect(servers: &[&Foreign], config: &str, seed: u64) -> Result<Oracle, String> {
    let list: Vec<String> = servers.iter().map(|server| server.address.to_string()).collect();
    let builder = Channel::builder(format!("static:///{}", list.join(",")));
    let built = builder.service_config(config).seed(seed).build();
    let channel = built.map_err(|error| error.to_string())?;
    channel.until(|stats| stats.ready() == servers.len()).await;
    Ok(Oracle(channel))
}

fn same<T: PartialEq + Debug>(what: &str, got: T, wanted: T) -> Result<(), String> {
    let is = got == wanted;
    is.then_some(()).ok_or_else(|| format!("{what}: {got:?} instead of {wanted:?}"))
}

/// A call that must go well.
fn well<T>(what: &str, result: Result<T, Status>) -> Result<T, String> {
    result.map_err(|status| format!("{what}: {status}"))
}

/// A call that must fail with this code.
fn ill<T>(what: &str, result: Result<T, Status>, code: Code) -> Result<Status, String> {
    match result {
        Ok(_) => Err(format!("{what}: OK instead of {code:?}")),
        Err(status) if status.code() == code => Ok(status),
        Err(status) => Err(format!("{what}: {status} instead of {code:?}")),
    }
}

fn text<'a>(map: &'a MetadataMap, key: &str) -> Result<&'a str, String> {
    map.get(key).and_then(|value| value.to_str().ok()).ok_or_else(|| format!("{key} is missing"))
}

fn request(payload: &str) -> Request<Say> {
    Request::new(Say::bytes(payload))
}
