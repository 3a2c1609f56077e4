//! What all calls of a channel share.

use std::sync::Arc;

use tokio::sync::watch;

use crate::balance::Picker;
use crate::call::{Budget, Throttle};
use crate::config::Methods;
use crate::connection::Setup;
use crate::telemetry::Telemetry;

pub(crate) struct Shared {
    /// Dropping the last one ends the channel's task.
    pub(crate) pickers: watch::Receiver<Arc<Picker>>,
    pub(crate) setup: Arc<Setup>,
    pub(crate) throttle: Throttle,
    pub(crate) replay: Arc<Budget>,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) methods: Methods,
    pub(crate) wait_for_ready: bool,
}
