//! Addresses of Redis, as nobody would write them.

use fuzz::Fuzz;
use order_service::guard::RedisAddress;

#[test]
fn every_text_is_an_address_of_redis_or_is_refused_without_being_repeated() {
    let corpus = [
        "redis://:hidden@host:6379/0",
        "rediss://user:hidden@[::1]:6380/1#insecure",
        "redis+unix:///run/redis.sock?db=1&pass=hidden",
        "redis://host?protocol=resp3",
        "valkey://host",
    ];
    let words = [
        "redis://",
        "rediss://",
        "unix://",
        "@",
        ":",
        "%",
        "#insecure",
        "?db=",
        "&user=",
        "[",
        "]",
    ];
    Fuzz::new("Redis URL", corpus).dictionary(words).run_text(|text| {
        text.parse::<RedisAddress>()
            .map_err(|error| assert!(!error.to_string().contains("hidden")))
            .is_ok()
    });
}
