use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::code::Code;

/// Document A's policy as grpc-java's maps spell it, numbers as doubles.
const DOCUMENT_A: &str = r#"{"methodConfig": [{
    "name": [{"service": "account.v1.AccountService"}],
    "retryPolicy": {
        "maxAttempts": 3.0, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2.0,
        "retryableStatusCodes": ["UNAVAILABLE", "INTERNAL", "UNKNOWN"]
    }
}]}"#;

fn problems(json: &str) -> Vec<String> {
    let errors = ServiceConfig::parse(json).unwrap_err();
    errors.0.iter().map(ToString::to_string).collect()
}

#[test]
fn document_as_map_is_read_as_it_is() {
    let config = ServiceConfig::parse(DOCUMENT_A).unwrap();
    let method = config.methods.get("/account.v1.AccountService/Reserve");
    let Recovery::Retry(policy) = &method.recovery else { panic!("no retry policy: {method:?}") };
    assert_eq!(policy.max_attempts, 3);
    assert_eq!(policy.backoff.initial, Duration::from_millis(100));
    assert_eq!(policy.backoff.max, Duration::from_secs(1));
    assert!((policy.backoff.multiplier - 2.0).abs() < f64::EPSILON);
    let codes = [Code::Unavailable, Code::Internal, Code::Unknown];
    assert_eq!(policy.retryable, CodeSet::from_iter(codes));
    assert!(!method.idempotent);
    assert_eq!(config.methods.get("/other.Service/Method").recovery, Recovery::None);
}

#[test]
fn the_most_specific_name_wins() {
    let json = r#"{"methodConfig": [
        {"name": [{}], "timeout": "1s"},
        {"name": [{"service": "s"}], "timeout": "2s"},
        {"name": [{"service": "s", "method": "m"}], "timeout": "3s"}
    ]}"#;
    let config = ServiceConfig::parse(json).unwrap();
    let timeout_s = |path| config.methods.get(path).timeout.unwrap().as_secs();
    let found = ["/s/m", "/s/other", "/t/m", "/", "", "s", "/s/"].map(timeout_s);
    assert_eq!(found, [3, 2, 1, 1, 1, 1, 2]);
}

#[test]
fn all_problems_are_told_at_once_each_with_its_place() {
    let json = r#"{
        "methodConfig": [
            {"name": [{"method": "m"}], "retryPolicy": {"maxAttempts": 1, "initialBackoff": "0s",
                "maxBackoff": "1", "backoffMultiplier": -1, "retryableStatusCodes": []}},
            {"name": [{}], "timeout": 5},
            {"name": [{}], "retryPolicy": {}, "hedgingPolicy": {}},
            {"name": [{"service": "s"}], "hedgingPolicy": {"maxAttempts": 2.5, "nonFatalStatusCodes": ["NOPE", 99]}},
            {"name": [{"service": "t"}], "maxRequestMessageBytes": -1, "maxResponseMessageBytes": 4294967296}
        ],
        "retryThrottling": {"maxTokens": 1001, "tokenRatio": 0},
        "loadBalancingConfig": [{"made_up": {}}]
    }"#;
    let expected = [
        "methodConfig[0].retryPolicy.maxAttempts: must be at least 2",
        "methodConfig[0].retryPolicy.initialBackoff: must be greater than zero",
        "methodConfig[0].retryPolicy.maxBackoff: must be a duration such as \"0.1s\"",
        "methodConfig[0].retryPolicy.backoffMultiplier: must be greater than zero",
        "methodConfig[0].retryPolicy: retryableStatusCodes must not be empty",
        "methodConfig[0].name[0]: a method needs its service",
        "methodConfig[1].timeout: must be a duration such as \"0.1s\"",
        "methodConfig[2]: retryPolicy and hedgingPolicy exclude each other",
        "methodConfig[2].name[0]: another entry has the same name",
        "methodConfig[3].hedgingPolicy.maxAttempts: must be a whole number",
        "methodConfig[3].hedgingPolicy.nonFatalStatusCodes[0]: no status code has this name",
        "methodConfig[4].maxRequestMessageBytes: must be at least 0",
        "methodConfig[4].maxResponseMessageBytes: must be at most 4294967295",
        "retryThrottling.maxTokens: must be at most 1000",
        "retryThrottling.tokenRatio: must be greater than zero",
        "loadBalancingConfig: names no policy that this channel knows",
    ];
    assert_eq!(problems(json), expected);
}

#[test]
fn what_is_missing_is_named() {
    let json = r#"{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 2}}]}"#;
    let at = "methodConfig[0].retryPolicy: ";
    let keys = ["initialBackoff", "maxBackoff", "backoffMultiplier", "retryableStatusCodes"];
    assert_eq!(problems(json), keys.map(|key| format!("{at}{key} is missing")));
}

