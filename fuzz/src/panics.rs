//! Panics of tasks, which nobody may be waiting for.

use std::panic::{set_hook, take_hook};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// How many panics there were since the first call, on any thread of this process. Those of test code, which it may mean, do
/// not count.
pub fn panics() -> usize {
    static WATCH: Once = Once::new();
    WATCH.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            let file = panic.location().map_or("", |location| location.file());
            if !file.contains("tests/") {
                PANICS.fetch_add(1, Ordering::SeqCst);
            }
            before(panic);
        }));
    });
    PANICS.load(Ordering::SeqCst)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_panic_of_a_thread_is_counted() {
        let before = panics();
        let ended = std::thread::spawn(|| panic!("on purpose")).join();
        assert!(ended.is_err());
        assert!(panics() > before);
    }
}
