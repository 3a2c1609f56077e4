//! Every call's way in: its caller is found, and then the method's rule asked.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::AUTHORIZATION;
use http::{Extensions, HeaderMap};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tonic::Status;

use super::certificate::{NamelessError, name_in};
use super::checks::{Checks, TooManyInVain};
use super::config::AuthConfig;
use super::denied::Denied;
use super::jwt::TokenError;
use super::principal::{Kind, Principal};
use super::right::{Access, Rules};
use super::scope::Scope;
use super::trust::{AuthError, Contents, Source, Trust};
use crate::PeerCertificate;

/// A token whose key is not known has the files looked at, but no more often than this: else anybody could keep the
/// server busy with made-up keys.
const LOOK_AGAIN_EVERY: Duration = Duration::from_secs(5);

/// How long a call waits for that. Reading a file takes far less, unless its disk hangs.
const LOOK_PATIENCE: Duration = Duration::from_secs(1);

/// At the other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// `None`: it has gone already.
    pub(crate) address: Option<IpAddr>,
    /// The name in its certificate, if it showed one. Read once per connection.
    pub(crate) certificate: Option<Result<Arc<str>, NamelessError>>,
}

impl Peer {
    pub(crate) fn new(address: Option<IpAddr>, certificate: Option<&PeerCertificate>) -> Arc<Self> {
        let certificate = certificate.map(|certificate| name_in(certificate.der()));
        Arc::new(Self { address, certificate })
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
    source: Source,
    in_force: watch::Sender<Arc<Trust>>,
    seen: Mutex<Seen>,
    checks: Checks,
    clock: fn() -> u64,
}

#[derive(Debug)]
struct Seen {
    contents: Contents,
    looked_again: Option<Instant>,
}

impl Gate {
    /// Reads the files. Blocks.
    pub(crate) fn load(config: AuthConfig, rules: Rules) -> Result<Arc<Self>, AuthError> {
        let source = Source::new(&config, rules.rights);
        let (contents, trust) = source.load()?;
        let in_force = watch::Sender::new(Arc::new(trust));
        let seen = Mutex::new(Seen { contents, looked_again: None });
        let (checks, clock) = (Checks::new(), seconds_since_1970);
        Ok(Arc::new(Self { config, rules, source, in_force, seen, checks, clock }))
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
            return self.bearer(token, peer.address).await;
        }
        self.certified(peer, headers)
    }

    fn certified(&self, peer: &Peer, headers: &HeaderMap) -> Result<Principal, Denied> {
        let config = self.config.certificates.as_ref().ok_or(Denied::NoCredential)?;
        let trust = self.in_force.borrow().clone();
        let forwarded = config.forwarded.as_ref();
        if let Some(name) = forwarded.and_then(|header| header.name(peer.address, headers)) {
            return Ok(trust.roles.of_certificate(&name?, Kind::Forwarded));
        }
        match &peer.certificate {
            Some(name) => Ok(trust.roles.of_certificate(&name.clone()?, Kind::Certificate)),
            None => Err(Denied::NoCredential),
        }
    }

    /// A token that was found good before costs a look at memory; another one a check, of which those in vain are
    /// bounded, since nobody is known yet whom they could be counted for.
    async fn bearer(&self, token: &str, address: Option<IpAddr>) -> Result<Principal, Denied> {
        let known = self.in_force.borrow().remembered(token, (self.clock)());
        if let Some(principal) = known {
            return Ok(principal);
        }

        let place = self.checks.begin(address).map_err(|TooManyInVain| Denied::TooManyInVain)?;
        let checked = self.check(token).await;
        if checked.is_err() {
            self.checks.was_in_vain(place);
        }
        Ok(checked?)
    }

    async fn check(&self, token: &str) -> Result<Principal, TokenError> {
        let find = || {
            let trust = self.in_force.borrow().clone();
            trust.bearer(token, self.rules.rights, (self.clock)())
        };
        match find() {
            Err(TokenError::UnknownKey) => {
                // The issuer may have a new key that the file has already.
                let _looked_or_not = timeout(LOOK_PATIENCE, self.look_again()).await;
                find()
            }
            found => found,
        }
    }

    async fn look_again(&self) {
        let mut seen = self.seen.lock().await;
        if seen.looked_again.is_some_and(|at| at.elapsed() < LOOK_AGAIN_EVERY) {
            return;
        }
        seen.looked_again = Some(Instant::now());
        self.look(&mut seen).await;
    }

    /// Looks at the files for ever.
    pub(crate) async fn keep_reloading(self: Arc<Self>) {
        let mut ticks = interval(self.config.reload_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let mut seen = self.seen.lock().await;
            self.look(&mut seen).await;
        }
    }

    async fn look(&self, seen: &mut Seen) {
        let (source, before) = (self.source.clone(), seen.contents.clone());
        // Reading files blocks. A failed task would be a panic: then nothing has changed.
        match tokio::task::spawn_blocking(move || source.changed(&before)).await {
            Ok(Ok(Some((contents, trust)))) => {
                tracing::info!("keys or roles of callers have changed and are in force");
                self.in_force.send_replace(Arc::new(trust));
                seen.contents = contents;
            }
            Ok(Ok(None)) => {}
            Ok(Err(why)) => tracing::error!(
                error = &why as &dyn std::error::Error,
                "changed keys or roles cannot be used; the former stay in force"
            ),
            Err(why) => tracing::error!(%why, "reading keys and roles failed"),
        }
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
