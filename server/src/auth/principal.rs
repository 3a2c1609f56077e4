//! The caller of a call, once its credential is found valid.

use std::fmt;
use std::sync::Arc;

use super::right::Right;

/// Who calls. In the extensions of every request that reaches a handler. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Principal(Arc<Facts>);

#[derive(PartialEq, Eq)]
struct Facts {
    id: Box<str>,
    kind: Kind,
    holds: Holdings,
}

/// What a caller may do, and to which accounts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holdings {
    /// Sorted, each once.
    pub(crate) rights: Vec<Right>,
    /// Sorted, each once.
    pub(crate) accounts: Vec<i64>,
}

/// How a caller was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Not at all: this server does not ask (`--auth off`).
    Anonymous,
    /// By the certificate of its connection.
    Certificate,
    /// By a header that a trusted proxy set.
    Forwarded,
    /// By a bearer token.
    Token,
}

impl Kind {
    /// For logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Certificate => "certificate",
            Self::Forwarded => "forwarded",
            Self::Token => "token",
        }
    }
}

impl Principal {
    pub(crate) fn new(id: impl Into<Box<str>>, kind: Kind, holds: Holdings) -> Self {
        Self(Arc::new(Facts { id: id.into(), kind, holds }))
    }

    /// The caller of a server that asks for no credential, or of a method that is open.
    pub(crate) fn anonymous() -> Self {
        Self::new("anonymous", Kind::Anonymous, Holdings::default())
    }

    /// The URI of its certificate, the `sub` of its token, or `anonymous`. Unique together with [`kind`](Self::kind).
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// Kind and id as one name, such as `token:alice`: ids are unique only together with the kind of credential. `None`:
    /// anonymous.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        match self.kind() {
            Kind::Anonymous => None,
            known @ (Kind::Certificate | Kind::Forwarded | Kind::Token) => {
                Some(format!("{}:{}", known.name(), self.id()))
            }
        }
    }

    /// How it was recognised.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Its rights, sorted.
    #[must_use]
    pub fn rights(&self) -> &[Right] {
        &self.0.holds.rights
    }

    /// Its accounts, sorted.
    #[must_use]
    pub fn accounts(&self) -> &[i64] {
        &self.0.holds.accounts
    }

    /// Whether it holds a right.
    #[must_use]
    pub fn has(&self, right: Right) -> bool {
        self.0.holds.rights.binary_search(&right).is_ok()
    }

    /// Whether an account is one of its own.
    #[must_use]
    pub fn owns(&self, account: i64) -> bool {
        self.0.holds.accounts.binary_search(&account).is_ok()
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Principal")
            .field("id", &self.id())
            .field("kind", &self.kind())
            .field("rights", &self.rights())
            .finish_non_exhaustive()
    }
}

impl Holdings {
    /// With rights by name, of which those that are none of `known` are left out.
    pub(crate) fn named<'name>(
        names: impl IntoIterator<Item = &'name str>,
        accounts: impl IntoIterator<Item = i64>,
        known: &[Right],
    ) -> Self {
        let find = |name: &str| known.iter().copied().find(|right| right.name() == name);
        let rights = names.into_iter().filter_map(find).collect();
        Self { rights, accounts: accounts.into_iter().collect() }.sorted()
    }

    /// With what another has besides.
    pub(crate) fn and(mut self, other: &Self) -> Self {
        self.rights.extend(&other.rights);
        self.accounts.extend(&other.accounts);
        self.sorted()
    }

    fn sorted(mut self) -> Self {
        self.rights.sort_unstable();
        self.rights.dedup();
        self.accounts.sort_unstable();
        self.accounts.dedup();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Right = Right::new("things:read");
    const WRITE: Right = Right::new("things:write");

    #[test]
    fn a_principal_has_what_it_was_given_and_nothing_else() {
        let known = [WRITE, READ];
        let holds = Holdings::named(["openid", "things:write"], [9, 7, 9], &known);
        let more = Holdings::named(["things:read", "things:write"], [8], &known);
        let caller = Principal::new("a", Kind::Token, holds.clone().and(&more));
        assert!(caller.has(READ) && caller.has(WRITE));
        assert_eq!(caller.accounts(), [7, 8, 9]);
        assert!(caller.owns(8) && !caller.owns(10));

        let caller = Principal::new("a", Kind::Token, holds);
        assert!(caller.has(WRITE) && !caller.has(READ) && !caller.has(Right::new("openid")));
    }

    #[test]
    fn an_anonymous_caller_has_nothing() {
        let caller = Principal::anonymous();
        assert!(caller.rights().is_empty() && caller.accounts().is_empty());
    }
}
