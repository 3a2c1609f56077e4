//! Where and when a run took place: figures mean little without it.

use std::process::Command;

use procfs::{CpuInfo, Current, Meminfo};
use rustix::system::uname;

/// The date, the version of what was run, and the machine. What cannot be found out is left out.
pub(super) fn facts() -> Vec<String> {
    let facts = [Some(date()), Some(version()), processors(), memory(), Some(kernel())];
    facts.into_iter().flatten().collect()
}

#[expect(clippy::disallowed_methods, reason = "dates a report, decides nothing")]
fn date() -> String {
    humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string()
}

/// The version, with the commit where the program runs in its own checkout.
fn version() -> String {
    let version = format!("Holdfast {}", env!("CARGO_PKG_VERSION"));
    let described = Command::new("git")
        .args(["describe", "--always", "--dirty"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    match described {
        Ok(output) if output.status.success() => {
            format!("{version} ({})", String::from_utf8_lossy(&output.stdout).trim())
        }
        Ok(_) | Err(_) => version,
    }
}

fn processors() -> Option<String> {
    let info = CpuInfo::current().ok()?;
    Some(format!("{} × {}", info.num_cores(), info.model_name(0).unwrap_or("CPU")))
}

fn memory() -> Option<String> {
    let bytes = Meminfo::current().ok()?.mem_total;
    Some(format!("{} GiB", bytes >> 30))
}

fn kernel() -> String {
    let name = uname();
    format!("{} {}", name.sysname().to_string_lossy(), name.release().to_string_lossy())
}
