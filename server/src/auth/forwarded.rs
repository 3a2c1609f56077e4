//! The caller's name in a header that a proxy set, which has checked the caller's certificate in its stead.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use thiserror::Error;

use super::certificate::spiffe;
use super::config::Forwarded;

/// Envoy's header, whose form is its own.
const ENVOYS: &str = "x-forwarded-client-cert";

/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 2_048;

/// A header that a trusted proxy set and that names nobody.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the trusted proxy's header names no caller")]
pub(crate) struct NobodyForwarded;

impl Forwarded {
    /// The name; `None` where there is no such header, or where the peer is not one to be believed.
    pub(super) fn name(
        &self,
        peer: Option<IpAddr>,
        headers: &HeaderMap,
    ) -> Option<Result<Arc<str>, NobodyForwarded>> {
        let peer = peer?.to_canonical();
        if !self.peers.iter().any(|network| network.contains(&peer)) {
            return None;
        }

        let mut lines = headers.get_all(&self.header).iter();
        // What was there before the proxy's own word may be the caller's: the last counts.
        let last = lines.next_back()?;
        let is_envoys = self.header == ENVOYS;
        let is_repeated = !is_envoys && lines.next().is_some();
        let name = last.to_str().ok().filter(|_| !is_repeated);
        let name = name.and_then(|text| if is_envoys { last_uri(text) } else { bare(text) });
        Some(name.ok_or(NobodyForwarded))
    }
}

/// The URI in the last element: proxies append theirs, and this one's is the peer that it spoke with.
fn last_uri(header: &str) -> Option<Arc<str>> {
    let element = split(header, ',')?.pop()?;
    let mut uris = split(element, ';')?.into_iter().filter_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        key.eq_ignore_ascii_case("uri").then_some(value)
    });
    match (uris.next(), uris.next()) {
        (Some(uri), None) => spiffe(unquoted(uri)).ok(),
        (None, _) | (Some(_), Some(_)) => None,
    }
}

fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value)
}

/// The parts between separators that are not within quotes; `None` where a quote is not closed.
fn split(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ if character == separator && !is_quoted => {
                parts.push(&text[start..at]);
                start = at + character.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (!is_quoted).then_some(parts)
}

fn bare(text: &str) -> Option<Arc<str>> {
    let is_good =
        (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    is_good.then(|| text.into())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const PROXY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 2, 3));

    fn said(header: &'static str, peer: IpAddr, lines: &[&str]) -> Option<Option<String>> {
        let header = HeaderName::from_static(header);
        let lines = lines.iter().map(|line| (header.clone(), HeaderValue::from_str(line).unwrap()));
        let headers: HeaderMap = lines.collect();
        let forwarded = Forwarded { header, peers: vec!["10.0.0.0/8".parse().unwrap()] };
        forwarded.name(Some(peer), &headers).map(|name| name.ok().map(|name| name.to_string()))
    }

    fn named(name: &str) -> Option<Option<String>> {
        Some(Some(name.to_owned()))
    }

    #[test]
    fn a_stranger_with_the_header_is_not_believed() {
        let line = "URI=spiffe://holdfast/order-service";
        assert_eq!(said(ENVOYS, PROXY, &[line]), named("spiffe://holdfast/order-service"));
        for stranger in ["192.0.2.7", "::1", "::ffff:192.0.2.7"] {
            assert_eq!(said(ENVOYS, stranger.parse().unwrap(), &[line]), None, "{stranger}");
        }
        assert!(said(ENVOYS, "::ffff:10.1.2.3".parse().unwrap(), &[line]).is_some());
    }

    #[test]
    fn of_envoys_elements_the_last_counts_however_the_earlier_ones_are_quoted() {
        for line in [
            r#"By=spiffe://x/by;Hash=7;Subject="CN=a,O=b;URI=spiffe://x/no";URI=spiffe://x/a"#,
            r#"URI=spiffe://x/forged,By=spiffe://x/by;URI=spiffe://x/a"#,
            r#"Subject="a\"b,URI=spiffe://x/no";URI="spiffe://x/a""#,
            r#"uri=spiffe://x/a"#,
        ] {
            assert_eq!(said(ENVOYS, PROXY, &[line]), named("spiffe://x/a"), "{line}");
        }
        let lines = ["URI=spiffe://x/forged", "URI=spiffe://x/a"];
        assert_eq!(said(ENVOYS, PROXY, &lines), named("spiffe://x/a"));
    }

    #[test]
    fn a_header_that_names_nobody_is_no_absent_header() {
        for line in [
            "",
            "By=spiffe://x/by",
            "URI=",
            "URI=https://x/a",
            "URI=spiffe://x/a;URI=spiffe://x/b",
            r#"URI=spiffe://x/a;Subject=""#,
            "URI=spiffe://x/a,",
        ] {
            assert_eq!(said(ENVOYS, PROXY, &[line]), Some(None), "{line}");
        }
        assert_eq!(said(ENVOYS, PROXY, &[]), None);
    }

    #[test]
    fn other_headers_hold_the_name_alone_and_once() {
        const LINKERDS: &str = "l5d-client-id";
        let name = "order.shop.serviceaccount.identity.linkerd.cluster.local";
        assert_eq!(said(LINKERDS, PROXY, &[name]), named(name));
        assert_eq!(said(LINKERDS, PROXY, &[name, "other"]), Some(None));
        assert_eq!(said(LINKERDS, PROXY, &[""]), Some(None));
        assert_eq!(said(LINKERDS, PROXY, &["two words"]), Some(None));
    }
}
