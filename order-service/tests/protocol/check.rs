//! Searches a world: all of it, or until a property breaks.

use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

use super::{Protocol, properties::invariants, world::Action};

/// Holds every invariant to every state of the world, and finds all the places that it says it visits.
pub(crate) fn hold(what: &str, protocol: Protocol) {
    let started = Instant::now();
    let visits = protocol.visits;
    // Visits alone end no search: an invariant that holds is never discovered.
    let search = protocol.checker().spawn_bfs().join();
    println!(
        "{what}: {} states, {} steps, at most {} deep, in {:.1?}",
        search.unique_state_count(),
        search.state_count(),
        search.max_depth(),
        started.elapsed()
    );
    for property in invariants() {
        if let Some(path) = search.discovery(property.name) {
            panic!("not so: {}\n{}", property.name, trace(path.into_actions()));
        }
    }
    for place in visits {
        assert!(search.discovery(place).is_some(), "not visited: {place}");
    }
}

/// Finds a shortest way to break the property.
pub(crate) fn breaks(property: &'static str, protocol: Protocol) {
    let mut shortest = find(property, &protocol, usize::MAX)
        .unwrap_or_else(|| panic!("nothing breaks without the safeguard: {property}"));
    while let Some(shorter) = find(property, &protocol, shortest.len()) {
        shortest = shorter;
    }
    println!("not so: {property}\n{}", trace(shortest));
}

/// A way of less than `bound` steps to break it.
fn find(property: &'static str, protocol: &Protocol, bound: usize) -> Option<Vec<Action>> {
    // The first state is at depth 1, and states at the target are not looked at.
    let search = protocol.clone().checker().target_max_depth(bound.saturating_add(1));
    let until = HasDiscoveries::AnyOf([property].into());
    search.finish_when(until).spawn_bfs().join().discovery(property).map(|path| path.into_actions())
}

fn trace(actions: Vec<Action>) -> String {
    actions.iter().map(|action| format!("  {action:?}\n")).collect()
}
