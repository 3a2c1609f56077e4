//! An attempt's outcome, told exactly once: to the call's record and to outlier detection.
//!
//! An attempt that is dropped without an outcome was cut short: by the call's deadline, which speaks
//! against its endpoint (gRFC A50 counts it as a failure), or by its caller or a hedge that won, which
//! does not.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Class, Record};
use crate::code::Code;
use crate::pool::EndpointShared;

pub(crate) struct Underway {
    record: Arc<Record>,
    endpoint: Arc<EndpointShared>,
    began: Instant,
    deadline: Option<Instant>,
    over: bool,
}

impl Underway {
    pub(super) fn begin(
        record: &Arc<Record>,
        endpoint: &Arc<EndpointShared>,
        deadline: Option<Instant>,
    ) -> Self {
        endpoint.attempts.add_one();
        record.attempt_started();
        let (record, endpoint) = (Arc::clone(record), Arc::clone(endpoint));
        Self { record, endpoint, began: Instant::now(), deadline, over: false }
    }

    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    /// It ended with this status, the server's or, once there was an answer, the channel's own.
    pub(crate) fn ended(&mut self, code: Code) {
        self.over = true;
        self.record.attempt_ended(code, self.began);
        self.endpoint.report(!code.blames_server());
    }

    /// It broke in the transport before there was an answer.
    pub(super) fn broke(&mut self, class: Class, code: Code) {
        self.over = true;
        self.record.attempt_broke(class, code, self.began);
        if class == Class::Ambiguous {
            self.endpoint.report(false);
        }
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let late = self.deadline.is_some_and(|deadline| deadline <= Instant::now());
        if late {
            self.endpoint.report(false);
        }
        let code = if late { Code::DeadlineExceeded } else { Code::Cancelled };
        self.record.attempt_cut_short(code, self.began);
    }
}
