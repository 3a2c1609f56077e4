//! The foreign implementations, installed once into `target/tools/oracle` at the versions that
//! `tests/oracle` pins.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::scenarios::ForeignClient;

/// Where everything is.
pub(crate) struct Tools {
    /// Our own files: `tests/oracle`.
    sources: PathBuf,
    /// What was installed.
    directory: PathBuf,
}

/// Why the tools are not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ToolsError {
    /// A file could not be handled or a program not be started.
    #[error("cannot {0}")]
    Io(String, #[source] io::Error),
    /// An installer gave up.
    #[error("{0} failed")]
    Failed(String),
}

impl Tools {
    /// Installs what is missing. Python 3 with venv, node and npm have to be there.
    pub(crate) fn installed() -> Result<Self, ToolsError> {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let sources = workspace.join("tests/oracle");
        let directory = workspace.join("target/tools/oracle");
        let tools = Self { sources, directory };
        tools.unless_done("requirements.txt", || tools.install_python())?;
        tools.unless_done("package-lock.json", || tools.install_node())?;
        Ok(tools)
    }

    pub(crate) fn python(&self) -> PathBuf {
        self.directory.join("venv/bin/python")
    }

    /// The directory with `node_modules`.
    pub(crate) fn node(&self) -> PathBuf {
        self.directory.join("node")
    }

    pub(crate) fn source(&self, name: &str) -> PathBuf {
        self.sources.join(name)
    }

    /// The grpc-core client of the scenarios.
    pub(crate) fn client(&self) -> ForeignClient {
        ForeignClient { interpreter: self.python(), script: self.source("client.py") }
    }

    /// Runs `install` unless it went well before with these very pins: a copy of the file that pins
    /// the versions, made last, is the sign.
    fn unless_done(
        &self,
        pins: &str,
        install: impl FnOnce() -> Result<(), ToolsError>,
    ) -> Result<(), ToolsError> {
        let (wanted, done) = (self.source(pins), self.directory.join(pins));
        let read = |path: &Path| fs::read(path).ok();
        if read(&wanted).is_some() && read(&wanted) == read(&done) {
            return Ok(());
        }
        eprintln!("installing what {pins} names");
        fs::create_dir_all(&self.directory).map_err(io_error("make target/tools/oracle"))?;
        install()?;
        fs::copy(wanted, done).map(|_| ()).map_err(io_error("note what is installed"))
    }

    fn install_python(&self) -> Result<(), ToolsError> {
        let venv = self.directory.join("venv");
        run("python3", [OsStr::new("-m"), "venv".as_ref(), "--clear".as_ref(), venv.as_ref()])?;
        let requirements = self.source("requirements.txt");
        let options = ["-m", "pip", "install", "--quiet", "--only-binary=:all:", "--requirement"];
        run(self.python(), options.map(OsStr::new).into_iter().chain([requirements.as_ref()]))
    }

    fn install_node(&self) -> Result<(), ToolsError> {
        let node = self.node();
        fs::create_dir_all(&node).map_err(io_error("make a directory for node"))?;
        for file in ["package.json", "package-lock.json"] {
            fs::copy(self.source(file), node.join(file)).map_err(io_error("copy the pins"))?;
        }
        let options = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"];
        run("npm", options.map(OsStr::new).into_iter().chain([node.as_ref()]))
    }
}

fn io_error(what: &str) -> impl FnOnce(io::Error) -> ToolsError {
    move |error| ToolsError::Io(what.to_owned(), error)
}

fn run<'a>(
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = &'a OsStr>,
) -> Result<(), ToolsError> {
    let name = program.as_ref().to_string_lossy().into_owned();
    let status = Command::new(program).args(arguments).status();
    let status = status.map_err(|error| ToolsError::Io(format!("start {name}"), error))?;
    if status.success() { Ok(()) } else { Err(ToolsError::Failed(name)) }
}
