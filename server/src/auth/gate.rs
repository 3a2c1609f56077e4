//! Every call's way in: its caller is found, and then the method's rule asked.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::AUTHORIZATION;
use http::{Extensions, HeaderMap};
use tokio::time::timeout;
use tonic::Status;

use super::certificate::{NamelessError, name_in};
use super::checks::{Checks, FreeCheck, Place, TooManyInVain};
use super::config::AuthConfig;
use super::denied::Denied;
use super::jwt::TokenError;
use super::principal::{Kind, Principal};
use super::right::{Access, Rules};
use super::scope::Scope;
use super::trust::{AuthError, Trust};
use super::watch::Watch;
use crate::PeerCertificate;

/// How long a call whose token's key is not known waits for the files to be read again. That takes far less, unless the
/// disk hangs.
const LOOK_PATIENCE: Duration = Duration::from_secs(1);

/// At the other end of a connection.
#[derive(Debug)]
pub(crate) struct Peer {
    /// `None`: it has gone already.
    pub(crate) address: Option<IpAddr>,
    /// The name in its certificate, if it showed one. Read once per connection.
    pub(crate) certificate: Option<Result<Arc<str>, NamelessError>>,
    /// Of a token's signature.
    pub(crate) free_check: FreeCheck,
}

impl Peer {
    pub(crate) fn new(address: Option<IpAddr>, certificate: Option<&PeerCertificate>) -> Arc<Self> {
        let certificate = certificate.map(|certificate| name_in(certificate.der()));
        Arc::new(Self { address, certificate, free_check: FreeCheck::default() })
    }
}

/// What a method asks of its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Its row in a table.
    Access(Access),
    /// It is served, and has no row: nobody may call it.
    Missing,
    /// It is not served.
    NoMethod,
}

/// A caller that may go on, and how far.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) principal: Principal,
    pub(crate) scope: Scope,
}

impl Admitted {
    /// Whoever calls a server that does not ask.
    pub(crate) fn anybody() -> Self {
        Self { principal: Principal::anonymous(), scope: Scope::everything() }
    }

    /// Tells the handler.
    pub(crate) fn mark(self, extensions: &mut Extensions) {
        extensions.insert(self.principal);
        extensions.insert(self.scope);
    }
}

/// The gate of a server.
#[derive(Debug)]
pub(crate) struct Gate {
    config: AuthConfig,
    rules: Rules,
    watch: Watch,
    checks: Checks,
    clock: fn() -> u64,
}

impl Gate {
    /// Reads the files. Blocks. Of the checks of tokens that strangers send, one address may have `share_percent`.
    pub(crate) fn load(
        config: AuthConfig,
        rules: Rules,
        share_percent: u32,
    ) -> Result<Arc<Self>, AuthError> {
        let watch = Watch::load(&config, rules.rights)?;
        let (checks, clock) = (Checks::new(share_percent), seconds_since_1970);
        Ok(Arc::new(Self { config, rules, watch, checks, clock }))
    }

    /// Looks at the files for ever.
    pub(crate) async fn keep_reloading(self: Arc<Self>) {
        self.watch.keep_looking(self.config.reload_interval).await;
    }

    /// Why files on disk are not in force, for people.
    pub(crate) fn troubles(&self) -> Vec<String> {
        self.watch.troubles()
    }

    /// What a refused caller is told.
    pub(crate) fn refusal(&self, denied: Denied) -> Status {
        denied.status(self.rules.domain)
    }

    /// Decides on one call. `known` is told who calls, also where that caller is then denied.
    pub(crate) async fn admit(
        &self,
        rule: Rule,
        peer: &Peer,
        headers: &HeaderMap,
        known: impl FnOnce(&Principal),
    ) -> Result<Admitted, Denied> {
        // What is open is so for broken credentials too: a probe must not fail for an expired token.
        if rule == Rule::Access(Access::Open) {
            let principal = Principal::anonymous();
            known(&principal);
            return Ok(Admitted { principal, scope: Scope::default() });
        }
        let principal = self.authenticate(peer, headers).await?;
        known(&principal);
        let scope = authorise(rule, &principal)?;
        Ok(Admitted { principal, scope })
    }

    /// A token that was sent is judged, and a bad one is no better for the certificate beside it.
    async fn authenticate(&self, peer: &Peer, headers: &HeaderMap) -> Result<Principal, Denied> {
        if self.config.tokens.is_some()
            && let Some(token) = bearer_token(headers)?
        {
            return self.bearer(token, peer).await;
        }
        self.certified(peer, headers)
    }

