//! Making credentials from files, again whenever they change.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::validity::{now, shown};
use crate::{Text, TlsError, Validity, pem};

/// How long files that do not go together may take to do so before that is told: a pair is often replaced one file after
/// the other.
pub const SETTLING: Duration = Duration::from_millis(500);

/// How often a trouble that lasts is told again.
const REMINDER: Duration = Duration::from_secs(10 * 60);

/// What files make.
pub trait Recipe: Send + 'static {
    /// What that is.
    type Product: Send + Sync + 'static;

    /// What the files are called in metrics and logs.
    fn name(&self) -> &'static str;

    /// How often they are looked at.
    fn reload_interval(&self) -> Duration;

    /// Which files there are.
    fn paths(&self) -> Vec<PathBuf>;

    /// Makes it from their texts, as many as there are paths and in their order.
    ///
    /// # Errors
    /// When they do not make one.
    fn make(&self, texts: &[Text<'_>]) -> Result<Made<Self::Product>, TlsError>;
}

/// What was made, and how long it lasts.
#[derive(Debug)]
pub struct Made<T> {
    /// For whoever connects.
    pub product: T,
    /// When its own certificate is valid; absent where there is none.
    pub validity: Option<Validity>,
    /// When its first revocation list should be replaced.
    pub crl_next_update: Option<OffsetDateTime>,
}

/// What is in force now.
#[derive(Debug)]
pub struct InForce<T>(watch::Receiver<Arc<T>>);

/// Keeps looking at the files.
pub struct Reloader<R: Recipe> {
    recipe: R,
    in_force: watch::Sender<Arc<R::Product>>,
    seen: Vec<Vec<u8>>,
    lasts: Lasts,
    trouble: Option<Trouble>,
}

/// How long what is in force lasts.
#[derive(Clone, Debug)]
struct Lasts {
    validity: Option<Validity>,
    crl_next_update: Option<OffsetDateTime>,
}

/// Other contents of the files and what they make. `None`: they are as before.
type Found<T> = Result<Option<(Vec<Vec<u8>>, Made<T>)>, TlsError>;

/// What was told last, and when.
struct Trouble {
    what: String,
    told_at: Instant,
}

/// Makes credentials for the first time. A certificate that is not valid now is told and used all the same: its peers say
/// the rest, and a process that does not start says less.
///
/// # Errors
/// When the files do not make any.
pub fn load<R: Recipe>(recipe: R) -> Result<(InForce<R::Product>, Reloader<R>), TlsError> {
    let seen = read(&recipe)?;
    let Made { product, validity, crl_next_update } = make(&recipe, &seen)?;
    let (in_force, current) = watch::channel(Arc::new(product));
    let lasts = Lasts { validity, crl_next_update };
    let reloader = Reloader { recipe, in_force, seen, lasts, trouble: None };
    Ok((InForce(current), reloader))
}

impl<T> InForce<T> {
    /// Something that never changes.
    pub fn fixed(product: T) -> Self {
        Self(watch::channel(Arc::new(product)).1)
    }

    /// For a new connection.
    pub fn now(&self) -> Arc<T> {
        Arc::clone(&self.0.borrow())
    }

    /// Waits for something else to be in force. Never resolves where nothing will be.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

impl<T> Clone for InForce<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<R: Recipe> Reloader<R> {
    /// Looks at the files again and again, as long as somebody uses what they make.
    pub async fn run(mut self) {
        let every = self.recipe.reload_interval();
        let mut rest = every;
        loop {
            self.expose();
            tokio::select! {
                () = sleep(rest) => {}
                () = self.in_force.closed() => return,
            }
            // Reading files blocks, and the task owns the reloader meanwhile: a panic in it would end the reloading.
            let looked = tokio::task::spawn_blocking(move || {
                let found = self.look();
                (self, found)
            });
            let Ok((reloader, found)) = looked.await else {
                tracing::error!("reading TLS files failed: they are not looked at any more");
                return;
            };
            self = reloader;
            rest = self.take(found, every);
        }
    }

    /// What the files make now.
    fn look(&self) -> Found<R::Product> {
        let found = read(&self.recipe)?;
        if found == self.seen {
            return Ok(None);
        }
        let made = make(&self.recipe, &found)?;
        match &made.validity {
            Some(validity) if !validity.includes(now()) => {
                Err(TlsError::NotValidNow(validity.clone()))
            }
            Some(_) | None => Ok(Some((found, made))),
        }
    }

    /// Puts in force what was found, or tells why not. Answers when to look again.
    fn take(&mut self, found: Found<R::Product>, every: Duration) -> Duration {
        let files = self.recipe.name();
        let is_first = self.trouble.is_none();
        match found {
            Ok(changed) => {
                metrics::gauge!("tls_reload_failing", "files" => files).set(0.0);
                if let Some((seen, Made { product, validity, crl_next_update })) = changed {
                    (self.seen, self.lasts) = (seen, Lasts { validity, crl_next_update });
                    self.in_force.send_replace(Arc::new(product));
                    count(files, "ok");
                    tracing::info!(files, "TLS files have changed and are in force");
                }
                self.trouble = self.lasts.trouble(now()).and_then(|what| self.told(what));
                every
            }
            // Half of a pair, perhaps.
            Err(_) if is_first => {
                let (what, told_at) = (String::new(), Instant::now());
                self.trouble = Some(Trouble { what, told_at });
                every.min(SETTLING)
            }
            Err(why) => {
                metrics::gauge!("tls_reload_failing", "files" => files).set(1.0);
                count(files, "failed");
                self.trouble =
                    self.told(format!("{}; the former files stay in force", chain(&why)));
                every
            }
        }
    }

    /// Tells a trouble, unless it was told not long ago.
    fn told(&mut self, what: String) -> Option<Trouble> {
        match self.trouble.take() {
            Some(before) if before.what == what && before.told_at.elapsed() < REMINDER => {
                Some(before)
            }
            Some(_) | None => {
                tracing::warn!(files = self.recipe.name(), "{what}");
                Some(Trouble { what, told_at: Instant::now() })
            }
        }
    }

    /// Exposes how long what is in force lasts; again each time, since the first time may be before there is a recorder.
    fn expose(&self) {
        let files = self.recipe.name();
        if let Some(validity) = &self.lasts.validity {
            let gauge = metrics::gauge!("tls_certificate_expiry_seconds", "files" => files);
            gauge.set(seconds(validity.to));
        }
        if let Some(next) = self.lasts.crl_next_update {
            metrics::gauge!("tls_crl_next_update_seconds", "files" => files).set(seconds(next));
        }
    }
}

impl Lasts {
    /// What is wrong with what is in force.
    fn trouble(&self, now: OffsetDateTime) -> Option<String> {
        if let Some(validity) = self.validity.as_ref().filter(|it| !it.includes(now)) {
            return Some(format!("the certificate in force, {validity}, and not now"));
        }
        let next = self.crl_next_update.filter(|next| *next < now)?;
        Some(format!(
            "a revocation list should have been replaced by {}: what was revoked since is not known",
            shown(next)
        ))
    }
}

fn read<R: Recipe>(recipe: &R) -> Result<Vec<Vec<u8>>, TlsError> {
    recipe.paths().iter().map(|path| pem::read(path)).collect()
}

fn make<R: Recipe>(recipe: &R, contents: &[Vec<u8>]) -> Result<Made<R::Product>, TlsError> {
    let names: Vec<_> = recipe.paths().iter().map(|path| path.display().to_string()).collect();
    let texts: Vec<_> = names.iter().zip(contents).map(|(name, pem)| Text { name, pem }).collect();
    recipe.make(&texts)
}

/// An error with its sources, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut all = error.to_string();
    let mut source = error.source();
    while let Some(why) = source {
        all = format!("{all}: {why}");
        source = why.source();
    }
    all
}

fn count(files: &'static str, outcome: &'static str) {
    metrics::counter!("tls_reloads_total", "files" => files, "outcome" => outcome).increment(1);
}

#[expect(clippy::cast_precision_loss, reason = "gauges hold doubles; seconds fit for ages")]
fn seconds(time: OffsetDateTime) -> f64 {
    time.unix_timestamp() as f64
}
