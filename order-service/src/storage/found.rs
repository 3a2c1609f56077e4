//! The rows that a batch asked for.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
};

use failpoint::{Safeguard, is_off};

/// Rows by what they were asked for.
///
/// Answers are copies and nothing can be taken out, so equal jobs of one batch get equal answers.
#[derive(Debug)]
pub(super) struct Found<K, V>(HashMap<K, V>);

impl<K: Eq + Hash, V: Clone> Found<K, V> {
    /// One answer per job, in their order.
    pub(super) fn answers(&self, asked: &[K]) -> Vec<Option<V>> {
        if is_off(Safeguard::BatchDuplicates) {
            return self.answers_of_the_first(asked);
        }
        asked.iter().map(|name| self.0.get(name).cloned()).collect()
    }

    /// What [`Safeguard::BatchDuplicates`] keeps from happening: of equal jobs only the first gets the row.
    fn answers_of_the_first(&self, asked: &[K]) -> Vec<Option<V>> {
        let mut seen = HashSet::new();
        asked.iter().map(|name| self.0.get(name).filter(|_| seen.insert(name)).cloned()).collect()
    }

    /// The jobs that found nothing.
    pub(super) fn missing<'a>(&self, asked: &'a [K]) -> Vec<&'a K> {
        asked.iter().filter(|name| !self.0.contains_key(*name)).collect()
    }

    /// Adds rows that were found elsewhere.
    pub(super) fn extend(&mut self, rows: impl IntoIterator<Item = (K, V)>) {
        self.0.extend(rows);
    }
}

impl<K: Eq + Hash, V> FromIterator<(K, V)> for Found<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(rows: I) -> Self {
        Self(rows.into_iter().collect())
    }
}
