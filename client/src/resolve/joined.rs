//! Several names as one, for `static:///` targets that list host names.

use std::sync::Arc;

use futures_util::future::join_all;

use super::{Resolve, ResolveError, Resolved, Resolving};

/// Answers what all of its parts answer together; fails only when each of them does.
pub(crate) struct Joined(Vec<Arc<dyn Resolve>>);

impl Joined {
    pub(crate) fn new(parts: Vec<Arc<dyn Resolve>>) -> Self {
        Self(parts)
    }
}

impl Resolve for Joined {
    fn resolve(&self) -> Resolving {
        let lookups: Vec<_> = self.0.iter().map(|part| part.resolve()).collect();
        Box::pin(async move { join(join_all(lookups).await) })
    }
}

fn join(answers: Vec<Result<Resolved, ResolveError>>) -> Result<Resolved, ResolveError> {
    let mut joined = Resolved { addresses: Vec::new(), valid_for: None };
    let mut failure = None;
    for answer in answers {
        match answer {
            Ok(part) => {
                joined.addresses.extend(part.addresses);
                joined.valid_for = match (joined.valid_for, part.valid_for) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
            }
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(error) if joined.addresses.is_empty() => Err(error),
        Some(_) | None => Ok(joined),
    }
}
