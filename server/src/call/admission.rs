//! Admission: at most so many calls in progress, the rest refused while refusing is cheap.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use tonic::metadata::MetadataValue;

use super::methods::Method;
use crate::spread::Spread;

/// Admits calls up to a bound. A refused caller is told when to come back; the told times are
/// spread over [pushback, 2·pushback), so that a refused crowd does not return as one.
#[derive(Debug)]
pub(crate) struct Admission {
    slots: Arc<Semaphore>,
    pushback: Duration,
    spread: Spread,
}

impl Admission {
    pub(crate) fn new(max_in_flight: usize, pushback: Duration) -> Self {
        let slots = Arc::new(Semaphore::new(max_in_flight.min(Semaphore::MAX_PERMITS)));
        Self { slots, pushback, spread: Spread::default() }
    }

    /// A permit to hold as long as the call lasts; `None` for health and reflection, which are
    /// always admitted: a full server is not a dead one.
    pub(super) fn admit(&self, method: &Method) -> Result<Option<OwnedSemaphorePermit>, Status> {
        if method.is_infrastructure() {
            return Ok(None);
        }
        match self.slots.clone().try_acquire_owned() {
            Ok(permit) => Ok(Some(permit)),
            Err(_full) => Err(self.refusal()),
        }
    }

    fn refusal(&self) -> Status {
        metrics::counter!(crate::metrics::CALLS_REFUSED).increment(1);
        let pushback = self.pushback.mul_f64(1.0 + self.spread.next());
        let pushback_ms = u64::try_from(pushback.as_millis()).unwrap_or(u64::MAX);
        let mut status = Status::resource_exhausted("too many calls in progress");
        status.metadata_mut().insert("grpc-retry-pushback-ms", MetadataValue::from(pushback_ms));
        status
    }
}
