//! File descriptors: each connection is one, and a process that has none left accepts nobody, not even a probe.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for all else: the admin HTTP, connections to databases and other services, files, the runtime.
const RESERVE: u64 = 256;

/// Raises the soft limit of this process as far as so many connections of each listener need it and the hard limit lets
/// it, and answers how many connections of each fit. Fewer than wanted are warned of.
pub(crate) fn fit(max_connections: usize, listeners: usize) -> usize {
    let all = max_connections.saturating_mul(listeners);
    let wanted = u64::try_from(all).unwrap_or(u64::MAX).saturating_add(RESERVE);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let allowed = raised(current, maximum, wanted);
    if Some(allowed) > current && current.is_some() {
        let limit = Rlimit { current: Some(allowed), maximum };
        if let Err(why) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%why, "the limit of open files cannot be raised");
            return within(current.unwrap_or(u64::MAX), max_connections, listeners);
        }
    }

    let fitting = within(allowed, max_connections, listeners);
    if fitting < max_connections {
        tracing::warn!(
            max_connections,
            fitting,
            listeners,
            open_files_max = allowed,
            "fewer connections than --max-connections fit into the limit of open files (ulimit -Hn)"
        );
    }
    fitting
}

/// The limit that is asked for; without a limit there is nothing to raise.
fn raised(current: Option<u64>, maximum: Option<u64>, wanted: u64) -> u64 {
    match current {
        None => u64::MAX,
        Some(current) => current.max(wanted.min(maximum.unwrap_or(u64::MAX))),
    }
}

/// How many connections of each listener a limit has room for. At least one: a server that accepts nobody is none.
fn within(limit: u64, max_connections: usize, listeners: usize) -> usize {
    let room = usize::try_from(limit.saturating_sub(RESERVE)).unwrap_or(usize::MAX);
    max_connections.min(room / listeners.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_as_far_as_needed_and_allowed_and_never_lowered() {
        assert_eq!(raised(Some(1_024), Some(1 << 20), 4_352), 4_352);
        assert_eq!(raised(Some(1_024), Some(2_048), 4_352), 2_048);
        assert_eq!(raised(Some(65_536), Some(65_536), 4_352), 65_536);
        assert_eq!(raised(Some(1_024), None, 4_352), 4_352);
        assert_eq!(raised(None, None, 4_352), u64::MAX);
    }

    #[test]
    fn a_low_limit_leaves_room_for_everything_else() {
        assert_eq!(within(1_024, 4_096, 1), 768);
        assert_eq!(within(1 << 20, 4_096, 1), 4_096);
        assert_eq!(within(64, 4_096, 1), 1);
        assert_eq!(within(1_024, 4_096, 2), 384);
        assert_eq!(within(257, 4_096, 2), 1);
    }
}
