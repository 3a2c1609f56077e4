//! Which accounts a call may touch, and values that only come out for an account within that scope.

use http::Extensions;

use super::principal::Principal;

/// Which accounts a call may touch: what the caller's rights and the method's row come to.
#[derive(Clone, Debug, Default)]
pub struct Scope(Covers);

#[derive(Clone, Debug, Default)]
enum Covers {
    /// What a handler gets whose method has no [`Access::Owner`](crate::Access::Owner) row: it asked for the wrong thing.
    #[default]
    Nothing,
    Own(Principal),
    Everything,
}

/// A request that concerns one account: only [`within`](Self::within) gives it out, so that a handler cannot forget
/// to ask whose account it is.
#[derive(Debug)]
#[must_use = "a request that was not checked against its caller's scope must not be carried out"]
pub struct Owned<T> {
    account: i64,
    request: T,
}

/// The account is none of the caller's. Says nothing about whether it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotOwned;

impl Scope {
    /// The scope of a request, from its extensions; nothing, if the server put none there.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    pub(crate) fn everything() -> Self {
        Self(Covers::Everything)
    }

    pub(crate) fn own(caller: Principal) -> Self {
        Self(Covers::Own(caller))
    }

    fn covers(&self, account: i64) -> bool {
        match &self.0 {
            Covers::Nothing => false,
            Covers::Own(caller) => caller.owns(account),
            Covers::Everything => true,
        }
    }
}

impl<T> Owned<T> {
    /// A request about this account.
    pub fn new(account: i64, request: T) -> Self {
        Self { account, request }
    }

    /// The request, if its account is within the scope.
    ///
    /// # Errors
    /// When it is not.
    pub fn within(self, scope: &Scope) -> Result<T, NotOwned> {
        if scope.covers(self.account) { Ok(self.request) } else { Err(NotOwned) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::principal::{Holdings, Kind};

    #[test]
    fn a_request_comes_out_only_for_an_account_in_its_scope() {
        let holds = Holdings { rights: Vec::new(), accounts: vec![7] };
        let own = Scope::own(Principal::new("a", Kind::Token, holds));
        assert_eq!(Owned::new(7, "request").within(&own), Ok("request"));
        assert_eq!(Owned::new(8, "request").within(&own), Err(NotOwned));
        assert_eq!(Owned::new(8, "request").within(&Scope::everything()), Ok("request"));
    }

    #[test]
    fn a_request_without_a_scope_never_comes_out() {
        assert_eq!(Owned::new(7, ()).within(&Scope::of(&Extensions::new())), Err(NotOwned));
    }
}
