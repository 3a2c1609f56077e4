//! The keys that page tokens are made and judged with.

use proto::PageKeys;
use tonic::Status;

use super::status;
use crate::desk::{Desk, Trouble};

/// Given keys, or the desk whose database's id stands in for them.
#[derive(Clone)]
pub struct Pages {
    given: Option<PageKeys>,
    desk: Desk,
}

impl Pages {
    /// The keys of lists at this desk.
    pub fn new(given: Option<PageKeys>, desk: Desk) -> Self {
        Self { given, desk }
    }

    /// What tokens are made with. Unavailable until the database has said its id, where that is needed.
    pub(super) fn keys(&self) -> Result<PageKeys, Status> {
        let derived = || self.desk.database_id().map(|id| PageKeys::of_database(&id));
        let keys = self.given.clone().or_else(derived);
        keys.ok_or_else(|| status::of_trouble(Trouble::Unavailable))
    }

    /// What this token is judged with; `None` for that of a first page, which is empty.
    pub(super) fn keys_for(&self, token: &str) -> Result<Option<PageKeys>, Status> {
        if token.is_empty() { Ok(None) } else { self.keys().map(Some) }
    }
}
