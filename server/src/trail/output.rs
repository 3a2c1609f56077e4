//! What the audit trail is written to, and how a batch of lines gets there whole.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::sink::count;

/// What lines are written to.
pub(super) trait Output: Send + 'static {
    /// Makes sure that what is written next can be found where people look for it.
    fn ready(&mut self) -> io::Result<()>;

    /// As [`Write::write`].
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
}

/// Standard output, or a file by name.
#[derive(Debug)]
pub(super) struct Appender {
    path: Option<PathBuf>,
    file: File,
}

/// Lines on their way.
#[derive(Debug, Default)]
pub(super) struct Batch {
    lines: Vec<u8>,
    /// The first line that is not written begins here.
    from: usize,
    /// Part of it is.
    torn: bool,
}

impl Appender {
    pub(super) fn stdout() -> io::Result<Self> {
        // Not through std's handle, which would buffer once more.
        let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        Ok(Self { path: None, file })
    }

    pub(super) fn file(path: &Path) -> io::Result<Self> {
        Ok(Self { path: Some(path.to_owned()), file: append_to(path)? })
    }
}

impl Output for Appender {
    /// A file that was moved away, as log rotation does, is opened anew.
    fn ready(&mut self) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let ours = self.file.metadata()?;
        let is_there = match std::fs::metadata(path) {
            Ok(named) => (named.dev(), named.ino()) == (ours.dev(), ours.ino()),
            Err(_) => false,
        };
        if !is_there {
            self.file = append_to(path)?;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }
}

/// Group-readable for whoever collects it, and for nobody else.
fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

impl Batch {
    /// Takes these lines; leaves an empty buffer in their place.
    pub(super) fn refill(&mut self, waiting: &mut Vec<u8>) {
        self.lines.clear();
        std::mem::swap(&mut self.lines, waiting);
        self.from = 0;
    }

    /// How many lines are not written.
    pub(super) fn left(&self) -> u64 {
        count(&self.lines[self.from..])
    }

    /// Writes what is left. After an error it may be called again: no line is lost, and the part of one that had been
    /// written is on a line of its own.
    pub(super) fn write_to(&mut self, output: &mut impl Output) -> io::Result<()> {
        output.ready()?;
        if self.torn {
            write_all(output, b"\n").map_err(|(_, why)| why)?;
            self.torn = false;
        }
        let Err((written, why)) = write_all(output, &self.lines[self.from..]) else {
            self.from = self.lines.len();
            return Ok(());
        };
        let reached = self.from + written;
        let whole = self.lines[..reached].iter().rposition(|byte| *byte == b'\n');
        self.from = whole.map_or(0, |newline| newline + 1);
        self.torn = reached > self.from;
        Err(why)
    }
}

/// An error comes with how much was written before it.
fn write_all(output: &mut impl Output, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    while written < bytes.len() {
        match output.write(&bytes[written..]) {
            Ok(0) => return Err((written, ErrorKind::WriteZero.into())),
            Ok(more) => written += more,
            Err(why) if why.kind() == ErrorKind::Interrupted => {}
            Err(why) => return Err((written, why)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes, then fails once; and so on.
    struct Faulty {
        takes: Vec<usize>,
        got: Vec<u8>,
    }

    impl Output for Faulty {
        fn ready(&mut self) -> io::Result<()> {
            Ok(())
        }

        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let Some(room) = self.takes.first_mut() else {
                self.got.extend_from_slice(bytes);
                return Ok(bytes.len());
            };
            if *room == 0 {
                self.takes.remove(0);
                return Err(ErrorKind::StorageFull.into());
            }
            let taken = bytes.len().min(*room);
            *room -= taken;
            self.got.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }
    }

    #[test]
    fn wherever_writing_breaks_off_each_line_arrives_whole_and_in_order() {
        let lines = b"{\"a\":1}\n{\"b\":2}\n{\"c\":3}\n";
        for first in 0..lines.len() {
            for second in 0..lines.len() {
                let mut output = Faulty { takes: vec![first, second], got: Vec::new() };
                let mut batch = Batch::default();
                batch.refill(&mut lines.to_vec());
                while batch.write_to(&mut output).is_err() {}
                let got = String::from_utf8(output.got).unwrap();
                // What is left of a torn line is no JSON, and looks like none of ours.
                let whole: Vec<_> = got.lines().filter(|line| line.ends_with('}')).collect();
                let wanted = [r#"{"a":1}"#, r#"{"b":2}"#, r#"{"c":3}"#];
                let repeated = whole.iter().filter(|line| wanted.contains(line));
                let mut seen: Vec<_> = repeated.copied().collect();
                seen.dedup();
                assert_eq!(seen, wanted, "{first} {second}: {got}");
                assert!(got.ends_with("}\n"), "{got}");
                assert_eq!(batch.left(), 0);
            }
        }
    }

    #[test]
    fn a_file_that_was_moved_away_is_opened_anew() {
        let directory = tempfile::tempdir().unwrap();
        let (path, moved) = (directory.path().join("audit.jsonl"), directory.path().join("old"));
        let mut output = Appender::file(&path).unwrap();
        let mut batch = Batch::default();
        batch.refill(&mut b"first\n".to_vec());
        batch.write_to(&mut output).unwrap();
        std::fs::rename(&path, &moved).unwrap();
        batch.refill(&mut b"second\n".to_vec());
        batch.write_to(&mut output).unwrap();
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "first\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "second\n");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
    }
}