#[test]
fn attempts_are_cut_down_to_five_and_codes_have_any_case_or_a_number() {
    let json = r#"{"methodConfig": [{"name": [{}], "retryPolicy": {
        "maxAttempts": 50, "initialBackoff": "1s", "maxBackoff": "1s", "backoffMultiplier": "1.5",
        "retryableStatusCodes": ["unavailable", "Aborted", 13], "perAttemptRecvTimeout": "2s"}}]}"#;
    let config = ServiceConfig::parse(json).unwrap();
    let Recovery::Retry(policy) = &config.methods.get("/a/b").recovery else { panic!("no policy") };
    assert_eq!((policy.max_attempts, policy.attempt_timeout), (5, Some(Duration::from_secs(2))));
    let codes = [Code::Unavailable, Code::Aborted, Code::Internal];
    assert_eq!(policy.retryable, CodeSet::from_iter(codes));
}

#[test]
fn message_sizes_are_numbers_or_their_text_and_zero_is_a_size() {
    let json = r#"{"methodConfig": [
        {"name": [{}], "maxRequestMessageBytes": 0, "maxResponseMessageBytes": "1024"}]}"#;
    let config = ServiceConfig::parse(json).unwrap();
    let method = config.methods.get("/a/b");
    assert_eq!((method.request_bytes_max, method.response_bytes_max), (Some(0), Some(1024)));
    assert_eq!(MethodConfig::default().request_bytes_max, None);
}

#[test]
fn balancing_takes_the_first_policy_that_is_known() {
    let balancing = |json: &str| {
        ServiceConfig::parse(&format!(r#"{{"loadBalancingConfig": {json}}}"#)).unwrap().balancing
    };
    assert_eq!(balancing(r#"[{"xds": {}}, {"round_robin": {}}]"#), Balancing::RoundRobin);
    let many = r#"[{"least_request_experimental": {"choiceCount": 99}}]"#;
    assert_eq!(balancing(many), Balancing::LeastRequest { choices: 10 });
    let shuffled = r#"[{"pick_first": {"shuffleAddressList": true}}]"#;
    assert_eq!(balancing(shuffled), Balancing::PickFirst { shuffle: true });
    let older = ServiceConfig::parse(r#"{"loadBalancingPolicy": "ROUND_ROBIN"}"#).unwrap();
    assert_eq!(older.balancing, Balancing::RoundRobin);
    assert_eq!(ServiceConfig::parse("{}").unwrap().balancing, Balancing::default());
}

#[test]
fn what_is_no_object_is_refused() {
    for bad in ["", "nonsense", "[]", "3", r#""text""#, "null", "{", r#"{"methodConfig": {}}"#] {
        assert!(ServiceConfig::parse(bad).is_err(), "{bad}");
    }
}

/// Any JSON, with the keys that mean something in the likely places.
fn json() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    const KEYS: [&str; 30] = [
        "methodConfig",
        "name",
        "service",
        "method",
        "timeout",
        "waitForReady",
        "idempotent",
        "maxRequestMessageBytes",
        "maxResponseMessageBytes",
        "retryPolicy",
        "hedgingPolicy",
        "maxAttempts",
        "initialBackoff",
        "maxBackoff",
        "backoffMultiplier",
        "retryableStatusCodes",
        "hedgingDelay",
        "nonFatalStatusCodes",
        "retryThrottling",
        "maxTokens",
        "tokenRatio",
        "loadBalancingConfig",
        "pick_first",
        "round_robin",
        "outlier_detection",
        "consecutiveFailures",
        "failureStatusCodes",
        "childPolicy",
        "healthCheckConfig",
        "serviceName",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[0-9]{0,25}(\\.[0-9]{0,12})?s?".prop_map(Value::from),
        prop::sample::select(vec!["UNAVAILABLE", "1s", "0.1s", "round_robin"])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        let key = prop::sample::select(KEYS.to_vec()).prop_map(str::to_owned);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_json_makes_the_parser_panic_and_what_it_accepts_keeps_the_rules(value in json()) {
        if let Ok(config) = ServiceConfig::parse(&value.to_string()) {
            let method = config.methods.get("/a/b");
            if let Recovery::Retry(policy) = &method.recovery {
                prop_assert!((2..=5).contains(&policy.max_attempts) && !policy.retryable.is_empty());
                prop_assert!(!policy.backoff.initial.is_zero() && policy.backoff.multiplier > 0.0);
            }
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text: String) {
        let _ = ServiceConfig::parse(&text);
    }
}
