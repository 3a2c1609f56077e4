//! One line of the audit trail. Pure.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use serde::Serializer;
use serde::ser::SerializeMap;
use serde_json::Value;

use crate::auth::Principal;

/// A longer one is cut down to what is known without its handler: no call needs more.
const BYTES_MAX: usize = 256 * 1024;

/// What a line says. The handler's facts stand beside the fixed names, in the order in which they were noted.
#[derive(Clone, Debug)]
pub(super) struct Line<'call> {
    pub(super) at: SystemTime,
    /// `None`: the caller was not recognised.
    pub(super) principal: Option<&'call Principal>,
    pub(super) peer: SocketAddr,
    pub(super) method: &'call str,
    pub(super) code: &'call str,
    pub(super) reason: Option<&'call str>,
    pub(super) trace_id: Option<&'call str>,
    pub(super) took: Duration,
    pub(super) facts: &'call [(&'static str, Value)],
}

impl Line<'_> {
    /// JSON and a newline. The first names are those of a JSON log record, so that a log pipeline routes by `target`.
    pub(super) fn to_json(&self) -> Vec<u8> {
        let whole = self.render(self.facts);
        if whole.len() <= BYTES_MAX { whole } else { self.render(&[("truncated", true.into())]) }
    }

    fn render(&self, facts: &[(&'static str, Value)]) -> Vec<u8> {
        let mut json = Vec::with_capacity(512);
        let mut serializer = serde_json::Serializer::new(&mut json);
        self.write(&mut serializer, facts).expect("text and numbers serialise into memory");
        json.push(b'\n');
        json
    }

    fn write<S: Serializer>(
        &self,
        serializer: S,
        facts: &[(&'static str, Value)],
    ) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let at = humantime::format_rfc3339_micros(self.at).to_string();
        map.serialize_entry("timestamp", &at)?;
        map.serialize_entry("level", "INFO")?;
        map.serialize_entry("target", "audit")?;
        map.serialize_entry("method", self.method)?;
        map.serialize_entry("code", self.code)?;
        if let Some(reason) = self.reason {
            map.serialize_entry("reason", reason)?;
        }
        if let Some(principal) = self.principal {
            map.serialize_entry("principal", principal.id())?;
            map.serialize_entry("credential", principal.kind().name())?;
        }
        map.serialize_entry("peer", &self.peer)?;
        for (name, value) in facts {
            map.serialize_entry(name, value)?;
        }
        if let Some(trace_id) = self.trace_id {
            map.serialize_entry("trace_id", trace_id)?;
        }
        let took_us = u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX);
        map.serialize_entry("took_us", &took_us)?;
        map.end()
    }
}

/// The line that stands for those that were lost.
pub(super) fn gap(at: SystemTime, lost: u64) -> Vec<u8> {
    let at = humantime::format_rfc3339_micros(at).to_string();
    let line = serde_json::json!({
        "timestamp": at, "level": "WARN", "target": "audit", "lines_lost": lost,
    });
    let mut json = line.to_string().into_bytes();
    json.push(b'\n');
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line<'call>(facts: &'call [(&'static str, Value)]) -> Line<'call> {
        Line {
            at: SystemTime::UNIX_EPOCH + Duration::from_micros(1_500_000),
            principal: None,
            peer: "10.0.0.7:4711".parse().unwrap(),
            method: "order.v1.OrderService/PlaceOrder",
            code: "FAILED_PRECONDITION",
            reason: Some("OUT_OF_STOCK"),
            trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736"),
            took: Duration::from_micros(812),
            facts,
        }
    }

    #[test]
    fn a_line_says_who_did_what_and_what_came_of_it() {
        let facts = [("account_id", Value::from(1)), ("idempotency_key", Value::from("k1"))];
        let anonymous = Principal::anonymous();
        let line = Line { principal: Some(&anonymous), ..line(&facts) };
        let json = String::from_utf8(line.to_json()).unwrap();
        assert_eq!(
            json,
            r#"{"timestamp":"1970-01-01T00:00:01.500000Z","level":"INFO","target":"audit","method":"order.v1.OrderService/PlaceOrder","code":"FAILED_PRECONDITION","reason":"OUT_OF_STOCK","principal":"anonymous","credential":"anonymous","peer":"10.0.0.7:4711","account_id":1,"idempotency_key":"k1","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","took_us":812}
"#
        );
    }

    #[test]
    fn text_of_a_caller_cannot_forge_a_line() {
        let facts =
            [("name", Value::from("brick\"}\n{\"target\":\"audit\",\"code\":\"OK\"}\u{1b}[2J"))];
        let json = String::from_utf8(line(&facts).to_json()).unwrap();
        assert_eq!(json.matches('\n').count(), 1, "{json}");
        assert!(json.chars().all(|c| c == '\n' || !c.is_control()), "{json}");
        let read: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read["code"], "FAILED_PRECONDITION");
    }

    #[test]
    fn a_line_has_a_bound_and_says_that_it_was_cut() {
        let facts = [("commands", Value::from("x".repeat(BYTES_MAX)))];
        let json = line(&facts).to_json();
        assert!(json.len() < 1024);
        let read: Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(
            (&read["truncated"], &read["code"]),
            (&true.into(), &"FAILED_PRECONDITION".into())
        );
    }
}
