//! A file system of a few megabytes that can be filled to the last byte, and emptied again.
//!
//! It is kept in memory (tmpfs), so that nothing else is ever short of room. Mounting one needs root.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::HarnessError;
use crate::process;

/// What is written at once; then, at the very end, a page.
const CHUNKS: [usize; 2] = [256 * 1024, 4096];

/// A mounted file system. Dropped, it is gone with all that is in it.
#[derive(Debug)]
pub struct SmallDisk {
    directory: TempDir,
}

impl SmallDisk {
    /// Mounts one.
    ///
    /// # Errors
    /// When the system does not let us; nothing is skipped silently.
    pub fn mount(megabytes: u32) -> Result<Self, HarnessError> {
        if !rustix::process::getuid().is_root() {
            let (program, hint) = ("the right to mount a small disk", "run this as root");
            return Err(HarnessError::Missing { program, hint });
        }
        let directory = TempDir::with_prefix("holdfast-disk-")
            .map_err(HarnessError::io("make a directory for a small disk"))?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"]);
        process::run("mount", mount.arg(directory.path()))?;
        Ok(Self { directory })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Takes all the room that is left.
    ///
    /// # Errors
    /// When writing fails for another reason than that.
    pub fn fill(&self) -> Result<(), HarnessError> {
        let what = "fill the small disk";
        let file = File::options().create(true).append(true).open(self.filler());
        let mut file = file.map_err(HarnessError::io(what))?;
        for chunk in CHUNKS {
            let zeroes = vec![0; chunk];
            loop {
                match file.write_all(&zeroes) {
                    Ok(()) => {}
                    Err(full) if full.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(HarnessError::io(what)(error)),
                }
            }
        }
        Ok(())
    }

    /// Gives it back.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn make_room(&self) -> Result<(), HarnessError> {
        // Emptied, not only removed: a process that is just being started may still have it open.
        let emptied = File::create(self.filler()).and_then(|_| fs::remove_file(self.filler()));
        emptied.map_err(HarnessError::io("make room on the small disk"))
    }

    fn filler(&self) -> PathBuf {
        self.directory.path().join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whoever still has a file open there is about to end.
        let mut unmount = Command::new("umount");
        let _left_to_the_system =
            process::run("umount", unmount.arg("--lazy").arg(self.directory.path()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_takes_nothing_more_until_there_is_room() {
        let disk = SmallDisk::mount(2).unwrap();
        let write = |name: &str| fs::write(disk.path().join(name), [1; 5000]);
        write("before").unwrap();
        disk.fill().unwrap();
        assert_eq!(write("full").unwrap_err().kind(), ErrorKind::StorageFull);
        disk.make_room().unwrap();
        write("after").unwrap();
    }
}
