//! What may be done, and which method needs what: plain tables, written beside a service's descriptors.

use std::fmt;

/// The name of something that a caller may be allowed to do, as tokens and the roles file spell it: `orders:own`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Right(&'static str);

impl Right {
    /// The right of this name.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// The rights of these names.
    #[must_use]
    pub const fn all<const N: usize>(names: [&'static str; N]) -> [Self; N] {
        let mut rights = [Self(""); N];
        let mut index = 0;
        while index < N {
            rights[index] = Self(names[index]);
            index += 1;
        }
        rights
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Right {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.0)
    }
}

/// Who may call a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody, without a credential.
    Open,
    /// Every caller whose credential is valid, whatever its rights.
    Authenticated,
    /// Callers that hold this right.
    Right(Right),
    /// Callers that hold `any`; and those that hold `own`, for accounts of theirs. Which account a request is about
    /// stands in its message, so the handler checks it: see [`Owned`](crate::Owned).
    Owner {
        /// The right to what is the caller's own.
        own: Right,
        /// The right to what is anybody's.
        any: Right,
    },
}

/// The rules of a server's services.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The `domain` of `google.rpc.ErrorInfo` in refusals.
    pub domain: &'static str,
    /// Every right that there is: a roles file that names another one is wrong, and other words in a token's scope
    /// are for others.
    pub rights: &'static [Right],
    /// Every method that is served, as `package.Service/Method`. A server does not start while one is missing here.
    pub methods: &'static [(&'static str, Access)],
}
