//! Where events happen: on pods of this program's own, or in somebody else's cluster.

use std::error::Error;

use rand::rngs::StdRng;
use tokio::time::Instant;

use crate::measure::Shares;
use crate::plan::Event;

/// A place with pods.
pub(crate) trait Scene {
    /// Lets an event happen; returns when pods are as wanted again and nobody is leaving.
    async fn happen(&mut self, event: Event, random: &mut StdRng) -> Result<(), Box<dyn Error>>;

    /// How many containers ended so far, in order and killed.
    fn ended(&self) -> [usize; 2];

    /// Lets clients spread after an event that was over at `since`, then measures how evenly calls
    /// reach the pods, where that can be known.
    async fn spread(&self, since: Instant) -> Option<Shares>;
}
