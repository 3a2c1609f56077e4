//! From JSON to [`ServiceConfig`]: the keys, their rules and their defaults, as the gRFCs give them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::methods::Name;
use super::reader::{ConfigErrors, Node, Problems};
use super::{
    Backoff, Balancing, FailurePercentage, HedgingPolicy, MethodConfig, Methods, OutlierDetection,
    Recovery, RetryPolicy, RetryThrottling, ServiceConfig, SuccessRate,
};
use crate::code::{Code, CodeSet};

/// More attempts than this are cut down to it, for retries and hedging alike (gRFC A6).
const MAX_ATTEMPTS_CAP: u32 = 5;

pub(super) fn service_config(json: &str) -> Result<ServiceConfig, ConfigErrors> {
    let problems = Problems::default();
    let value: Value = match serde_json::from_str(json) {
        Ok(value) => value,
        Err(error) => {
            problems.add("", format!("not JSON: {error}"));
            Value::Object(serde_json::Map::default())
        }
    };
    let root = Node::root(&value, &problems);
    let mut config = ServiceConfig::default();
    if root.expect_object() {
        config.methods = root.get("methodConfig").map(|node| methods(&node)).unwrap_or_default();
        config.throttling = root.get("retryThrottling").and_then(|node| throttling(&node));
        config.health_service = root.get("healthCheckConfig").map(|node| {
            let name = node.get("serviceName").and_then(|name| name.string());
            name.unwrap_or_default().to_owned()
        });
        (config.balancing, config.outlier) = balancing(&root);
    }
    problems.into_result(config)
}

fn methods(list: &Node<'_>) -> Methods {
    let mut methods = Methods::default();
    for entry in list.elements() {
        if !entry.expect_object() {
            continue;
        }
        let config = Arc::new(method_config(&entry));
        for node in entry.get("name").map(|names| names.elements()).unwrap_or_default() {
            let Some(name) = name(&node) else { continue };
            if !methods.insert(&name, Arc::clone(&config)) {
                node.problem("another entry has the same name");
            }
        }
    }
    methods
}

fn name(node: &Node<'_>) -> Option<Name> {
    node.expect_object().then_some(())?;
    let text = |key| node.get(key).map_or(Some(""), |value| value.string());
    match (text("service")?, text("method")?) {
        ("", "") => Some(Name::All),
        ("", _) => {
            node.problem("a method needs its service");
            None
        }
        (service, "") => Some(Name::Service(service.to_owned())),
        (service, method) => Some(Name::Method(service.to_owned(), method.to_owned())),
    }
}

fn method_config(entry: &Node<'_>) -> MethodConfig {
    let recovery = match (entry.get("retryPolicy"), entry.get("hedgingPolicy")) {
        (Some(_), Some(_)) => {
            entry.problem("retryPolicy and hedgingPolicy exclude each other");
            Recovery::None
        }
        (Some(node), None) => retry_policy(&node).map_or(Recovery::None, Recovery::Retry),
        (None, Some(node)) => hedging_policy(&node).map_or(Recovery::None, Recovery::Hedge),
        (None, None) => Recovery::None,
    };
    let bytes = |key| entry.get(key).and_then(|node| node.integer(0, u32::MAX));
    MethodConfig {
        timeout: entry.get("timeout").and_then(|node| node.duration()),
        wait_for_ready: entry.get("waitForReady").and_then(|node| node.boolean()),
        idempotent: entry.get("idempotent").and_then(|node| node.boolean()).unwrap_or(false),
        request_bytes_max: bytes("maxRequestMessageBytes"),
        response_bytes_max: bytes("maxResponseMessageBytes"),
        recovery,
    }
}

fn retry_policy(node: &Node<'_>) -> Option<RetryPolicy> {
    node.expect_object().then_some(())?;
    let max_attempts = node.require("maxAttempts").and_then(|node| node.integer(2, u32::MAX));
    let initial = node.require("initialBackoff").and_then(|node| node.positive_duration());
    let max = node.require("maxBackoff").and_then(|node| node.positive_duration());
    let multiplier = node.require("backoffMultiplier").and_then(|node| positive(&node));
    let retryable = node.require("retryableStatusCodes").and_then(|node| codes(&node));
    let attempt_timeout =
        node.get("perAttemptRecvTimeout").and_then(|node| node.positive_duration());
    if retryable.is_some_and(CodeSet::is_empty) {
        node.problem("retryableStatusCodes must not be empty");
    }
    let (initial, max, multiplier) = (initial?, max?, multiplier?);
    Some(RetryPolicy {
        max_attempts: max_attempts?.min(MAX_ATTEMPTS_CAP),
        backoff: Backoff { initial, max, multiplier },
        retryable: retryable?,
        attempt_timeout,
    })
}

fn hedging_policy(node: &Node<'_>) -> Option<HedgingPolicy> {
    node.expect_object().then_some(())?;
    let max_attempts = node.require("maxAttempts").and_then(|node| node.integer(2, u32::MAX));
    let delay = node.get("hedgingDelay").map_or(Some(Duration::ZERO), |node| node.duration());
    let non_fatal =
        node.get("nonFatalStatusCodes").map_or(Some(CodeSet::default()), |node| codes(&node));
    Some(HedgingPolicy {
        max_attempts: max_attempts?.min(MAX_ATTEMPTS_CAP),
        delay: delay?,
        non_fatal: non_fatal?,
    })
}

