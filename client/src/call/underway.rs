//! An attempt's outcome, told exactly once: to the call's record and to outlier detection.
//!
//! An attempt that is dropped without an outcome was cut short: by the call's deadline, which speaks
//! against its endpoint (gRFC A50 counts it as a failure), or by its caller or a hedge that won, which
//! does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use super::{Class, Record};
use crate::code::Code;
use crate::meters::AttemptEnd;
use crate::pool::EndpointShared;

pub(crate) struct Underway {
    record: Arc<Record>,
    endpoint: Arc<EndpointShared>,
    began: Instant,
    deadline: Option<Instant>,
    over: bool,
    sent_bytes: AtomicU64,
    /// Counts on, where the request goes on after the response has begun.
    sending: Option<Arc<AtomicU64>>,
    received_bytes: u64,
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
        Self {
            record,
            endpoint,
            began: Instant::now(),
            deadline,
            over: false,
            sent_bytes: AtomicU64::new(0),
            sending: None,
            received_bytes: 0,
        }
    }

    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    /// Bytes of messages that it has sent by now.
    pub(super) fn sent(&self, bytes: u64) {
        self.sent_bytes.store(bytes, Ordering::Relaxed);
    }

    /// From here on somebody else counts what is sent.
    pub(super) fn goes_on_sending(&mut self, sent_bytes: &Arc<AtomicU64>) {
        self.sending = Some(Arc::clone(sent_bytes));
    }

    /// Bytes of messages that it has received by now.
    pub(crate) fn received(&mut self, bytes: u64) {
        self.received_bytes = bytes;
    }

    fn end(&self, code: Code) -> AttemptEnd {
        let sent_bytes = self.sending.as_deref().unwrap_or(&self.sent_bytes);
        AttemptEnd {
            code,
            took: self.began.elapsed(),
            sent_bytes: sent_bytes.load(Ordering::Relaxed),
            received_bytes: self.received_bytes,
        }
    }

    /// It ended with this status, the server's or, once there was an answer, the channel's own.
    pub(crate) fn ended(&mut self, code: Code) {
        self.over = true;
        self.record.attempt_ended(self.end(code));
        self.endpoint.answered(code);
    }

    /// It broke in the transport before there was an answer.
    pub(super) fn broke(&mut self, class: Class, code: Code) {
        self.over = true;
        self.record.attempt_broke(class, self.end(code));
        match class {
            Class::Ambiguous => self.endpoint.broke(),
            Class::Unprocessed => self.endpoint.refused(),
            // Nothing of it reached the endpoint, or it was not the endpoint's doing.
            Class::Unsent | Class::Final => {}
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
            self.endpoint.broke();
        }
        let code = if late { Code::DeadlineExceeded } else { Code::Cancelled };
        self.record.attempt_cut_short(self.end(code));
    }
}
