//! What the row of an order says of its key.

use serde::de::Error;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::order::key::{Decided, KeyState, Outcome};

/// Its columns.
pub(super) struct OrderState<'r> {
    pub(super) status: &'r str,
    /// Why it was refused.
    pub(super) outcome: Option<&'r str>,
    pub(super) payment_id: Option<Uuid>,
    pub(super) lease_over: bool,
    pub(super) claimed_at: OffsetDateTime,
}

impl OrderState<'_> {
    /// # Errors
    /// When no service wrote it.
    pub(super) fn read(self) -> serde_json::Result<KeyState> {
        let missing =
            |column| serde_json::Error::custom(format!("{} without {column}", self.status));
        let outcome = match self.status {
            "PROCESSING" => return Ok(KeyState::Running { lease_over: self.lease_over }),
            "REFUSED" => Outcome::from_json(self.outcome.ok_or_else(|| missing("outcome"))?)?,
            _ => Outcome::Placed { payment_id: self.payment_id.ok_or_else(|| missing("payment"))? },
        };
        Ok(KeyState::Decided(Decided { outcome, at: self.claimed_at }))
    }
}
