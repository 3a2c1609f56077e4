//! Several sources as one: the two address families of a name, the names of a `static:///` target.
//!
//! No source waits for another for long. Once one has addresses the others have 50 ms to join it (RFC
//! 8305, "Resolution Delay"); then what is there is the answer, and what comes later is another one.
//! A source that has not answered, or has failed, stands for the addresses that it gave last: only
//! its own word that there are none takes them away. All sources failing is a failure.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream, SelectAll};
use tokio::time::{Instant, timeout_at};

use super::{Answers, Resolve, ResolveError, Resolved, Resolving};

const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

type Answer = Result<Resolved, ResolveError>;

/// Answers what all of its parts answer together.
#[derive(Clone)]
pub(crate) struct Joined {
    parts: Arc<[Arc<dyn Resolve>]>,
    /// What each part said last of its addresses, in this lookup or one before.
    known: Arc<Mutex<Vec<Option<Resolved>>>>,
}

impl Joined {
    pub(crate) fn new(parts: Vec<Arc<dyn Resolve>>) -> Self {
        let known = Arc::new(Mutex::new(vec![None; parts.len()]));
        Self { parts: parts.into(), known }
    }
}

impl Resolve for Joined {
    fn resolve(&self) -> Resolving {
        let mut answers = self.answers();
        Box::pin(async move {
            let nothing = || Err(ResolveError::Empty("an empty list".to_owned()));
            answers.next().await.unwrap_or_else(nothing)
        })
    }

    fn answers(&self) -> Answers {
        let tagged = |(index, part): (usize, &Arc<dyn Resolve>)| {
            part.answers().map(move |answer| (index, answer)).boxed()
        };
        let lookup = Lookup {
            pending: self.parts.iter().enumerate().map(tagged).collect(),
            latest: vec![None; self.parts.len()],
            known: Arc::clone(&self.known),
            answered: false,
        };
        Box::pin(stream::unfold(lookup, |mut lookup| async move {
            lookup.next().await.map(|answer| (answer, lookup))
        }))
    }
}

/// One lookup of all parts.
struct Lookup {
    pending: SelectAll<BoxStream<'static, (usize, Answer)>>,
    latest: Vec<Option<Answer>>,
    known: Arc<Mutex<Vec<Option<Resolved>>>>,
    answered: bool,
}

impl Lookup {
    async fn next(&mut self) -> Option<Answer> {
        let mut until = None;
        loop {
            let next = match until {
                None => Ok(self.pending.next().await),
                Some(until) => timeout_at(until, self.pending.next()).await,
            };
            match next {
                Ok(Some((part, answer))) => self.take(part, answer),
                // All have said all that they will.
                Ok(None) if self.answered => return None,
                Ok(None) | Err(_) => return Some(self.answer()),
            }

            let found = |answer: &Option<Answer>| matches!(answer, Some(Ok(_)));
            if self.answered || self.latest.iter().all(Option::is_some) {
                return Some(self.answer());
            }
            if until.is_none() && self.latest.iter().any(found) {
                until = Some(Instant::now() + RESOLUTION_DELAY);
            }
        }
    }

