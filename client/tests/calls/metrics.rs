//! What a metrics recorder is told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::Code;
use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};

use crate::network::{Network, Reply, address};
use crate::{call, call_within, channel};

/// Counts what is recorded, by name and labels.
#[derive(Clone, Default)]
struct Recorded(Arc<Mutex<BTreeMap<String, u64>>>);

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

    /// Everything recorded since this was asked last, as `name label=value …` and how often.
    fn take(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Meter {
    fn add(&self, count: u64) {
        *self.recorded.0.lock().unwrap().entry(self.name.clone()).or_default() += count;
    }
}

impl CounterFn for Meter {
    fn increment(&self, count: u64) {
        self.add(count);
    }

    fn absolute(&self, _count: u64) {
        unreachable!("the channel only counts up");
    }
}

impl HistogramFn for Meter {
    fn record(&self, _value: f64) {
        self.add(1);
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
    let config = r#"{"methodConfig": [{
        "name": [{"service": "test.Service", "method": "Method"}], "retryPolicy": {
            "maxAttempts": 3, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"]}}]}"#;
    let channel = channel(&network, config);
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
