//! The least busy of a few drawn at random (gRFC A48; "the power of two choices", Mitzenmacher 1996).
//!
//! Load is the number of calls under way *from this channel*, and one, divided by the share of recent
//! calls that went well. A slow endpoint keeps its calls longer, so it gets less without its speed being
//! measured; one that fails gets less although failing is quick.

use std::sync::Arc;

use crate::connection::Connection;
use crate::entropy::Entropy;

pub(super) fn choose<'a>(
    ready: &'a [Arc<Connection>],
    choices: usize,
    entropy: &Entropy,
) -> Option<&'a Arc<Connection>> {
    match ready {
        [] => None,
        [only] => Some(only),
        _ => {
            let first = entropy.below(ready.len());
            // Each draw moves on by at least one, so that two draws never meet on one endpoint.
            let others = (1..choices).scan(first, |at, _| {
                *at = (*at + 1 + entropy.below(ready.len() - 1)) % ready.len();
                Some(*at)
            });
            let drawn = std::iter::once(first).chain(others).map(|at| &ready[at]);
            drawn.min_by(|a, b| a.burden().total_cmp(&b.burden()))
        }
    }
}