    fn take(&mut self, part: usize, answer: Answer) {
        // Whoever panicked left a list of whole answers.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match &answer {
            Ok(resolved) => known[part] = Some(resolved.clone()),
            Err(ResolveError::Empty(_)) => known[part] = None,
            Err(ResolveError::Lookup { .. } | ResolveError::Timeout(_)) => {}
        }
        self.latest[part] = Some(answer);
    }

    fn answer(&mut self) -> Answer {
        self.answered = true;
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut joined = Resolved { addresses: Vec::new(), valid_for: None };
        let mut failure = ResolveError::Empty("an empty list".to_owned());
        let mut any = false;
        for (latest, known) in self.latest.iter().zip(known.iter()) {
            match latest {
                Some(Ok(part)) => {
                    any = true;
                    let both = [joined.valid_for, part.valid_for].into_iter().flatten();
                    joined.valid_for = both.min();
                }
                Some(Err(error)) => failure = error.clone(),
                None => {}
            }
            joined.addresses.extend(known.iter().flat_map(|part| part.addresses.clone()));
        }
        if any { Ok(joined) } else { Err(failure) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::resolve::Address;

    /// Answers one after the other: after this long, with this address or one of the failures.
    struct Script(Vec<(u64, Said)>, AtomicUsize);

    #[derive(Clone, Copy)]
    enum Said {
        Has(&'static str),
        HasNone,
        Fails,
    }

    impl Resolve for Script {
        fn resolve(&self) -> Resolving {
            let (after_ms, said) = self.0[self.1.fetch_add(1, Ordering::Relaxed)];
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(after_ms)).await;
                let valid_for = Some(Duration::from_millis(after_ms + 1));
                match said {
                    Said::Has(path) => {
                        Ok(Resolved { addresses: vec![Address::Unix(path.into())], valid_for })
                    }
                    Said::HasNone => Err(ResolveError::Empty("none".to_owned())),
                    Said::Fails => Err(ResolveError::Timeout(Duration::ZERO)),
                }
            })
        }
    }

    fn joined(scripts: [Vec<(u64, Said)>; 2]) -> Joined {
        let part = |script| Arc::new(Script(script, AtomicUsize::new(0))) as Arc<dyn Resolve>;
        Joined::new(scripts.map(part).into())
    }

    /// All answers of one lookup: after how many ms, and the paths, or that it failed.
    async fn lookup(joined: &Joined) -> Vec<(u128, String)> {
        let (began, mut answers, mut told) = (Instant::now(), joined.answers(), Vec::new());
        while let Some(answer) = answers.next().await {
            let paths = |resolved: Resolved| {
                let paths: Vec<_> = resolved.addresses.iter().map(ToString::to_string).collect();
                paths.join(" ")
            };
            told.push((began.elapsed().as_millis(), answer.map_or("failed".to_owned(), paths)));
        }
        told
    }

    fn told(expected: &[(u128, &str)]) -> Vec<(u128, String)> {
        expected.iter().map(|(at, text)| (*at, (*text).to_owned())).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_waits_50_ms_for_the_others_which_join_when_they_come() {
        let quick = joined([vec![(5, Said::Has("a"))], vec![(40, Said::Has("b"))]]);
        assert_eq!(lookup(&quick).await, told(&[(40, "unix:a unix:b")]));
        let slow = joined([vec![(5, Said::Has("a"))], vec![(900, Said::Has("b"))]]);
        assert_eq!(lookup(&slow).await, told(&[(55, "unix:a"), (900, "unix:a unix:b")]));
        // A failure is nothing to go on with: the other is waited for.
        let failed = joined([vec![(5, Said::Fails)], vec![(900, Said::Has("b"))]]);
        assert_eq!(lookup(&failed).await, told(&[(900, "unix:b")]));
        let neither = joined([vec![(5, Said::Fails)], vec![(900, Said::HasNone)]]);
        assert_eq!(lookup(&neither).await, told(&[(900, "failed")]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_fails_or_is_late_keeps_its_addresses_until_it_says_otherwise() {
        let said = [Said::Has("b"), Said::Fails, Said::Has("c"), Said::HasNone];
        let second = said.into_iter().zip([5, 5, 500, 5]).map(|(said, after)| (after, said));
        let joined = joined([vec![(5, Said::Has("a")); 4], second.collect()]);
        assert_eq!(lookup(&joined).await, told(&[(5, "unix:a unix:b")]));
        assert_eq!(lookup(&joined).await, told(&[(5, "unix:a unix:b")]));
        let late = [(55, "unix:a unix:b"), (500, "unix:a unix:c")];
        assert_eq!(lookup(&joined).await, told(&late));
        assert_eq!(lookup(&joined).await, told(&[(5, "unix:a")]));
    }
}