fn codes(list: &Node<'_>) -> Option<CodeSet> {
    list.elements().iter().map(code).collect()
}

fn code(node: &Node<'_>) -> Option<Code> {
    if let Some(number) = node.as_code_number() {
        let code = Code::from_number(number);
        if code.is_none() {
            node.problem("no status code has this number");
        }
        return code;
    }
    let code = Code::from_name(node.string()?);
    if code.is_none() {
        node.problem("no status code has this name");
    }
    code
}

fn positive(node: &Node<'_>) -> Option<f64> {
    let number = node.number()?;
    if number <= 0.0 {
        node.problem("must be greater than zero");
        return None;
    }
    Some(number)
}

/// `maxTokens` in (0, 1000]; `tokenRatio` counts to three decimals, the rest is cut off.
fn throttling(node: &Node<'_>) -> Option<RetryThrottling> {
    node.expect_object().then_some(())?;
    let max = node.require("maxTokens").and_then(|node| node.integer(1, 1000));
    let ratio = node.require("tokenRatio").and_then(|ratio| {
        let thousandths = positive(&ratio)? * 1000.0;
        if thousandths < 1.0 {
            ratio.problem("must be at least 0.001");
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "cut off")]
        Some(thousandths.min(1_000_000.0) as u32)
    });
    Some(RetryThrottling { max_millitokens: max? * 1000, ratio_millitokens: ratio? })
}

/// The first known entry of `loadBalancingConfig` counts, else the older `loadBalancingPolicy`.
fn balancing(root: &Node<'_>) -> (Balancing, Option<OutlierDetection>) {
    if let Some(list) = root.get("loadBalancingConfig") {
        let found = policy_of(&list);
        if found.is_none() {
            list.problem("names no policy that this channel knows");
        }
        return found.unwrap_or_default();
    }
    let Some(node) = root.get("loadBalancingPolicy") else { return Default::default() };
    let Some(name) = node.string() else { return Default::default() };
    match name.to_ascii_lowercase().as_str() {
        "pick_first" => (Balancing::PickFirst { shuffle: false }, None),
        "round_robin" => (Balancing::RoundRobin, None),
        "least_request" | "least_request_experimental" => Default::default(),
        _ => {
            node.problem("names no policy that this channel knows");
            Default::default()
        }
    }
}

fn policy_of(list: &Node<'_>) -> Option<(Balancing, Option<OutlierDetection>)> {
    list.elements().iter().find_map(|entry| {
        let key = entry.single_key()?;
        let settings = entry.get(key)?;
        match key {
            "pick_first" => {
                let shuffle = settings.get("shuffleAddressList").and_then(|node| node.boolean());
                Some((Balancing::PickFirst { shuffle: shuffle.unwrap_or(false) }, None))
            }
            "round_robin" => Some((Balancing::RoundRobin, None)),
            "least_request" | "least_request_experimental" => {
                // gRFC A48: at least 2; more than 10 counts as 10.
                let choices = settings.get("choiceCount").and_then(|n| n.integer(2, u32::MAX));
                let choices = choices.unwrap_or(2).min(10) as usize;
                Some((Balancing::LeastRequest { choices }, None))
            }
            "outlier_detection" | "outlier_detection_experimental" => {
                let child = settings.get("childPolicy").and_then(|child| policy_of(&child));
                let (balancing, _) = child.unwrap_or_default();
                Some((balancing, Some(outlier_detection(&settings))))
            }
            _ => None,
        }
    })
}

fn outlier_detection(node: &Node<'_>) -> OutlierDetection {
    let duration = |key, seconds| {
        let given = node.get(key).and_then(|node| node.positive_duration());
        given.unwrap_or(Duration::from_secs(seconds))
    };
    let base_ejection = duration("baseEjectionTime", 30);
    OutlierDetection {
        interval: duration("interval", 10),
        base_ejection,
        max_ejection: duration("maxEjectionTime", 300).max(base_ejection),
        max_ejection_percent: percent(node, "maxEjectionPercent", 10),
        success_rate: node.get("successRateEjection").map(|rule| SuccessRate {
            stdev_factor: count(&rule, "stdevFactor", 1900),
            enforcement: percent(&rule, "enforcementPercentage", 100),
            minimum_hosts: count(&rule, "minimumHosts", 5) as usize,
            request_volume: u64::from(count(&rule, "requestVolume", 100)),
        }),
        failure_percentage: node.get("failurePercentageEjection").map(|rule| FailurePercentage {
            threshold: percent(&rule, "threshold", 85),
            enforcement: percent(&rule, "enforcementPercentage", 100),
            minimum_hosts: count(&rule, "minimumHosts", 5) as usize,
            request_volume: u64::from(count(&rule, "requestVolume", 50)),
        }),
        consecutive_failures: node
            .get("consecutiveFailures")
            .and_then(|failures| failures.integer(1, u32::MAX)),
        blaming: node.get("failureStatusCodes").and_then(|list| codes(&list)).unwrap_or_default(),
    }
}

fn percent(node: &Node<'_>, key: &str, default: u32) -> u32 {
    node.get(key).and_then(|node| node.integer(0, 100)).unwrap_or(default)
}

fn count(node: &Node<'_>, key: &str, default: u32) -> u32 {
    node.get(key).and_then(|node| node.integer(0, u32::MAX)).unwrap_or(default)
}
