//! The programs under test, built by cargo in the profile of whoever asks.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::HarnessError;
use crate::cluster::Service;
use crate::process;

/// What `cargo test` and `cargo run` tell the programs they start. A cargo started by such a
/// program must not see it: build scripts that watch these variables, ring's is one, would run
/// again, and everything on top of them be built again, on every change of hands.
const SET_BY_CARGO: [&str; 9] = [
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_LINKS",
    "CARGO_MANIFEST_PATH",
    "CARGO_PKG_NAME",
    "CARGO_PKG_VERSION",
    "CARGO_PKG_VERSION_MAJOR",
    "CARGO_PKG_VERSION_MINOR",
    "CARGO_PKG_VERSION_PATCH",
    "CARGO_PKG_VERSION_PRE",
];

/// How nextest names the run that a test is part of.
const RUN: &str = "NEXTEST_RUN_ID";

/// Both services' programs.
#[derive(Clone, Debug)]
pub struct Binaries {
    directory: PathBuf,
    kind: Kind,
}

/// Which programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// As they are shipped.
    Plain,
    /// With fail points: other names, so that neither is ever taken for the other.
    FailPoints,
}

impl Binaries {
    /// Builds both services in the profile of the running program, once however often it is
    /// called, and answers where they are.
    ///
    /// # Errors
    /// When they do not build; the error shows what the compiler said.
    pub fn build() -> Result<Self, HarnessError> {
        static BUILT: Mutex<Option<Binaries>> = Mutex::new(None);
        Self::build_once(&BUILT, Kind::Plain)
    }

    /// As [`Binaries::build`], but programs that can be told to end at a point, or to do without a safeguard.
    ///
    /// # Errors
    /// As [`Binaries::build`].
    pub fn build_with_fail_points() -> Result<Self, HarnessError> {
        static BUILT: Mutex<Option<Binaries>> = Mutex::new(None);
        Self::build_once(&BUILT, Kind::FailPoints)
    }

    /// Programs that were built before.
    ///
    /// # Errors
    /// When one is not there.
    pub fn in_directory(directory: &Path) -> Result<Self, HarnessError> {
        let binaries = Self { directory: directory.to_owned(), kind: Kind::Plain };
        for service in [Service::Account, Service::Order] {
            let program = binaries.program(service);
            let found = std::fs::metadata(&program);
            found.map_err(HarnessError::io(format!("find {}", program.display())))?;
        }
        Ok(binaries)
    }

    fn build_once(built: &Mutex<Option<Self>>, kind: Kind) -> Result<Self, HarnessError> {
        let mut built = built.lock().unwrap_or_else(PoisonError::into_inner);
        if built.is_none() {
            *built = Some(Self::build_in_this_run(kind)?);
        }
        Ok(built.clone().expect("built above"))
    }

    /// nextest runs each test in a process of its own: the first that asks builds, and the others take what it built.
    #[expect(
        clippy::disallowed_methods,
        reason = "the harness has no flags where nextest starts it"
    )]
    fn build_in_this_run(kind: Kind) -> Result<Self, HarnessError> {
        let running = std::env::current_exe().map_err(HarnessError::io("find this program"))?;
        let directory = profile_directory(&running);
        let Some(run) = std::env::var_os(RUN) else { return Self::build_now(kind, directory) };

        let path = directory.join(kind.program(Service::Order)).with_extension("built");
        let noting = || HarnessError::io(format!("note in {} what is built", path.display()));
        let note = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let mut note = note.map_err(noting())?;
        // Gone with the file, also where its process is killed.
        note.lock().map_err(noting())?;
        let mut built_in = Vec::new();
        note.read_to_end(&mut built_in).map_err(noting())?;
        if built_in == run.as_encoded_bytes() {
            return Ok(Self { directory, kind });
        }

        let built = Self::build_now(kind, directory)?;
        note.set_len(0)
            .and_then(|()| note.write_all_at(run.as_encoded_bytes(), 0))
            .map_err(noting())?;
        Ok(built)
    }

    fn build_now(kind: Kind, directory: PathBuf) -> Result<Self, HarnessError> {
        let mut cargo = Command::new(env!("CARGO"));
        // Together with this package, for the same features of everything below: without it some
        // of the dependencies would be built a second time.
        cargo.args(["build", "--quiet", "--package=tests"]);
        for service in [Service::Account, Service::Order] {
            cargo.args(["--package", service.name(), "--bin", &kind.program(service)]);
            if kind == Kind::FailPoints {
                cargo.arg(format!("--features={}/failpoints", service.name()));
            }
        }
        cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
        for variable in SET_BY_CARGO {
            cargo.env_remove(variable);
        }
        // Named as its profile, but for dev's.
        if let Some(profile) = directory.file_name().filter(|name| *name != "debug") {
            cargo.arg("--profile").arg(profile);
        }
        process::run("cargo build of both services", &mut cargo)?;
        Ok(Self { directory, kind })
    }

    /// Brings a database's schema up to date.
    ///
    /// # Errors
    /// When the program says so.
    pub fn migrate(&self, service: Service, database_url: &str) -> Result<(), HarnessError> {
        let mut command = Command::new(self.program(service));
        command.arg("migrate").args(["--database-url", database_url]);
        process::run(&format!("{} migrate", service.name()), &mut command).map(drop)
    }

    /// Accepts that a database lost commits.
    ///
    /// # Errors
    /// When the program says so.
    pub fn resume(&self, service: Service, database_url: &str) -> Result<String, HarnessError> {
        let mut command = Command::new(self.program(service));
        command.arg("resume").args(["--database-url", database_url]);
        process::run(&format!("{} resume", service.name()), &mut command)
    }

    /// Checks a database at rest and answers the report.
    ///
    /// # Errors
    /// When an invariant is broken; the error shows the report.
    pub fn verify(&self, service: Service, database_url: &str) -> Result<String, HarnessError> {
        let mut command = Command::new(self.program(service));
        command.arg("verify").args(["--database-url", database_url]);
        process::run(&format!("{} verify", service.name()), &mut command)
    }

    /// Where a service's program is.
    #[must_use]
    pub fn program(&self, service: Service) -> PathBuf {
        self.directory.join(self.kind.program(service))
    }
}

impl Kind {
    fn program(self, service: Service) -> String {
        match self {
            Self::Plain => service.name().to_owned(),
            Self::FailPoints => format!("{}-failpoints", service.name()),
        }
    }
}

/// `target/<profile>`: tests run one level below it, in `deps`.
fn profile_directory(running: &Path) -> PathBuf {
    let directory = running.parent().expect("a program is in a directory");
    let is_test = directory.ends_with("deps");
    let profile = if is_test { directory.parent() } else { Some(directory) };
    profile.expect("deps is in a directory").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_and_programs_find_the_same_profile() {
        let expected = Path::new("/w/target/release");
        assert_eq!(profile_directory(Path::new("/w/target/release/demo")), expected);
        assert_eq!(profile_directory(Path::new("/w/target/release/deps/e2e-01")), expected);
    }
}
