//! The audit trail: one line of JSON for each call that changes something, or that tried to.
//!
//! Which methods these are, the service says ([`Server::audited`](crate::Server::audited)); what a call was about, its
//! handler says ([`Audit`]); who called, from where, and what came of it is known here. Refused and denied calls have
//! their lines too, and so has a call whose caller left: CANCELLED says that the caller did not see the outcome, not
//! that there is none.
//!
//! A line never waits and never makes its call wait: see `sink.rs` for what bounds it and what happens when it cannot be
//! written. No line holds a credential. Text that came from a caller is JSON-escaped, so that it cannot forge a line.

mod line;
mod output;
mod sink;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use http::{Extensions, HeaderMap};
use serde_json::Value;
use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_types::StatusExt;

pub use sink::AuditLog;
pub(crate) use sink::{Trail, Weight};

use line::Line;

use crate::auth::Principal;

/// What one call is about, for its line in the audit trail: names and values that its handler sets as soon as it knows
/// them. Found in the extensions of each request to a method of the trail.
#[derive(Clone, Debug, Default)]
pub struct Audit(Arc<Mutex<Vec<(&'static str, Value)>>>);

impl Audit {
    /// The one of the request with these extensions; where no server of ours serves, one that nobody reads.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or_default()
    }

    /// Notes a fact: an id, an amount, an outcome. No secrets, and nothing without a bound. The last word on a name counts.
    pub fn set(&self, name: &'static str, value: impl Into<Value>) {
        let mut facts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        facts.retain(|(known, _)| *known != name);
        facts.push((name, value.into()));
    }

    /// Changes a fact that was noted before; does nothing where it was not.
    pub fn amend(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut facts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, value)) = facts.iter_mut().find(|(known, _)| *known == name) {
            change(value);
        }
    }

    fn take(&self) -> Vec<(&'static str, Value)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The line of a call in progress. It is written when the call ends, whatever its end.
#[derive(Debug)]
pub(crate) struct Pending {
    trail: Arc<Trail>,
    audit: Audit,
    principal: Option<Principal>,
    peer: SocketAddr,
    trace_id: Option<String>,
    reason: Option<String>,
    began: Instant,
}

impl Pending {
    pub(crate) fn new(
        trail: Arc<Trail>,
        peer: SocketAddr,
        trace_id: Option<&str>,
        began: Instant,
    ) -> Self {
        let trace_id = trace_id.map(str::to_owned);
        let audit = Audit::default();
        Self { trail, audit, principal: None, peer, trace_id, reason: None, began }
    }

    /// What goes into the request's extensions.
    pub(crate) fn audit(&self) -> Audit {
        self.audit.clone()
    }

    /// Keeps who calls, once that is known.
    pub(crate) fn called_by(&mut self, principal: &Principal) {
        self.principal = Some(principal.clone());
    }

    /// Keeps the reason of a refusal.
    pub(crate) fn refused(&mut self, status: &Status) {
        self.reason = status.get_details_error_info().map(|info| info.reason);
    }

    /// As [`refused`](Self::refused), for an answer that a service wrote.
    pub(crate) fn refused_in(&mut self, headers: &HeaderMap) {
        if let Some(status) = Status::from_header_map(headers) {
            self.refused(&status);
        }
    }

    pub(crate) fn write(self, method: &str, code: Code) {
        let took = self.began.elapsed();
        let facts = self.audit.take();
        let line = Line {
            at: wall_clock(),
            principal: self.principal.as_ref(),
            peer: self.peer,
            method,
            code: crate::call::code_name(code),
            reason: self.reason.as_deref(),
            trace_id: self.trace_id.as_deref(),
            took,
            facts: &facts,
        };
        self.trail.write(&line.to_json(), Weight::of(code));
    }
}

/// A trail tells people when something happened; nothing is decided by it.
#[expect(clippy::disallowed_methods, reason = "the time that an audit line is stamped with")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_on_a_name_counts_and_clones_share_what_is_noted() {
        let audit = Audit::default();
        let handler = audit.clone();
        handler.set("account_id", 1);
        handler.set("outcome", "begun");
        handler.set("outcome", "done");
        assert_eq!(
            audit.take(),
            [("account_id", Value::from(1)), ("outcome", Value::from("done"))]
        );
    }

    #[test]
    fn a_handler_without_a_server_around_it_notes_into_the_void() {
        Audit::of(&Extensions::new()).set("account_id", 1);
    }
}
