//! Each endpoint in turn, starting anywhere so that many clients do not march in step.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::connection::Connection;
use crate::entropy::Entropy;

pub(super) struct RoundRobin(AtomicUsize);

impl RoundRobin {
    pub(super) fn starting(entropy: &Entropy) -> Self {
        Self(AtomicUsize::new(entropy.below(1 << 16)))
    }

    pub(super) fn choose<'a>(&self, ready: &'a [Arc<Connection>]) -> Option<&'a Arc<Connection>> {
        let turn = self.0.fetch_add(1, Ordering::Relaxed);
        ready.get(turn.checked_rem(ready.len())?)
    }
}
