//! When to ask the resolver again.
//!
//! After an answer: when its validity is over, at the latest after the refresh interval. After a
//! failure: with backoff. When asked to (an endpoint was lost or said GOAWAY): at once. Two lookups
//! never start closer together than `min_interval`, and each is given up after `timeout`.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{Answers, Resolve, ResolveError, Resolved};
use crate::backoff::Delays;
use crate::config::Backoff;
use crate::entropy::Entropy;

/// The bounds on asking.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refresh {
    pub(crate) interval: Duration,
    pub(crate) min_interval: Duration,
    pub(crate) timeout: Duration,
}

pub(crate) struct Discovery {
    resolver: Arc<dyn Resolve>,
    refresh: Refresh,
    entropy: Arc<Entropy>,
    failures: Delays,
    lookup: Option<Lookup>,
    started: Option<Instant>,
    due: Instant,
}

/// A lookup under way.
struct Lookup {
    answers: Answers,
    until: Instant,
    /// An answer came; another one may.
    answered: bool,
}

impl Discovery {
    /// `failures_max`: how far apart failed lookups are at most.
    pub(crate) fn new(
        resolver: Arc<dyn Resolve>,
        refresh: Refresh,
        failures_max: Duration,
        entropy: Arc<Entropy>,
    ) -> Self {
        let failures = Delays::new(Backoff {
            initial: refresh.min_interval,
            max: failures_max,
            multiplier: 1.6,
        });
        let due = Instant::now();
        Self { resolver, refresh, entropy, failures, lookup: None, started: None, due }
    }

    /// Asks as soon as the rate allows.
    pub(crate) fn hurry(&mut self) {
        let soonest = self.started.map(|started| started + self.refresh.min_interval);
        self.due = self.due.min(soonest.unwrap_or(self.due).max(Instant::now()));
    }

    /// The next answer. May be dropped and called again: a lookup under way goes on.
    pub(crate) async fn next(&mut self) -> Result<Resolved, ResolveError> {
        loop {
            let Some(lookup) = &mut self.lookup else {
                sleep_until(self.due).await;
                self.start();
                continue;
            };
            // What is late must not keep the next lookup from its time.
            let until = if lookup.answered { lookup.until.min(self.due) } else { lookup.until };
            let answer = match timeout_at(until, lookup.answers.next()).await {
                Ok(Some(answer)) => answer,
                Ok(None) | Err(_) if lookup.answered => {
                    self.lookup = None;
                    continue;
                }
                Ok(None) | Err(_) => {
                    self.lookup = None;
                    Err(ResolveError::Timeout(self.refresh.timeout))
                }
            };
            if let Some(lookup) = &mut self.lookup {
                lookup.answered = true;
            }
            self.due = Instant::now() + self.rest(&answer);
            return answer;
        }
    }

    fn start(&mut self) {
        let now = Instant::now();
        self.started = Some(now);
        let until = now + self.refresh.timeout;
        self.lookup = Some(Lookup { answers: self.resolver.answers(), until, answered: false });
    }

    fn rest(&mut self, answer: &Result<Resolved, ResolveError>) -> Duration {
        let Refresh { interval, min_interval, .. } = self.refresh;
        match answer {
            Ok(resolved) => {
                self.failures.reset();
                resolved.valid_for.unwrap_or(interval).clamp(min_interval, interval)
            }
            Err(_) => self.failures.next(&self.entropy).max(min_interval),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::resolve::{Address, Resolving};

    /// Answers from a script and writes down when it was asked.
    struct Script {
        began: Instant,
        asked_ms: Mutex<Vec<u128>>,
        answer: Box<dyn Fn(usize) -> Result<Resolved, ResolveError> + Send + Sync>,
    }

    impl Resolve for Script {
        fn resolve(&self) -> Resolving {
            let mut asked = self.asked_ms.lock().unwrap();
            asked.push(self.began.elapsed().as_millis());
            let answer = (self.answer)(asked.len());
            Box::pin(async move { answer })
        }
    }

    fn valid_for(seconds: u64) -> Result<Resolved, ResolveError> {
        let addresses = vec![Address::Unix("/a".into())];
        Ok(Resolved { addresses, valid_for: Some(Duration::from_secs(seconds)) })
    }

    fn discovery(
        answer: impl Fn(usize) -> Result<Resolved, ResolveError> + Send + Sync + 'static,
    ) -> (Arc<Script>, Discovery) {
        let answer = Box::new(answer);
        let script = Arc::new(Script { began: Instant::now(), asked_ms: Mutex::default(), answer });
        let refresh = Refresh {
            interval: Duration::from_secs(30),
            min_interval: Duration::from_secs(1),
            timeout: Duration::from_secs(10),
        };
        let resolver: Arc<dyn Resolve> = Arc::clone(&script) as _;
        let entropy = Arc::new(Entropy::seeded(1));
        (script, Discovery::new(resolver, refresh, refresh.interval, entropy))
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_renewed_when_its_validity_is_over_within_the_bounds() {
        let (script, mut discovery) = discovery(|nth| valid_for([0, 5, 0, 900, 7][nth]));
        for _ in 0..4 {
            discovery.next().await.unwrap();
        }
        assert_eq!(*script.asked_ms.lock().unwrap(), [0, 5_000, 6_000, 36_000]);
    }

    #[tokio::test(start_paused = true)]
    async fn hurry_asks_at_once_but_not_faster_than_the_rate() {
        let (script, mut discovery) = discovery(|_| valid_for(900));
        discovery.next().await.unwrap();
        discovery.hurry();
        discovery.next().await.unwrap();
        discovery.hurry();
        discovery.hurry();
        discovery.next().await.unwrap();
        tokio::time::advance(Duration::from_secs(5)).await;
        discovery.hurry();
        discovery.next().await.unwrap();
        assert_eq!(*script.asked_ms.lock().unwrap(), [0, 1_000, 2_000, 7_000]);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_repeated_ever_more_slowly_up_to_the_interval() {
        let (script, mut discovery) = discovery(|_| Err(ResolveError::Empty("x".into())));
        for _ in 0..12 {
            discovery.next().await.unwrap_err();
        }
        let asked = script.asked_ms.lock().unwrap().clone();
        let gaps: Vec<_> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.iter().all(|gap| (1_000..=36_000).contains(gap)), "{gaps:?}");
        assert!(gaps[10] >= 24_000, "{gaps:?}");
    }
}
