//! A bound that callers share, so that none of them can take all of it.
//!
//! Promised: a caller is given more of a bound only while what it would then hold is no more than its share of what is
//! free (dynamic thresholds: Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches",
//! 1998). With the default share of 50 % nobody may hold more than is left for all others. So one greedy caller takes
//! half of the bound at most; a second one half of the rest; and once what they took at first has ended, as all of it
//! does within its deadline, `n` greedy callers hold `1/(n+1)` each and leave as much to everybody else. A caller that
//! is alone and asks for little never notices.
//!
//! A weight of nothing is taken for one of one.
//!
//! Memory: a caller has an entry while it holds something, so entries are never more than the bound itself.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::caller::CallerKey;

/// What a server can give out, and who holds how much of it.
#[derive(Debug)]
pub(crate) struct Quota {
    bound: u64,
    share_percent: u64,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    all: u64,
    by_caller: HashMap<CallerKey, Own>,
    flows: u64,
}

/// What one caller holds.
#[derive(Clone, Copy, Debug)]
struct Own {
    weight: u64,
    flow: u64,
}

/// Part of a bound, such as [`hold`](crate::hold) gives; given back when dropped.
#[derive(Debug)]
pub struct Hold {
    quota: Arc<Quota>,
    caller: CallerKey,
    weight: u64,
    flow: u64,
}

/// Why nothing was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// All callers together hold too much.
    Bound,
    /// This caller holds its share; others still get theirs.
    Share,
}

impl Quota {
    /// `share_percent`: of 1 to 100; with 100 each caller may take whatever is free.
    pub(crate) fn new(bound: usize, share_percent: u32) -> Arc<Self> {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX);
        let share_percent = u64::from(share_percent.clamp(1, 100));
        Arc::new(Self { bound, share_percent, held: Mutex::default() })
    }

    /// Gives the caller so much, or nothing.
    pub(crate) fn take(self: &Arc<Self>, caller: &CallerKey, weight: usize) -> Result<Hold, Full> {
        let weight = u64::try_from(weight.max(1)).unwrap_or(u64::MAX);
        let mut held = self.held();
        let known = held.by_caller.get(caller).copied();
        let own = known.unwrap_or(Own { weight: 0, flow: held.flows });
        fits(self.bound - held.all, own.weight, weight, self.share_percent)?;

        held.all += weight;
        held.flows += u64::from(known.is_none());
        held.by_caller.insert(caller.clone(), Own { weight: own.weight + weight, ..own });
        drop(held);
        Ok(Hold { quota: self.clone(), caller: caller.clone(), weight, flow: own.flow })
    }

    fn give_back(&self, caller: &CallerKey, weight: u64) {
        let mut held = self.held();
        held.all -= weight;
        if let Entry::Occupied(mut own) = held.by_caller.entry(caller.clone()) {
            own.get_mut().weight -= weight;
            if own.get().weight == 0 {
                own.remove();
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // No code that can panic runs under this lock.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    /// The same number for all that one caller holds, and another for each other caller: work of different callers can take
    /// turns by it.
    #[must_use]
    pub fn flow(&self) -> u64 {
        self.flow
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.quota.give_back(&self.caller, self.weight);
    }
}

/// Whether a caller that holds `own` may have `weight` more of what is `free`.
fn fits(free: u64, own: u64, weight: u64, share_percent: u64) -> Result<(), Full> {
    if weight > free {
        return Err(Full::Bound);
    }
    // share/(1 - share) of what is free, without fractions; in 128 bits, so that no bound overflows it.
    let wanted = u128::from(own + weight) * u128::from(100 - share_percent);
    let allowed = u128::from(free) * u128::from(share_percent);
    if wanted <= allowed { Ok(()) } else { Err(Full::Share) }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use proptest::prelude::*;

    use super::*;

    fn caller(number: u32) -> CallerKey {
        CallerKey::of_address(IpAddr::from(Ipv4Addr::from_bits(number)))
    }

    /// Takes pieces of this weight until refused.
    fn take_all(quota: &Arc<Quota>, number: u32, weight: usize) -> Vec<Hold> {
        std::iter::from_fn(|| quota.take(&caller(number), weight).ok()).collect()
    }

    #[test]
    fn a_greedy_caller_gets_half_and_the_next_one_half_of_the_rest() {
        let quota = Quota::new(4_096, 50);
        let first = take_all(&quota, 1, 1);
        let second = take_all(&quota, 2, 1);
        assert_eq!((first.len(), second.len()), (2_048, 1_024));
        assert_eq!(quota.take(&caller(1), 1).unwrap_err(), Full::Share);
        assert!(quota.take(&caller(3), 1).is_ok());
    }

    #[test]
    fn greedy_callers_whose_holds_end_and_begin_anew_come_to_equal_shares_and_leave_one() {
        let quota = Quota::new(4_000, 50);
        let mut holds: Vec<Vec<Hold>> = (0..3).map(|number| take_all(&quota, number, 1)).collect();
        for _round in 0..4_000 {
            for (number, held) in (0..).zip(&mut holds) {
                drop(held.pop());
                held.extend(take_all(&quota, number, 1));
            }
        }
        for held in &holds {
            assert!((950..=1_050).contains(&held.len()), "{}", held.len());
        }
        assert_eq!(take_all(&quota, 7, 1).len(), (4_000 - 3 * holds[0].len()).div_ceil(2));
    }

    #[test]
    fn a_bound_of_one_can_be_taken_and_a_share_of_all_is_no_share() {
        let one = Quota::new(1, 50);
        assert!(one.take(&caller(1), 1).is_ok());
        let all = Quota::new(10, 100);
        assert_eq!(take_all(&all, 1, 1).len(), 10);
        let all = Quota::new(10, 100);
        let _held = take_all(&all, 1, 10);
        assert_eq!(all.take(&caller(2), 1).unwrap_err(), Full::Bound);
    }

    proptest! {
        #[test]
        fn what_is_held_is_within_the_bound_and_the_share_and_all_of_it_comes_back(
            bound in 1_usize..2_000,
            share in 1_u32..=100,
            asks in prop::collection::vec((0_u32..4, 1_usize..300, any::<bool>()), 1..200),
        ) {
            let quota = Quota::new(bound, share);
            let mut holds: Vec<Hold> = Vec::new();
            for (number, weight, ends) in asks {
                if ends && !holds.is_empty() {
                    holds.swap_remove(weight % holds.len());
                }
                let others: u64 =
                    holds.iter().filter(|hold| hold.caller != caller(number)).map(|hold| hold.weight).sum();
                holds.extend(quota.take(&caller(number), weight));
                let own: u64 =
                    holds.iter().filter(|hold| hold.caller == caller(number)).map(|hold| hold.weight).sum();
                prop_assert!(own + others <= bound as u64);
                prop_assert_eq!(quota.held().all, own + others);
                // What one may ever hold alone, give or take the last thing it asked for.
                let most = (bound + 300) as u64 * u64::from(share) / 100;
                prop_assert!(own <= most, "{} of {}", own, most);
            }
            drop(holds);
            let held = quota.held();
            prop_assert_eq!((held.all, held.by_caller.len()), (0, 0));
        }
    }
}
