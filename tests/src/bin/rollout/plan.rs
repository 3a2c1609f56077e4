//! Which events, in which order: an endless cycle, cut where the time is over.

use tests::cluster::Service;

/// Both services, in the order in which they are named.
pub(crate) const BOTH: [Service; 2] = [Service::Account, Service::Order];

/// Something that happens to pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A rolling update from the previous programs to the new ones, of both services at once.
    Update,
    /// A rolling restart of these services at once.
    Roll(&'static [Service]),
    /// A random pod of each service is deleted.
    Delete,
    /// SIGKILL to a random pod of each service.
    Kill,
    /// Both services are scaled to as many pods as their autoscalers may want.
    ScaleUp,
    /// Both services are scaled to as few as their autoscalers may want.
    ScaleDown,
    /// The database server is stopped and started again.
    RestartDatabase,
}

/// What is asked of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Nobody may notice: no failure, and no caller that has to ask again.
    Graceful,
    /// Callers may have to ask again, with the same key.
    Hard,
}

/// Pods come and go eighteen times and more, and six are killed; what was killed is replaced before it
/// is killed again, for a container that dies twice waits for its restart.
const CYCLE: [Event; 10] = [
    Event::ScaleUp,
    Event::Delete,
    Event::Roll(&BOTH),
    Event::Kill,
    Event::ScaleDown,
    Event::Roll(&[Service::Account]),
    Event::Kill,
    Event::Roll(&[Service::Order]),
    Event::Kill,
    Event::RestartDatabase,
];

/// What the control shows: every graceful kind of event once.
pub(crate) const CONTROL: [Event; 5] = [
    Event::Roll(&[Service::Account]),
    Event::Roll(&[Service::Order]),
    Event::Delete,
    Event::ScaleUp,
    Event::ScaleDown,
];

/// The events in order, endless.
pub(crate) fn events(update: bool, own_database: bool) -> impl Iterator<Item = Event> {
    let first = update.then_some(Event::Update);
    let cycle = CYCLE.into_iter().cycle();
    let possible = move |event: &Event| own_database || *event != Event::RestartDatabase;
    first.into_iter().chain(cycle.filter(possible))
}

/// What kubectl does to somebody else's pods: nothing that is not meant to go unnoticed. Endless.
pub(crate) fn by_kubectl() -> impl Iterator<Item = Event> {
    let cycle = [
        Event::Roll(&BOTH),
        Event::Delete,
        Event::Roll(&[Service::Account]),
        Event::Roll(&[Service::Order]),
    ];
    cycle.into_iter().cycle()
}

impl Event {
    pub(crate) fn class(self) -> Class {
        match self {
            Self::Update | Self::Roll(_) | Self::Delete | Self::ScaleUp | Self::ScaleDown => {
                Class::Graceful
            }
            Self::Kill | Self::RestartDatabase => Class::Hard,
        }
    }

    /// Whether it is followed by a look at how the load is spread.
    pub(crate) fn spreads(self) -> bool {
        matches!(self, Self::Update | Self::ScaleUp | Self::Delete | Self::Roll([_, _]))
    }

    pub(crate) fn name(self) -> String {
        match self {
            Self::Update => "update both".to_owned(),
            Self::Roll([service]) => format!("roll {}", service.name()),
            Self::Roll(_) => "roll both".to_owned(),
            Self::Delete => "delete pods".to_owned(),
            Self::Kill => "kill pods".to_owned(),
            Self::ScaleUp => "scale up".to_owned(),
            Self::ScaleDown => "scale down".to_owned(),
            Self::RestartDatabase => "restart database".to_owned(),
        }
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn every_kind_of_event_is_in_the_cycle_and_the_scale_comes_back() {
        let events: Vec<_> = events(true, true).take(CYCLE.len() + 1).collect();
        assert_eq!(events[0], Event::Update);
        for kind in [Event::Roll(&BOTH), Event::Delete, Event::Kill, Event::RestartDatabase] {
            assert!(events.contains(&kind), "{kind:?}");
        }
        let is_scale = |it: &&Event| matches!(it, Event::ScaleUp | Event::ScaleDown);
        let scaled: Vec<_> = events.iter().filter(is_scale).collect();
        assert_eq!(scaled, [&Event::ScaleUp, &Event::ScaleDown]);
    }

    #[test]
    fn the_spread_is_looked_at_after_pods_come_and_after_one_goes() {
        for event in [Event::ScaleUp, Event::Delete, Event::Roll(&BOTH), Event::Update] {
            assert!(event.spreads(), "{event:?}");
        }
    }

    #[test]
    fn somebody_elses_database_is_never_restarted() {
        assert!(events(false, false).take(100).all(|event| event != Event::RestartDatabase));
    }

    #[test]
    fn what_nobody_may_notice_is_told_from_what_callers_may() {
        assert!(CONTROL.iter().all(|event| event.class() == Class::Graceful));
        assert_eq!(Event::Kill.class(), Class::Hard);
    }
}
