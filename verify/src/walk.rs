//! Both books from the first account to the last, range by range, while both services go on.
//!
//! A range is read once: a page of each book, merged by name. What does not agree is looked at again, because the two
//! pages are not of one moment. A difference is real when two looks in a row found the same rows: an order and a
//! reservation never go back to what they were, so nothing changed between the looks, and there was a moment at which
//! both books stood as they were read. What has changed in between is looked at once more, a bounded number of times.
//!
//! Bounds: two pages of [`Settings::rows`] and the differences among them are in memory, one connection to each database
//! is used, each statement ends by [`Settings::range_timeout`].

use std::{collections::BTreeMap, time::Duration};

use database::DatabaseUrl;
use tokio::time::sleep;
use uuid::Uuid;

use crate::{
    facts::{Aged, Case, Name, Told},
    merge::{Key, Merged, merge},
    origin::Origin,
    read::{self, Book, ReadError},
    rules::{Judgement, Rules, judge},
};

/// How often a case is looked at after the first time, until two looks agree. Of the rows of one order each changes a
/// handful of times in its life.
const LOOKS: u32 = 5;

/// How the books are read and judged.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Orders and reservations younger than this, by their database's clock, are not judged.
    pub horizon: Duration,
    /// Rows of each book in one range.
    pub rows: u32,
    /// Wait between two ranges.
    pub pause: Duration,
    /// How long one statement may take.
    pub range_timeout: Duration,
    /// Wait before what does not agree is looked at again.
    pub second_look: Duration,
    /// What is judged.
    pub rules: Rules,
}

/// Both books, as far as they were read.
pub struct Walk {
    orders: Book,
    accounts: Book,
    settings: Settings,
    after_order: Name,
    after_reservation: Key,
    over: bool,
}

/// What a range holds.
#[derive(Debug, Default)]
pub struct Range {
    /// Orders that were read.
    pub orders: usize,
    /// Reservations that were read.
    pub reservations: usize,
    /// Of them, those that another caller made.
    pub foreign: usize,
    /// Cases within the horizon.
    pub young: usize,
    /// Cases that were looked at again.
    pub looked_again: usize,
    /// Cases that changed between all looks, so that nothing is known of them.
    pub restless: Vec<Name>,
    /// Cases that do not agree.
    pub unsound: Vec<Case>,
}

impl Settings {
    /// For two databases at rest, as after a test: everything is judged, and nothing excused.
    #[must_use]
    pub fn at_rest() -> Self {
        let minute = Duration::from_secs(60);
        Self {
            horizon: Duration::ZERO,
            rows: 10_000,
            pause: Duration::ZERO,
            range_timeout: minute,
            second_look: Duration::ZERO,
            rules: Rules { outbox_age_max: 60 * minute, strict: true },
        }
    }
}

impl Walk {
    /// Starts before the first account. Nothing is read yet.
    #[must_use]
    pub fn new(account: &DatabaseUrl, order: &DatabaseUrl, settings: Settings) -> Self {
        Self {
            orders: Book::new(order, settings.range_timeout),
            accounts: Book::new(account, settings.range_timeout),
            settings,
            after_order: Name { account: i64::MIN, id: Uuid::nil() },
            after_reservation: Key { account: i64::MIN, id: String::new() },
            over: false,
        }
    }

    /// The next range; `None` after the last account.
    ///
    /// # Errors
    /// When a database cannot be read, after bounded retries.
    pub async fn next(&mut self) -> Result<Option<Range>, ReadError> {
        if self.over {
            return Ok(None);
        }
        let merged = self.read().await?;
        let mut range =
            Range { orders: merged.orders, reservations: merged.reservations, ..Range::default() };
        let cases = self.judged(merged, &mut range);

        range.looked_again = cases.len();
        self.confirm(cases, &mut range).await?;
        if !self.over {
            sleep(self.settings.pause).await;
        }
        Ok(Some(range))
    }

