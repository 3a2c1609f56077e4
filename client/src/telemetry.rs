//! The channel's counters (for [`Stats`](crate::Stats)) and meters (for a metrics recorder), together.

use crate::meters::{ConnectionEvent, Meters};
use crate::stats::Counters;

pub(crate) struct Telemetry {
    pub(crate) counters: Counters,
    pub(crate) meters: Meters,
}

impl Telemetry {
    pub(crate) fn new(meters: Meters) -> Self {
        Self { counters: Counters::default(), meters }
    }

    pub(crate) fn connection(&self, event: ConnectionEvent) {
        let Counters { connected, connect_failures, drained, lost, ejections, .. } = &self.counters;
        match event {
            ConnectionEvent::Connected => connected.add_one(),
            ConnectionEvent::Failed => connect_failures.add_one(),
            ConnectionEvent::Drained => drained.add_one(),
            ConnectionEvent::Lost => lost.add_one(),
            ConnectionEvent::Ejected => ejections.add_one(),
        }
        self.meters.connection(event);
    }
}
