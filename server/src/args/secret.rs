//! Settings that hold a secret: given as they are, or in a file of their own.
//!
//! What is on a command line or in the environment is read by whoever may list processes, and ends up in crash reports.
//! So each such flag has a twin `--…-file`. Promised: an error names the flags and the file, never what is in it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::Problems;

/// No secret is longer; a file that is, such as `/dev/zero`, was meant for something else.
const BYTES_MAX: u64 = 64 * 1024;

/// A secret and the flag that it came by, which is the one to name when it is wrong.
#[derive(PartialEq, Eq)]
pub struct Secret {
    /// `--database-url` or `--database-url-file`.
    pub flag: String,
    /// The secret.
    pub text: String,
}

/// Takes the value of `flag`, or reads the file of its twin. `None`: neither was given, or it is a problem.
#[must_use]
pub fn secret(
    problems: &mut Problems,
    flag: &str,
    value: Option<String>,
    file: Option<PathBuf>,
) -> Option<Secret> {
    let twin = format!("{flag}-file");
    match (value, file) {
        (None, None) => None,
        (Some(text), None) => Some(Secret { flag: flag.to_owned(), text }),
        (None, Some(file)) => match read(&file) {
            Ok(text) => Some(Secret { flag: twin, text }),
            Err(why) => {
                problems.add(&twin, format_args!("cannot use {}: {why}", file.display()));
                None
            }
        },
        (Some(_), Some(_)) => {
            problems.add(flag, format_args!("and {twin} exclude each other"));
            None
        }
    }
}

/// The file's text without the newline that editors put at its end.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(BYTES_MAX + 1).read_to_string(&mut text)?;

    let problem = if text.len() as u64 > BYTES_MAX {
        "is longer than 64 KiB"
    } else if text.trim().is_empty() {
        "is empty"
    } else {
        text.truncate(text.trim_end_matches(['\n', '\r']).len());
        return Ok(text);
    };
    Err(io::Error::new(io::ErrorKind::InvalidData, problem))
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Secret").field("flag", &self.flag).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: Option<&str>, file: Option<&Path>) -> Result<Option<String>, String> {
        let mut problems = Problems::new();
        let (value, file) = (value.map(str::to_owned), file.map(Path::to_owned));
        let found = secret(&mut problems, "--database-url", value, file);
        let told = problems.none_or(()).map_err(|problems| problems.to_string());
        told.map(|()| found.map(|found| found.text))
    }

    #[test]
    fn a_file_gives_its_text_without_the_newline_at_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("url");
        for ending in ["", "\n", "\r\n", "\n\n"] {
            std::fs::write(&file, format!("postgres://me: s3cret @host/x{ending}")).unwrap();
            let text = of(None, Some(&file)).unwrap();
            assert_eq!(text.as_deref(), Some("postgres://me: s3cret @host/x"), "{ending:?}");
        }
        assert_eq!(of(Some("given"), None), Ok(Some("given".to_owned())));
        assert_eq!(of(None, None), Ok(None));
    }

    #[test]
    fn a_problem_names_both_flags_or_the_file_and_never_what_is_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("url");
        std::fs::write(&file, "s3cret").unwrap();
        let both = of(Some("s3cret"), Some(&file)).unwrap_err();
        assert!(both.contains("--database-url (DATABASE_URL): and --database-url-file"), "{both}");

        let absent = of(None, Some(Path::new("/nowhere/url"))).unwrap_err();
        assert!(
            absent.contains("--database-url-file (DATABASE_URL_FILE): cannot use /nowhere/url"),
            "{absent}"
        );
        for content in [&b""[..], b"\n", b"s3cret\xff"] {
            std::fs::write(&file, content).unwrap();
            let told = of(None, Some(&file)).unwrap_err();
            assert!(told.contains("/url: ") && !told.contains("s3cret"), "{told}");
        }
        assert!(!both.contains("s3cret"), "{both}");
    }

    #[test]
    fn a_file_without_end_is_not_read_to_its_end() {
        let told = of(None, Some(Path::new("/dev/zero"))).unwrap_err();
        assert!(told.contains("longer than 64 KiB"), "{told}");
    }
}
