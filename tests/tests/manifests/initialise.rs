//! The local database as its pod makes it, cut off on the way.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getuid, kill_process};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;
use tests::cluster::Service;
use tests::ports::free_port;
use tests::postgres;

use crate::documents::{Overlay, workspace};
use crate::program::{Program, SERVICES};

/// How far a first start has come.
type Reached = fn(&Volume) -> bool;

/// Where a first start is cut off.
const CUTS: [(&str, Reached); 3] = [
    ("while initdb works", |volume| volume.has("18/docker.new/PG_VERSION")),
    ("before its server starts", |volume| volume.has("18/docker")),
    ("while roles are made", |volume| {
        let state = fs::read_to_string(volume.data().join("postmaster.pid"));
        state.is_ok_and(|state| state.contains("ready"))
    }),
];

/// For a server to answer that has just been started.
const PATIENCE: Duration = Duration::from_secs(60);

/// The volume of the database's pod, and the files that are mounted beside it.
struct Volume(TempDir);

impl Volume {
    fn new() -> Self {
        let directory = TempDir::with_prefix("holdfast-volume-").unwrap();
        for name in ["initialise.sh", "databases.sql"] {
            let from = workspace("k8s/overlays/local").join(name);
            fs::copy(from, directory.path().join(name)).unwrap();
        }
        if getuid().is_root() {
            let owner =
                Command::new("chown").args(["-R", "postgres"]).arg(directory.path()).status();
            assert!(owner.unwrap().success());
        }
        Self(directory)
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("18/docker")
    }

    fn has(&self, path: &str) -> bool {
        self.0.path().join(path).exists()
    }

    /// What its processes said.
    fn log(&self) -> PathBuf {
        self.0.path().join("log")
    }

    /// A program of the pod, as PostgreSQL's user.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        if getuid().is_root() {
            command.args(["--reuid", "postgres", "--regid", "postgres", "--init-groups"]);
        }
        let mut path = OsString::from(postgres::programs().expect("PostgreSQL is installed"));
        path.push(":/usr/bin:/bin");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program).current_dir(self.0.path());
        command.env("PATH", path).env("PGDATA", self.data());
        let log = File::options().create(true).append(true).open(self.log()).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        command
    }

    fn initialise(&self) -> Command {
        let mut command = self.command(Path::new("bash"));
        command.arg(self.0.path().join("initialise.sh"));
        command
    }

    /// What the end of a pod is to all its processes at once.
    fn cut_off(&self, mut script: Child) {
        while self.kill_processes() {}
        script.wait().unwrap();
    }

    /// Kills what works in the volume, also in a session of its own, and tells whether there was any.
    fn kill_processes(&self) -> bool {
        let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let entry = entry.unwrap();
            let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
            let works_in = fs::read_link(entry.path().join("cwd")).ok()?;
            works_in.starts_with(self.0.path()).then_some((pid, entry.path()))
        });
        let killed: Vec<_> = processes.collect();
        for (pid, _) in &killed {
            let _killed_or_ended = kill_process(*pid, Signal::KILL);
        }

        // A process that nobody has waited for yet still has its number, which PostgreSQL takes for a running server.
        let began = Instant::now();
        let is_left = |(_, path): &(Pid, PathBuf)| path.exists() && !Self::is_child(path);
        while killed.iter().any(is_left) && began.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(10));
        }
        !killed.is_empty()
    }

    /// Whether this process has to wait for it.
    fn is_child(path: &Path) -> bool {
        let status = fs::read_to_string(path.join("status")).unwrap_or_default();
        status.contains(&format!("\nPPid:\t{}\n", std::process::id()))
    }

    /// Starts the server and logs in as each service, with the password that its pods are told.
    async fn check(&self) {
        let port = free_port().unwrap();
        let mut server = self.command(Path::new("postgres"));
        server.arg("-c").arg(format!("port={port}"));
        server.arg("-c").arg(format!("unix_socket_directories={}", self.0.path().display()));
        let mut server = server.spawn().unwrap();
        for service in SERVICES {
            log_in(service, port).await;
        }
        self.kill_processes();
        server.wait().unwrap();
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        self.kill_processes();
    }
}

async fn log_in(service: Service, port: u16) {
    let options = Program::of(Overlay::Local, service).database;
    let options = (*options).clone().host(&Ipv4Addr::LOCALHOST.to_string()).port(port);
    let began = Instant::now();
    let mut connection = loop {
        match PgConnection::connect_with(&options).await {
            Ok(connection) => break connection,
            Err(error) if error.as_database_error().is_none_or(is_starting) => {
                assert!(began.elapsed() < PATIENCE, "{error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => panic!("{}: {error}", service.name()),
        }
    };
    let made = sqlx::raw_sql("CREATE TABLE mine ()").execute(&mut connection).await;
    made.unwrap_or_else(|error| panic!("{} owns its database: {error}", service.name()));
}

fn is_starting(error: &dyn sqlx::error::DatabaseError) -> bool {
    error.code().is_some_and(|code| code == "57P03")
}

#[tokio::test]
async fn a_database_pod_whose_first_start_was_cut_off_anywhere_has_its_roles_after_the_next() {
    for (when, has_come) in CUTS {
        let volume = Volume::new();
        let script = volume.initialise().spawn().unwrap();
        let began = Instant::now();
        while !has_come(&volume) {
            assert!(began.elapsed() < PATIENCE, "never came to be: {when}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        volume.cut_off(script);

        // Twice: a start that finds everything done leaves it so.
        for _ in 0..2 {
            let again = volume.initialise().status().unwrap();
            let said = || fs::read_to_string(volume.log()).unwrap();
            assert!(again.success(), "cut off {when}: {}", said());
        }
        volume.check().await;
    }
}
