//! What a metrics recorder is told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use client::Code;
use http_body::Frame;
use http_body_util::BodyExt;
use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};

use crate::network::{Network, Reply, address};
use crate::sizes::converse;
use crate::{call, call_within, channel};

const RETRIED: &str = r#"{"methodConfig": [{
    "name": [{"service": "test.Service", "method": "Method"}], "retryPolicy": {
        "maxAttempts": 3, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"]}}]}"#;

/// What is recorded, by name and labels: how often, and all values together.
#[derive(Clone, Default)]
struct Recorded(Arc<Mutex<BTreeMap<String, (u64, f64)>>>);

/// One counter or histogram.
struct Meter {
    recorded: Recorded,
    name: String,
}

impl Recorded {
    fn meter(&self, key: &Key) -> Arc<Meter> {
        let labels = key.labels().filter(|label| label.key() != "grpc.target");
        let labels: String =
            labels.map(|label| format!(" {}={}", label.key(), label.value())).collect();
        Arc::new(Meter { recorded: self.clone(), name: format!("{}{labels}", key.name()) })
    }

    /// Everything recorded since this was asked last, as `name label=value …` and how often. Sizes
    /// are told by [`Self::take_sizes`].
    fn take(&self) -> BTreeMap<String, u64> {
        let all = std::mem::take(&mut *self.0.lock().unwrap());
        let others = all.into_iter().filter(|(name, _)| !name.contains("message_size"));
        others.map(|(name, (times, _))| (name, times)).collect()
    }

    /// As [`Self::take`] for sizes of messages, with how many bytes they were together.
    fn take_sizes(&self) -> Vec<(String, u64, f64)> {
        let all = std::mem::take(&mut *self.0.lock().unwrap());
        let sizes = all.into_iter().filter(|(name, _)| name.contains("message_size"));
        sizes.map(|(name, (times, bytes))| (name, times, bytes)).collect()
    }
}

impl Meter {
    fn add(&self, count: u64, value: f64) {
        let mut recorded = self.recorded.0.lock().unwrap();
        let (times, sum) = recorded.entry(self.name.clone()).or_default();
        (*times, *sum) = (*times + count, *sum + value);
    }
}

impl CounterFn for Meter {
    fn increment(&self, count: u64) {
        self.add(count, 0.0);
    }

    fn absolute(&self, _count: u64) {
        unreachable!("the channel only counts up");
    }
}

impl HistogramFn for Meter {
    fn record(&self, value: f64) {
        self.add(1, value);
    }
}

impl Recorder for Recorded {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.meter(key))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.meter(key))
    }
}

