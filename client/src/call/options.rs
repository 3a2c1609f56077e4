//! What one call asks for, beyond what the service config says of its method.

use std::time::Duration;

use tokio::time::Instant;

/// Put into a request's extensions (`tonic::Request::extensions_mut`) to steer that call.
///
/// What is absent comes from the service config. The earliest of all deadlines counts: this one, the
/// request's `grpc-timeout` (`tonic::Request::set_timeout`) and the method's `timeout`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallOptions {
    /// When the call, all attempts and the response body included, has to be over.
    pub deadline: Option<Instant>,
    /// Whether to wait while no endpoint can be reached, instead of failing.
    pub wait_for_ready: Option<bool>,
}

impl CallOptions {
    /// Sets the deadline to `timeout` from now.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { deadline: Instant::now().checked_add(timeout), ..self }
    }

    /// Sets whether to wait for ready.
    #[must_use]
    pub fn wait_for_ready(self, wait: bool) -> Self {
        Self { wait_for_ready: Some(wait), ..self }
    }
}
