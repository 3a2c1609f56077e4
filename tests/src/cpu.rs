//! CPU time of processes, as the system counts it: user and kernel, all threads.

use std::time::Duration;

use procfs::process::{Process, all_processes};
use procfs::{CurrentSI, KernelStats, ProcError, WithCurrentSystemInfo};

/// CPU time of one process so far.
///
/// # Errors
/// When it has ended.
pub fn of(pid: u32) -> Result<Duration, ProcError> {
    let stat = Process::new(pid_of(pid))?.stat()?;
    Ok(ticks(stat.utime + stat.stime))
}

/// CPU time of a process, its children, and those of its children that it has waited for.
///
/// # Errors
/// When it has ended.
pub fn of_family(pid: u32) -> Result<Duration, ProcError> {
    let parent = Process::new(pid_of(pid))?.stat()?;
    let waited_for = u64::try_from(parent.cutime + parent.cstime).unwrap_or(0);
    let mut all = parent.utime + parent.stime + waited_for;
    for child in all_processes()?.flatten() {
        if let Ok(stat) = child.stat()
            && stat.ppid == parent.pid
        {
            all += stat.utime + stat.stime;
        }
    }
    Ok(ticks(all))
}

/// Resident memory of a process, in bytes.
///
/// # Errors
/// When it has ended.
pub fn resident_bytes(pid: u32) -> Result<u64, ProcError> {
    Ok(Process::new(pid_of(pid))?.stat()?.rss_bytes().get())
}

/// The time of all processors so far, and what a hypervisor gave of it to other machines while something here wanted it.
///
/// # Errors
/// When the system does not say.
pub fn of_machine() -> Result<(Duration, Duration), ProcError> {
    let total = KernelStats::current()?.total;
    let stolen = total.steal.unwrap_or(0);
    let interrupts = total.irq.unwrap_or(0) + total.softirq.unwrap_or(0);
    let waited = total.idle + total.iowait.unwrap_or(0);
    let all = total.user + total.nice + total.system + interrupts + waited + stolen;
    Ok((ticks(all), ticks(stolen)))
}

fn ticks(count: u64) -> Duration {
    Duration::from_secs(count) / u32::try_from(procfs::ticks_per_second()).unwrap_or(100)
}

fn pid_of(pid: u32) -> i32 {
    i32::try_from(pid).expect("process ids are positive and small")
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn work_is_counted_and_so_is_memory() {
        let (me, mut sum) = (std::process::id(), 0_u64);
        let before = of(me).unwrap();
        while of(me).unwrap() < before + Duration::from_millis(50) {
            sum = (0..1_000_000).fold(sum, u64::wrapping_add);
        }
        assert!(of_family(me).unwrap() >= of(me).unwrap() - Duration::from_millis(20), "{sum}");
        assert!(resident_bytes(me).unwrap() > 1_000_000);
    }

    #[test]
    fn time_passes_on_every_processor_and_no_more_than_all_of_it_is_stolen() {
        let (before, began) = (of_machine().unwrap(), Instant::now());
        let mut now = before;
        while now.0 == before.0 {
            assert!(began.elapsed() < Duration::from_secs(5), "time stands still");
            std::thread::yield_now();
            now = of_machine().unwrap();
        }
        assert!(now.1 - before.1 <= now.0 - before.0);
    }
}
