//! What the words of a report mean.

/// A word as it stands in a table, and its meaning.
const WORDS: &[(&str, &str)] = &[
    ("answered", "Requests per second that got any answer but a failure."),
    ("replayed", "Requests that got the stored answer of an earlier request with the same key."),
    (
        "refused",
        "Requests refused for a business reason: a duplicate, no stock, no money. Not a failure.",
    ),
    ("failed", "Requests whose last answer was an error of the service or the network."),
    ("retried", "Attempts that the clients' channels repeated by themselves."),
    ("again", "Requests that a caller sent once more because the channel had given up."),
    ("twice", "Orders of which the service holds two. Any number but 0 breaks the promise."),
    ("left", "Pods that were asked to go in this event."),
    ("killed", "Pods that were killed without notice in this event."),
    (
        "p50",
        "Half of the requests were answered within this time, counted from when they were due.",
    ),
    (
        "p50 ms",
        "Half of the requests were answered within this time, counted from when they were due.",
    ),
    ("p99", "99 of 100 requests were answered within this time, counted from when they were due."),
    ("p99.9", "999 of 1,000 requests were answered within this time."),
    (
        "p99 (before) ms",
        "99 of 100 requests were answered within this time; in parentheses, in the calm before.",
    ),
    ("slowest", "The longest that any request waited."),
    (
        "largest share out (in)",
        "The largest share of requests that one pod got: from clients outside the cluster, and inside.",
    ),
    (
        "invariants",
        "What must hold between orders, payments, reservations and balances, read from both databases.",
    ),
    (
        "CPU given to other machines",
        "Time that the hypervisor gave to others. A tail beside much of it is not the service's.",
    ),
];

/// What a word means, if it needs saying.
pub(super) fn meaning(word: &str) -> Option<&'static str> {
    WORDS.iter().find(|(known, _)| *known == word).map(|(_, meaning)| *meaning)
}