fn expected(lines: &[(&str, u64)]) -> BTreeMap<String, u64> {
    lines.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[tokio::test(start_paused = true)]
async fn attempts_calls_retries_and_connections_are_told_by_their_names_of_a66_and_a96() {
    let recorded = Recorded::default();
    let _installed = metrics::set_default_local_recorder(&recorded);
    let network = Network::default();
    network.serve(address(1), |asked| match asked.before {
        0 => Reply::Status(14, Duration::ZERO),
        1 => Reply::Good(Duration::ZERO),
        _ => Reply::Good(Duration::from_secs(60)),
    });
    let channel = channel(&network, RETRIED);
    assert_eq!(call(&channel).await.unwrap(), Code::Ok);
    let told = [
        ("grpc.client.attempt.duration grpc.method=test.Service/Method grpc.status=OK", 1),
        ("grpc.client.attempt.duration grpc.method=test.Service/Method grpc.status=UNAVAILABLE", 1),
        ("grpc.client.attempt.failures class=status", 1),
        ("grpc.client.attempt.started grpc.method=test.Service/Method", 2),
        ("grpc.client.call.duration grpc.method=test.Service/Method grpc.status=OK", 1),
        ("grpc.client.call.retries grpc.method=test.Service/Method", 1),
        ("grpc.client.call.retry_delay grpc.method=test.Service/Method", 1),
        ("grpc.client.connections event=connected", 1),
    ];
    assert_eq!(recorded.take(), expected(&told));

    let late = call_within(&channel, Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
    let left = tokio::time::timeout(Duration::from_secs(1), call(&channel)).await;
    assert!(left.is_err());
    let told = [
        ("grpc.client.attempt.duration grpc.method=test.Service/Method grpc.status=CANCELLED", 1),
        (
            "grpc.client.attempt.duration grpc.method=test.Service/Method grpc.status=DEADLINE_EXCEEDED",
            1,
        ),
        ("grpc.client.attempt.started grpc.method=test.Service/Method", 2),
        ("grpc.client.call.duration grpc.method=test.Service/Method grpc.status=CANCELLED", 1),
        (
            "grpc.client.call.duration grpc.method=test.Service/Method grpc.status=DEADLINE_EXCEEDED",
            1,
        ),
    ];
    assert_eq!(recorded.take(), expected(&told));
}

#[tokio::test(start_paused = true)]
async fn methods_that_the_service_config_does_not_name_share_one_label() {
    let recorded = Recorded::default();
    let _installed = metrics::set_default_local_recorder(&recorded);
    let network = Network::default();
    network.serve(address(1), |_| Reply::Good(Duration::ZERO));
    let channel = channel(&network, "{}");
    call(&channel).await.unwrap();
    assert_eq!(recorded.take()["grpc.client.attempt.started grpc.method=other"], 1);
}

/// The sizes told for this method, as (direction, status, attempts, bytes).
fn sizes(told: &[(&str, &str, u64, f64)]) -> Vec<(String, u64, f64)> {
    let size = |(way, status, times, bytes): &(&str, &str, u64, f64)| {
        let name = format!("grpc.client.attempt.{way}_total_compressed_message_size");
        (format!("{name} grpc.method=test.Service/Method grpc.status={status}"), *times, *bytes)
    };
    told.iter().map(size).collect()
}

#[tokio::test(start_paused = true)]
async fn each_attempt_tells_the_bytes_of_its_messages_without_their_prefixes() {
    let recorded = Recorded::default();
    let _installed = metrics::set_default_local_recorder(&recorded);
    let network = Network::default();
    network.serve(address(1), |asked| match asked.before {
        0 => Reply::Status(14, Duration::ZERO),
        1 => Reply::Good(Duration::ZERO),
        2 => Reply::Good(Duration::from_secs(60)),
        _ => Reply::Echo,
    });
    let channel = channel(&network, RETRIED);
    assert_eq!(call(&channel).await.unwrap(), Code::Ok);
    let told = [
        ("rcvd", "OK", 1, 2.0),
        ("rcvd", "UNAVAILABLE", 1, 0.0),
        ("sent", "OK", 1, 5.0),
        ("sent", "UNAVAILABLE", 1, 5.0),
    ];
    assert_eq!(recorded.take_sizes(), sizes(&told));

    call_within(&channel, Duration::from_secs(1)).await.unwrap_err();
    let told = [("rcvd", "DEADLINE_EXCEEDED", 1, 0.0), ("sent", "DEADLINE_EXCEEDED", 1, 5.0)];
    assert_eq!(recorded.take_sizes(), sizes(&told));

    // Most of this request is said after its response has begun.
    let (say, response) = converse(&channel).await;
    let echoed = tokio::spawn(response.into_body().collect());
    for message in [&b"\0\0\0\0\x04four"[..], b"\0\0\0\0\x05fi", b"ves\0\0\0\0\0"] {
        say.send(Ok(Frame::data(Bytes::from_static(message)))).await.unwrap();
    }
    drop(say);
    echoed.await.unwrap().unwrap();
    assert_eq!(recorded.take_sizes(), sizes(&[("rcvd", "OK", 1, 9.0), ("sent", "OK", 1, 9.0)]));
}
