//! What a container's environment means to its program: the program's own flags read it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use clap::{Command, CommandFactory, Parser};
use database::{DatabaseUrl, PgOptions};
use serde_json::Value;
use server::ServeConfig;
use tests::cluster::Service;
use tokio::runtime::Runtime;

use crate::documents::{Documents, Overlay, at, list, named};
use crate::environment::{Environment, mounted};

/// Flags that name a channel's target are tried out by building the channel, which needs one.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

pub(crate) const SERVICES: [Service; 2] = [Service::Account, Service::Order];

/// Both services in both overlays.
pub(crate) fn everywhere() -> impl Iterator<Item = Program> {
    let all = Overlay::ALL.into_iter();
    all.flat_map(|overlay| SERVICES.map(|service| Program::of(overlay, service)))
}

/// A service as an overlay deploys it.
pub(crate) struct Program {
    pub(crate) service: Service,
    pub(crate) overlay: Overlay,
    pub(crate) deployment: &'static Value,
    /// The pod's specification.
    pub(crate) pod: &'static Value,
    /// Its one container.
    pub(crate) container: &'static Value,
    pub(crate) serve: ServeConfig,
    pub(crate) connections: u64,
    pub(crate) database: PgOptions,
    /// Of order-service.
    pub(crate) account_target: Option<String>,
}

impl Program {
    /// # Panics
    /// When a variable is none of the program's flags, or has a value that it refuses.
    pub(crate) fn of(overlay: Overlay, service: Service) -> Self {
        let documents = overlay.documents();
        let deployment = documents.one("Deployment", service.name());
        let pod = at(deployment, "/spec/template/spec");
        let [container] = list(pod, "/containers") else { panic!("one container a pod") };
        let environment = Environment::of(documents, pod, container);
        let variables = environment.variables();
        let _runtime = RUNTIME.enter();
        let (serve, connections, database, account_target) = match service {
            Service::Account => {
                let flags = flags(&account_service::args::Args::command(), &variables);
                let config = account_service::args::Args::parse_from(flags).validate();
                let config = config.unwrap_or_else(|problems| panic!("{problems}"));
                (config.serve, config.connections, config.database, None)
            }
            Service::Order => {
                let flags = flags(&order_service::args::Args::command(), &variables);
                let config = order_service::args::Args::parse_from(flags).validate();
                let config = config.unwrap_or_else(|problems| panic!("{problems}"));
                let target = Some(config.account_target);
                (config.serve, config.connections, config.database, target)
            }
        };
        let DatabaseUrl::Postgres(database) = database else { panic!("pods share PostgreSQL") };
        let (connections, database) = (connections as u64, *database);
        Self {
            service,
            overlay,
            deployment,
            pod,
            container,
            serve,
            connections,
            database,
            account_target,
        }
    }

    pub(crate) fn documents(&self) -> &'static Documents {
        self.overlay.documents()
    }

    /// The number of a port by its name.
    pub(crate) fn port(&self, name: &str) -> u64 {
        crate::documents::number(named(list(self.container, "/ports"), name), "/containerPort")
    }

    /// The Secret, and its key, of the file that a variable names.
    pub(crate) fn secret_of(&self, variable: &str) -> (&'static str, &'static str) {
        let path = Environment::of(self.documents(), self.pod, self.container).told(variable);
        mounted(self.pod, self.container, &path).unwrap_or_else(|| panic!("{path} is not mounted"))
    }

    pub(crate) fn labels(&self) -> &'static Value {
        at(self.deployment, "/spec/template/metadata/labels")
    }
}

/// The command line that says what the environment says. Flags, because the environment of a test
/// is not to be changed; and a mistyped variable, which a program would overlook, fails here.
fn flags(program: &Command, variables: &BTreeMap<String, String>) -> Vec<String> {
    let flag = |(variable, value): (&String, &String)| {
        let mut flags = program.get_arguments();
        let flag = flags.find(|flag| flag.get_env().is_some_and(|name| name == &**variable));
        let flag = flag.unwrap_or_else(|| panic!("{variable} is no flag of {program}"));
        format!("--{}={value}", flag.get_long().expect("every flag has a long name"))
    };
    std::iter::once(program.get_name().to_owned()).chain(variables.iter().map(flag)).collect()
}
