//! What all calls of a channel share.

use std::sync::Arc;

use http::HeaderValue;
use http::uri::{Authority, Scheme};
use tokio::sync::watch;

use crate::balance::Picker;
use crate::call::{Budget, Throttle};
use crate::capacity::Capacity;
use crate::config::Methods;
use crate::entropy::Entropy;

pub(crate) struct Shared {
    /// Dropping the last one ends the channel's task.
    pub(crate) pickers: watch::Receiver<Arc<Picker>>,
    pub(crate) capacity: Arc<Capacity>,
    pub(crate) entropy: Arc<Entropy>,
    pub(crate) throttle: Throttle,
    pub(crate) replay: Arc<Budget>,
    pub(crate) methods: Methods,
    pub(crate) wait_for_ready: bool,
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
    pub(crate) user_agent: HeaderValue,
}
