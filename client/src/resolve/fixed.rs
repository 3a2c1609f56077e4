//! Addresses that are given, for `static:///` and `unix:` targets.

use super::{Address, Resolve, Resolved, Resolving};

/// Always answers the same addresses.
#[derive(Clone, Debug)]
pub struct Fixed(Vec<Address>);

impl Fixed {
    /// A resolver for these addresses.
    pub fn new(addresses: impl IntoIterator<Item = Address>) -> Self {
        Self(addresses.into_iter().collect())
    }
}

impl Resolve for Fixed {
    fn resolve(&self) -> Resolving {
        let addresses = self.0.clone();
        Box::pin(async move { Ok(Resolved { addresses, valid_for: None }) })
    }
}