    fn certified(&self, peer: &Peer, headers: &HeaderMap) -> Result<Principal, Denied> {
        let config = self.config.certificates.as_ref().ok_or(Denied::NoCredential)?;
        let trust = self.watch.now();
        let forwarded = config.forwarded.as_ref();
        let said = forwarded.and_then(|header| header.name(peer.address, headers)).transpose()?;
        // A certificate was proved in the handshake, a header is hearsay: it may repeat the name, and never replace it.
        match (peer.certificate.clone().transpose()?, said) {
            (Some(proved), Some(said)) if proved != said => Err(Denied::Conflict),
            (Some(name), _) => Ok(trust.roles.of_certificate(&name, Kind::Certificate)),
            (None, Some(name)) => Ok(trust.roles.of_certificate(&name, Kind::Forwarded)),
            (None, None) => Err(Denied::NoCredential),
        }
    }

    /// A token that was found good before costs a look at memory; another one is read, and only if all that it says is
    /// good, its signature is checked.
    async fn bearer(&self, token: &str, peer: &Peer) -> Result<Principal, Denied> {
        let trust = self.watch.now();
        if let Some(principal) = trust.remembered(token, (self.clock)()) {
            return Ok(principal);
        }

        match self.check(&trust, token, peer) {
            Err(Denied::Token(TokenError::UnknownKey)) => {
                self.look_for_its_key(peer).await?;
                self.check(&self.watch.now(), token, peer)
            }
            answer => answer,
        }
    }

    fn check(&self, trust: &Trust, token: &str, peer: &Peer) -> Result<Principal, Denied> {
        let token = trust.inspect(token, (self.clock)())?;
        let place = self.place(peer)?;
        trust.prove(token, self.rules.rights).map_err(|why| {
            self.checks.was_in_vain(place);
            why.into()
        })
    }

    /// The issuer may have a new key that the file has already. So many as may have their tokens checked wait for it.
    async fn look_for_its_key(&self, peer: &Peer) -> Result<(), Denied> {
        let _waiting = self.place(peer)?;
        let _looked_or_not = timeout(LOOK_PATIENCE, self.watch.look_again()).await;
        Ok(())
    }

    fn place<'peer>(&self, peer: &'peer Peer) -> Result<Place<'peer>, Denied> {
        let place = self.checks.begin(peer.address, &peer.free_check);
        place.map_err(|TooManyInVain| Denied::TooManyInVain)
    }
}

/// The token of the one `authorization: Bearer …` header; `None` without that header.
fn bearer_token(headers: &HeaderMap) -> Result<Option<&str>, Denied> {
    let mut sent = headers.get_all(AUTHORIZATION).iter();
    let Some(header) = sent.next() else { return Ok(None) };
    if sent.next().is_some() {
        return Err(Denied::NotBearer);
    }
    let text = header.to_str().map_err(|_| Denied::NotBearer)?;
    let (scheme, token) = text.split_once(' ').ok_or(Denied::NotBearer)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Denied::NotBearer);
    }
    Ok(Some(token.trim()))
}

/// What the caller may do by this rule.
fn authorise(rule: Rule, caller: &Principal) -> Result<Scope, Denied> {
    let is_off = failpoint::is_off(failpoint::Safeguard::Authorisation);
    match rule {
        Rule::NoMethod => Err(Denied::NoMethod),
        Rule::Missing => Err(Denied::NoRule),
        Rule::Access(_) if is_off => Ok(Scope::everything()),
        Rule::Access(Access::Open | Access::Authenticated) => Ok(Scope::default()),
        Rule::Access(Access::Right(right)) if caller.has(right) => Ok(Scope::default()),
        Rule::Access(Access::Right(right)) => Err(Denied::Right(right)),
        Rule::Access(Access::Owner { any, .. }) if caller.has(any) => Ok(Scope::everything()),
        Rule::Access(Access::Owner { own, .. }) if caller.has(own) => {
            Ok(Scope::own(caller.clone()))
        }
        Rule::Access(Access::Owner { own, any }) => Err(Denied::Owner { own, any }),
    }
}

/// The wall clock, by which tokens are dated.
#[expect(clippy::disallowed_methods, reason = "the one wall clock of the gate; it is passed on")]
fn seconds_since_1970() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map(|since| since.as_secs()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
