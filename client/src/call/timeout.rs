//! `grpc-timeout`: a time left, as at most eight digits and a unit.

use std::time::Duration;

use http::HeaderValue;

pub(super) const GRPC_TIMEOUT: &str = "grpc-timeout";

const DIGITS_MAX: u64 = 99_999_999;

/// The header's value; absent when it is no valid timeout.
pub(super) fn parse(value: &HeaderValue) -> Option<Duration> {
    let (digits, unit) = value.to_str().ok()?.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// The finest unit that the time fits into; a longer time than fits is cut down.
pub(super) fn format(left: Duration) -> HeaderValue {
    let units = [(left.as_nanos(), 'n'), (left.as_micros(), 'u'), (left.as_millis(), 'm')];
    let fits = |(number, _): &(u128, char)| *number <= u128::from(DIGITS_MAX);
    let (number, unit) =
        units.into_iter().find(fits).unwrap_or((u128::from(left.as_secs().min(DIGITS_MAX)), 'S'));
    HeaderValue::try_from(format!("{number}{unit}")).expect("digits and a letter are a value")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_the_protocol_forbids_is_no_timeout() {
        for bad in ["", "S", "1", "1s", "123456789S", "-1S", "1.5S", " 1S", "+1S", "1é"] {
            let value = HeaderValue::from_bytes(bad.as_bytes()).unwrap();
            assert_eq!(parse(&value), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn formatting_never_adds_time_and_loses_less_than_a_hundred_thousandth(nanos in 0u64..1_000_000_000_000_000) {
            let left = Duration::from_nanos(nanos);
            let read = parse(&format(left)).unwrap();
            prop_assert!(read <= left);
            prop_assert!(left - read <= left / 99_999 + Duration::from_nanos(1));
        }

        #[test]
        fn any_header_is_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let _ = parse(&value);
            }
        }
    }
}
