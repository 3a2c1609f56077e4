//! What a Deployment does next: a pure decision over what it sees.
//!
//! The rules are those of Kubernetes. While a new version comes, there are at most
//! `replicas + max_surge` pods that are not leaving, and an old pod is asked to leave only if
//! `replicas - max_unavailable` stay available. Pods that are leaving count for nothing: their
//! places are free. Of several, pods that are not ready leave first, then the youngest.

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) replicas: usize,
    pub(crate) max_surge: usize,
    pub(crate) max_unavailable: usize,
    /// The version that all pods should have.
    pub(crate) generation: u64,
}

/// A pod that is not leaving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Rising: a younger pod has a higher number.
    pub(crate) number: u32,
    pub(crate) generation: u64,
    pub(crate) ready: bool,
    /// Ready for long enough.
    pub(crate) available: bool,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Start a pod of the wanted generation.
    Start,
    /// Ask this pod to leave.
    Delete(u32),
}

/// The next step, or none until something changes.
pub(crate) fn next(wanted: &Wanted, pods: &[Seen]) -> Option<Step> {
    let current = pods.iter().filter(|pod| pod.generation == wanted.generation).count();
    let old = pods.len() - current;
    if current < wanted.replicas && pods.len() < wanted.replicas + surge(wanted, old) {
        return Some(Step::Start);
    }
    if current > wanted.replicas {
        return leaver(pods, |pod| pod.generation == wanted.generation).map(Step::Delete);
    }
    let unready_old = |pod: &Seen| pod.generation != wanted.generation && !pod.available;
    if let Some(broken) = leaver(pods, unready_old) {
        return Some(Step::Delete(broken));
    }
    let available = pods.iter().filter(|pod| pod.available).count();
    let spare = available + wanted.max_unavailable > wanted.replicas;
    let old_one = leaver(pods, |pod| pod.generation != wanted.generation);
    old_one.filter(|_| spare).map(Step::Delete)
}

/// Whether all pods are of the wanted generation, as many as wanted, and available.
pub(crate) fn is_done(wanted: &Wanted, pods: &[Seen]) -> bool {
    let good = |pod: &Seen| pod.generation == wanted.generation && pod.available;
    pods.len() == wanted.replicas && pods.iter().all(good)
}

/// More pods than wanted are allowed only while old ones are to be replaced.
fn surge(wanted: &Wanted, old: usize) -> usize {
    if old == 0 { 0 } else { wanted.max_surge }
}

fn leaver(pods: &[Seen], may_leave: impl Fn(&Seen) -> bool) -> Option<u32> {
    let candidates = pods.iter().filter(|pod| may_leave(pod));
    candidates.max_by_key(|pod| (!pod.ready, pod.number)).map(|pod| pod.number)
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// A Deployment whose pods become available, and break, as dice fall.
    struct World {
        wanted: Wanted,
        pods: Vec<Seen>,
        next_number: u32,
        random: StdRng,
    }

    impl World {
        fn new(wanted: Wanted, seed: u64) -> Self {
            let random = StdRng::seed_from_u64(seed);
            Self { wanted, pods: Vec::new(), next_number: 1, random }
        }

        /// Takes all steps there are; their bound is that each starts or deletes one pod.
        fn settle(&mut self) {
            for _ in 0..100 {
                match next(&self.wanted, &self.pods) {
                    None => return,
                    Some(Step::Start) => {
                        let (number, generation) = (self.next_number, self.wanted.generation);
                        self.next_number += 1;
                        self.pods.push(Seen { number, generation, ready: false, available: false });
                    }
                    Some(Step::Delete(number)) => {
                        self.pods.retain(|pod| pod.number != number);
                    }
                }
            }
            panic!("the controller does not come to rest: {:?}", self.pods);
        }

        fn one_becomes_available(&mut self) {
            let waiting: Vec<usize> =
                (0..self.pods.len()).filter(|at| !self.pods[*at].available).collect();
            if !waiting.is_empty() {
                let chosen = waiting[self.random.random_range(0..waiting.len())];
                (self.pods[chosen].ready, self.pods[chosen].available) = (true, true);
            }
        }

        fn available(&self) -> usize {
            self.pods.iter().filter(|pod| pod.available).count()
        }

        /// Until nothing is left to do.
        fn finish(&mut self) {
            for _ in 0..200 {
                self.settle();
                if is_done(&self.wanted, &self.pods) {
                    return;
                }
                self.one_becomes_available();
            }
            panic!("never done: {:?} {:?}", self.wanted, self.pods);
        }
    }

    fn wanted(replicas: usize, max_surge: usize, max_unavailable: usize) -> Wanted {
        Wanted { replicas, max_surge, max_unavailable, generation: 1 }
    }

    #[test]
    fn a_roll_keeps_its_bounds_and_ends_whatever_the_order_in_which_pods_become_ready() {
        for seed in 0..500 {
            let mut world = World::new(wanted(2, 1, 0), seed);
            world.wanted.replicas = world.random.random_range(1..6);
            world.wanted.max_surge = world.random.random_range(0..3);
            world.wanted.max_unavailable = world.random.random_range(0..3);
            if world.wanted.max_surge == 0 {
                world.wanted.max_unavailable = world.wanted.max_unavailable.max(1);
            }
            world.finish();
            world.wanted.generation = 2;
            let most = world.wanted.replicas + world.wanted.max_surge;
            let least = world.wanted.replicas.saturating_sub(world.wanted.max_unavailable);
            while !is_done(&world.wanted, &world.pods) {
                world.settle();
                let wanted = world.wanted;
                assert!(world.pods.len() <= most, "seed {seed}: {wanted:?} {:?}", world.pods);
                assert!(world.available() >= least, "seed {seed}: {wanted:?} {:?}", world.pods);
                world.one_becomes_available();
            }
        }
    }

    #[test]
    fn scaling_starts_what_is_missing_at_once_and_takes_the_youngest_away() {
        let mut world = World::new(wanted(2, 1, 0), 1);
        world.finish();
        world.wanted.replicas = 4;
        world.settle();
        assert_eq!(world.pods.len(), 4);
        world.finish();
        world.wanted.replicas = 2;
        world.settle();
        assert_eq!(world.pods.iter().map(|pod| pod.number).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn a_deleted_pod_is_replaced_and_one_that_is_not_ready_leaves_before_others() {
        let mut world = World::new(wanted(3, 1, 0), 1);
        world.finish();
        world.pods.remove(0);
        assert_eq!(next(&world.wanted, &world.pods), Some(Step::Start));
        world.settle();
        world.wanted.replicas = 2;
        let youngest_and_not_ready = world.pods[2].number;
        assert_eq!(next(&world.wanted, &world.pods), Some(Step::Delete(youngest_and_not_ready)));
    }

    #[test]
    fn a_new_version_that_never_becomes_ready_takes_no_old_pod_away() {
        let mut world = World::new(wanted(2, 1, 0), 1);
        world.finish();
        world.wanted.generation = 2;
        world.settle();
        assert_eq!(world.available(), 2);
        assert_eq!(world.pods.len(), 3);
        assert_eq!(next(&world.wanted, &world.pods), None);
    }
}