    /// What is wrong with these orders, in words, whatever their ages.
    ///
    /// # Errors
    /// When a database cannot be read, after bounded retries.
    pub(crate) async fn differences(&mut self, names: Vec<Name>) -> Result<Vec<String>, ReadError> {
        let mut range = Range::default();
        self.confirm(names, &mut range).await?;

        let judged =
            range.unsound.iter().filter_map(|case| match judge(case, self.settings.rules) {
                Judgement::Sound => None,
                Judgement::Breach { invariant, why } => {
                    Some(format!("{invariant}: {} {why}", case.name.id))
                }
                Judgement::Suspect(why) => Some(format!("suspect: {} {why}", case.name.id)),
            });
        let restless =
            range.restless.iter().map(|name| format!("{} changes while it is read", name.id));
        Ok(judged.chain(restless).collect())
    }

    /// Orders first: an order's reservation was made before it.
    async fn read(&mut self) -> Result<Merged, ReadError> {
        let limit = self.settings.rows;
        let orders = read::orders(&mut self.orders, self.after_order, limit).await?;
        let after = &self.after_reservation;
        let reservations = read::reservations(&mut self.accounts, after, limit).await?;

        self.over = !orders.full && !reservations.full;
        let mut merged = merge(orders, reservations);
        self.after_order = merged.last_order.unwrap_or(self.after_order);
        if let Some(last) = merged.last_reservation.take() {
            self.after_reservation = last;
        }
        Ok(merged)
    }

    /// The names of a range that do not agree at first sight.
    fn judged(&self, merged: Merged, range: &mut Range) -> Vec<Name> {
        let Settings { horizon, rules, .. } = self.settings;
        let mut names = Vec::new();
        range.foreign = merged.reservations;
        for case in merged.cases {
            let origin = case.reservation.as_ref().map(|held| held.row.origin);
            if case.order.is_none() && origin == Some(Origin::Foreign) {
                continue;
            }
            range.foreign -= usize::from(origin.is_some());
            if case.age() < horizon {
                range.young += 1;
            } else if judge(&case, rules) != Judgement::Sound {
                names.push(case.name);
            }
        }
        names
    }

    /// Looks until two looks in a row agree.
    async fn confirm(&mut self, names: Vec<Name>, range: &mut Range) -> Result<(), ReadError> {
        let rules = self.settings.rules;
        let unsound = |cases: Vec<Case>| {
            cases.into_iter().filter(|case| judge(case, rules) != Judgement::Sound)
        };
        let mut before: Vec<_> = unsound(self.look(&names).await?).collect();
        for _ in 0..LOOKS {
            if before.is_empty() {
                return Ok(());
            }
            sleep(self.settings.second_look).await;
            let names: Vec<_> = before.iter().map(|case| case.name).collect();
            let now = self.look(&names).await?;

            let pairs = before.iter().zip(now);
            let (same, changed): (Vec<_>, Vec<_>) =
                pairs.partition(|(before, now)| before.same_rows(now));
            let cases = |pairs: Vec<(_, Case)>| pairs.into_iter().map(|(_, now)| now).collect();
            range.unsound.extend(unsound(cases(same)));
            before = unsound(cases(changed)).collect();
        }
        range.restless.extend(before.into_iter().map(|case| case.name));
        Ok(())
    }

    /// All that both books say about these names, in their order.
    async fn look(&mut self, names: &[Name]) -> Result<Vec<Case>, ReadError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let looked = read::look_at_orders(&mut self.orders, names).await?;
        let mut reservations = read::look_at_reservations(&mut self.accounts, names).await?;

        let mut cases: BTreeMap<Name, Case> =
            names.iter().map(|name| (*name, Case::unknown(*name))).collect();
        for (name, case) in &mut cases {
            case.reservation = reservations.remove(name);
        }
        for (name, order) in looked.orders {
            cases.entry(name).and_modify(|case| case.order = Some(order));
        }
        for (name, row, age) in looked.waiting {
            cases.entry(name).and_modify(|case| {
                // A capture was written with its order; of other rows an old database does not say when.
                let placed = case.order.as_ref().filter(|_| row.action == Told::Capture);
                let age = age.or(placed.map(|order| order.age)).unwrap_or_default();
                case.waiting.push(Aged { row, age });
            });
        }
        for (name, action) in looked.resolved {
            cases.entry(name).and_modify(|case| case.resolved.push(action));
        }
        for name in looked.undecided {
            cases.entry(name).and_modify(|case| case.undecided = true);
        }
        Ok(cases.into_values().collect())
    }
}
