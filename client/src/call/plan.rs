//! What stays the same over all attempts of a call, and the request that each attempt sends.

use std::sync::Arc;

use http::header::USER_AGENT;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};
use tokio::time::Instant;

use super::options::CallOptions;
use super::timeout::{self, GRPC_TIMEOUT};
use crate::config::MethodConfig;
use crate::shared::Shared;

const PREVIOUS_ATTEMPTS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");

pub(super) struct Plan {
    pub(super) config: Arc<MethodConfig>,
    pub(super) deadline: Option<Instant>,
    pub(super) wait_for_ready: bool,
    uri: Uri,
    headers: HeaderMap,
}

impl Plan {
    pub(super) fn new(shared: &Shared, parts: Parts) -> Self {
        let Parts { uri, mut headers, extensions, .. } = parts;
        let config = Arc::clone(shared.methods.get(uri.path()));
        let options = extensions.get::<CallOptions>().copied().unwrap_or_default();
        let asked = headers.remove(GRPC_TIMEOUT).as_ref().and_then(timeout::parse);
        let now = Instant::now();
        let timeouts = [asked, config.timeout].into_iter().flatten();
        // A timeout beyond what the clock can count is none.
        let deadlines = timeouts.filter_map(|timeout| now.checked_add(timeout));
        let deadline = deadlines.chain(options.deadline).min();
        let wait_for_ready =
            options.wait_for_ready.or(config.wait_for_ready).unwrap_or(shared.wait_for_ready);
        headers.entry(USER_AGENT).or_insert_with(|| shared.setup.user_agent.clone());
        if let Some(token) = &shared.setup.bearer {
            token.put_on(&mut headers);
        }
        let uri = complete(shared, &uri);
        Self { config, deadline, wait_for_ready, uri, headers }
    }

    /// The request of one attempt, with the time that is left for it.
    pub(super) fn request(&self, previous_attempts: u32) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        if let Some(deadline) = self.deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            headers.insert(GRPC_TIMEOUT, timeout::format(left));
        }
        if previous_attempts > 0 {
            headers.insert(PREVIOUS_ATTEMPTS, HeaderValue::from(previous_attempts));
        }
        request
    }
}

/// The request's path at the channel's scheme and authority.
fn complete(shared: &Shared, uri: &Uri) -> Uri {
    let root = || PathAndQuery::from_static("/");
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(shared.setup.scheme.clone());
    parts.authority = Some(shared.setup.authority.clone());
    parts.path_and_query = Some(uri.path_and_query().cloned().unwrap_or_else(root));
    Uri::from_parts(parts).expect("scheme, authority and path make a URI")
}
