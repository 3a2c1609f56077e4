//! Whether to look for reservations before they are made.
//!
//! A look at rows that are not there costs an order a round trip and a thirtieth of what the ledger's database does for it.
//! Not to look costs a batch that meets one a rollback and a pause. So a store does not look until it was surprised once,
//! and then looks for a while: callers that repeat themselves, as after an outage, cost one batch in a thousand its
//! rollback.

/// Batches that look first after a surprise.
const WARY: u32 = 1_000;

/// What a store expects of the next batch.
#[derive(Debug, Default)]
pub(super) struct Foresight {
    /// Batches that will look first.
    wary: u32,
}

impl Foresight {
    /// Whether the next batch may take it that what it is to make is not there.
    pub(super) fn expects_new(&self) -> bool {
        self.wary == 0
    }

    /// Takes note of a batch, and whether it had to be run again.
    pub(super) fn learn(&mut self, surprised: bool) {
        self.wary = if surprised { WARY } else { self.wary.saturating_sub(1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_surprise_a_thousand_batches_look_first() {
        let mut foresight = Foresight::default();
        foresight.learn(false);
        assert!(foresight.expects_new());
        foresight.learn(true);
        for _ in 0..WARY {
            assert!(!foresight.expects_new());
            foresight.learn(false);
        }
        assert!(foresight.expects_new());
    }
}
