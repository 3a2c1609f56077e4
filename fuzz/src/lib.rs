//! Inputs that nobody would send, for the tests of whatever reads input.
//!
//! A [`Fuzz`] changes what it was given and hands the result to a target, which must not panic. An input whose outcome
//! was not seen before becomes one to start from: without counting branches, this leads from `1` to `1.5` to `1.50001`.
//!
//! Promised: the same seed, corpus and number of inputs give the same inputs, if the target gives the same outcomes. Bounded
//! by a number of inputs and a time, whichever comes first; no input is longer than [`LENGTH_MAX`], and no more than
//! [`POOL_MAX`] are remembered. On failure: the panic shows the seed and the input, ready to be put into the corpus.
//!
//! `FUZZ_SECONDS` and `FUZZ_SEED` in the environment make a search of a test: as long, and from there.

mod change;
mod panics;
mod settings;

use std::any::Any;
use std::collections::HashSet;
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

pub use panics::panics;
use settings::Settings;

/// No input is longer.
pub const LENGTH_MAX: usize = 16 * 1024;

/// So many inputs are remembered to start from.
pub const POOL_MAX: usize = 2_000;

/// A source of inputs.
pub struct Fuzz {
    name: &'static str,
    settings: Settings,
    random: StdRng,
    pool: Vec<Vec<u8>>,
    dictionary: Vec<Vec<u8>>,
    outcomes: HashSet<u64>,
    begun: Instant,
    /// What is left of the corpus to be handed out as it is.
    corpus: std::ops::Range<usize>,
    /// Whether the last input is in the pool already.
    is_known: bool,
    made: u64,
}

impl Fuzz {
    /// Starts from these. The name says in a failure which target it was.
    ///
    /// # Panics
    /// When there is nothing to start from, or the environment is no number.
    pub fn new<T: AsRef<[u8]>>(name: &'static str, corpus: impl IntoIterator<Item = T>) -> Self {
        let settings = Settings::read();
        let pool: Vec<_> = corpus.into_iter().map(|input| input.as_ref().to_vec()).collect();
        assert!(!pool.is_empty(), "{name}: nothing to start from");
        Self {
            name,
            random: StdRng::seed_from_u64(settings.seed),
            settings,
            corpus: 0..pool.len(),
            pool,
            dictionary: Vec::new(),
            outcomes: HashSet::new(),
            begun: Instant::now(),
            is_known: false,
            made: 0,
        }
    }

    /// Words of the format, which chance would not find.
    #[must_use]
    pub fn dictionary<T: AsRef<[u8]>>(mut self, words: impl IntoIterator<Item = T>) -> Self {
        self.dictionary = words.into_iter().map(|word| word.as_ref().to_vec()).collect();
        self
    }

    /// At most so many inputs, unless the environment asks for a longer search.
    #[must_use]
    pub fn inputs_max(mut self, inputs: u64) -> Self {
        self.settings.inputs_max = self.settings.inputs_max.map(|_| inputs);
        self
    }

    /// So many inputs, and as long as they take; unless the environment asks for a longer search.
    #[must_use]
    pub fn exactly(mut self, inputs: u64) -> Self {
        if self.settings.inputs_max.is_some() {
            self.settings =
                Settings { inputs_max: Some(inputs), time: Duration::MAX, ..self.settings };
        }
        self
    }

    /// Hands inputs to a target until a bound is reached, and answers how many. What the target answers tells outcomes
    /// apart.
    ///
    /// # Panics
    /// When the target panics: with the input that made it.
    pub fn run<O: Hash>(mut self, mut target: impl FnMut(&[u8]) -> O) -> u64 {
        while let Some(input) = self.next() {
            match catch_unwind(AssertUnwindSafe(|| target(&input))) {
                Ok(outcome) => self.learn(&input, &outcome),
                Err(panic) => self.fail(&input, panic),
            }
        }
        self.made
    }

    /// As [`Fuzz::run`], for text.
    ///
    /// # Panics
    /// As [`Fuzz::run`].
    pub fn run_text<O: Hash>(self, mut target: impl FnMut(&str) -> O) -> u64 {
        self.run(|input| target(&String::from_utf8_lossy(input)))
    }

    /// The next input, for targets that have to be awaited; `None` when a bound is reached.
    #[expect(clippy::should_implement_trait, reason = "an iterator could not be taught outcomes")]
    pub fn next(&mut self) -> Option<Vec<u8>> {
        if self.settings.inputs_max.is_some_and(|most| self.made >= most) {
            return None;
        }
        if self.begun.elapsed() >= self.settings.time {
            return None;
        }
        self.made += 1;

        let of_corpus = self.corpus.next();
        self.is_known = of_corpus.is_some();
        if let Some(at) = of_corpus {
            return Some(self.pool[at].clone());
        }
        let mut input = self.pool.choose(&mut self.random).expect("never empty").clone();
        for _ in 0..self.random.random_range(1..=4) {
            change::change(&mut input, &self.pool, &self.dictionary, &mut self.random);
        }
        input.truncate(LENGTH_MAX);
        Some(input)
    }

    /// Remembers an input whose outcome is new.
    pub fn learn<O: Hash>(&mut self, input: &[u8], outcome: &O) {
        let mut hasher = DefaultHasher::new();
        outcome.hash(&mut hasher);
        let is_new = self.outcomes.insert(hasher.finish());
        if is_new && !self.is_known && self.pool.len() < POOL_MAX {
            self.pool.push(input.to_vec());
        }
    }

    /// What to say of an input that went wrong.
    #[must_use]
    pub fn describe(&self, input: &[u8]) -> String {
        let (name, seed, number) = (self.name, self.settings.seed, self.made);
        let mut hex = String::with_capacity(2 * input.len());
        for byte in input {
            write!(hex, "{byte:02x}").expect("a String takes everything");
        }
        format!("{name}, FUZZ_SEED={seed}, input {number}: {} = 0x{hex}", input.escape_ascii())
    }

    fn fail(&self, input: &[u8], panic: Box<dyn Any + Send>) -> ! {
        eprintln!("{}", self.describe(input));
        resume_unwind(panic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three steps, each of which chance alone would take once in millions of inputs.
    fn hidden(input: &[u8]) -> u32 {
        match input {
            [b'a', b'b', b'c', ..] => panic!("found"),
            [b'a', b'b', ..] => 2,
            [b'a', ..] => 1,
            _ => 0,
        }
    }

    #[test]
    fn what_is_hidden_behind_several_outcomes_is_found_and_its_input_told() {
        let found = catch_unwind(|| Fuzz::new("hidden", ["xyz"]).inputs_max(2_000_000).run(hidden));
        let panic = found.unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"found"));
    }

    #[test]
    fn the_same_seed_gives_the_same_inputs() {
        let inputs = || {
            let mut fuzz = Fuzz::new("same", ["12.5", "k"]).dictionary(["."]).inputs_max(500);
            std::iter::from_fn(move || fuzz.next()).collect::<Vec<_>>()
        };
        assert_eq!(inputs(), inputs());
        assert_eq!(inputs()[..2], [b"12.5".to_vec(), b"k".to_vec()]);
    }

    #[test]
    fn no_input_is_longer_than_the_bound_and_what_is_remembered_is_bounded() {
        let mut fuzz = Fuzz::new("long", [vec![b'x'; LENGTH_MAX]]).inputs_max(5_000);
        while let Some(input) = fuzz.next() {
            assert!(input.len() <= LENGTH_MAX);
            let outcome = fuzz.made;
            fuzz.learn(&input, &outcome);
        }
        assert_eq!(fuzz.pool.len(), POOL_MAX);
    }
}
