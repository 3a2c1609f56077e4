//! Every method by every caller: what each may do, and that the others are told nothing.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use prost::Message;
use prost_types::FileDescriptorSet;
use proto::{Failure, Reason, right};
use serde_json::{Value, json};
use tests::cluster::{Binaries, Service};
use tests::tokens::{Algorithm, Issuer, claims, now};
use tonic::{Code, Status};

use crate::calls::call;
use crate::samples::{ABSENT, ACCOUNT, Needs, OTHERS, Sample, all};
use crate::world::{Backend, World};

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    NoCredential,
    Expired,
    NotYet,
    WrongAudience,
    WrongIssuer,
    WrongKey,
    NoRight,
    OtherRights,
    OtherAccount,
    OwnAccount,
    RightRole,
}

impl Caller {
    const ALL: [Self; 11] = [
        Self::NoCredential,
        Self::Expired,
        Self::NotYet,
        Self::WrongAudience,
        Self::WrongIssuer,
        Self::WrongKey,
        Self::NoRight,
        Self::OtherRights,
        Self::OtherAccount,
        Self::OwnAccount,
        Self::RightRole,
    ];

    fn is_unknown(self) -> bool {
        match self {
            Self::NoCredential
            | Self::Expired
            | Self::NotYet
            | Self::WrongAudience
            | Self::WrongIssuer
            | Self::WrongKey => true,
            Self::NoRight
            | Self::OtherRights
            | Self::OtherAccount
            | Self::OwnAccount
            | Self::RightRole => false,
        }
    }

    /// What this caller must be told of a good request.
    fn expected(self, needs: Needs) -> Code {
        match (needs, self) {
            (Needs::Nothing, _) => Code::Ok,
            (_, caller) if caller.is_unknown() => Code::Unauthenticated,
            (Needs::Credential, _) | (_, Self::RightRole) => Code::Ok,
            (Needs::Own { .. }, Self::OwnAccount) => Code::Ok,
            (Needs::Own { .. } | Needs::Right(_), _) => Code::PermissionDenied,
        }
    }
}

struct Cell {
    method: String,
    caller: Caller,
    expected: Code,
    told: Result<(), Status>,
}

impl Cell {
    fn code(&self) -> Code {
        self.told.as_ref().map_or_else(Status::code, |()| Code::Ok)
    }

    /// A refusal must say so in the contract's words.
    fn is_right(&self) -> bool {
        let reason = self.told.as_ref().err().and_then(Failure::of).map(|told| told.reason());
        let expected = [
            (Code::Unauthenticated, Reason::Unauthenticated),
            (Code::PermissionDenied, Reason::PermissionDenied),
        ];
        let mut wanted = expected.iter().filter(|(code, _)| *code == self.expected);
        self.code() == self.expected && wanted.all(|(_, wanted)| reason == Some(*wanted))
    }
}

/// Tokens, one per caller; `needs` says which rights are the right ones.
struct Tokens<'world> {
    world: &'world World,
    stranger: Issuer,
}

impl Tokens<'_> {
    fn of(&self, caller: Caller, needs: Needs, algorithm: Algorithm) -> Option<String> {
        let holder = |rights: &[&str], accounts: &[i64]| claims("caller", rights, accounts);
        let (any, accounts): (Vec<&str>, _) = match needs {
            Needs::Nothing | Needs::Credential => (right::ALL.to_vec(), [ACCOUNT]),
            Needs::Right(right) => (vec![right], [ACCOUNT]),
            Needs::Own { any, .. } => (vec![any], [OTHERS]),
        };
        let all = |changed: &str, value: Value| {
            let mut claims = holder(&right::ALL, &[ACCOUNT]);
            claims[changed] = value;
            claims
        };
        let own = [right::ORDERS_OWN, right::LEDGER_OWN];
        let others: Vec<&str> = match needs {
            Needs::Nothing | Needs::Credential => Vec::new(),
            Needs::Right(needed) => {
                right::ALL.into_iter().filter(|right| *right != needed).collect()
            }
            Needs::Own { own, any } => {
                right::ALL.into_iter().filter(|right| ![own, any].contains(right)).collect()
            }
        };

        let minute_ago = (now() - std::time::Duration::from_secs(60)).as_secs();
        let claims = match caller {
            Caller::NoCredential => return None,
            Caller::Expired => all("exp", json!(minute_ago)),
            Caller::NotYet => all("nbf", json!(minute_ago + 600)),
            Caller::WrongAudience => all("aud", json!("another-service")),
            Caller::WrongIssuer => all("iss", json!("https://another.test")),
            Caller::WrongKey => {
                return Some(self.stranger.sign(algorithm, &holder(&right::ALL, &[ACCOUNT])));
            }
            Caller::NoRight => holder(&[], &[ACCOUNT]),
            Caller::OtherRights => holder(&others, &[ACCOUNT]),
            Caller::OtherAccount => holder(&own, &[OTHERS]),
            Caller::OwnAccount => holder(&own, &[ACCOUNT]),
            Caller::RightRole => holder(&any, &accounts),
        };
        Some(self.world.issuer.sign(algorithm, &claims))
    }
}

/// Calls every method as every caller. Signatures of both algorithms take turns.
async fn ask(world: &World) -> Vec<Cell> {
    let tokens = Tokens { world, stranger: Issuer::new() };
    let mut cells = Vec::new();
    for sample in all(&world.order_id) {
        let channel = world.channel(sample.service);
        for (index, caller) in Caller::ALL.into_iter().enumerate() {
            let algorithm = match (cells.len() + index) % 2 {
                0 => Algorithm::Es256,
                _ => Algorithm::EdDsa,
            };
            let token = tokens.of(caller, sample.needs, algorithm);
            let told = call(channel, sample.method, sample.message.clone(), token.as_deref()).await;
            cells.push(Cell {
                method: format!("{} ({})", sample.method, sample.service.name()),
                caller,
                expected: caller.expected(sample.needs),
                told: told.map(|_| ()),
            });
        }
    }
    cells
}

/// A row per method, a column per caller.
fn table(cells: &[Cell]) -> String {
    let mut table = "| method |".to_owned();
    for caller in Caller::ALL {
        write!(table, " {caller:?} |").unwrap();
    }
    write!(table, "\n|---|{}\n", "---|".repeat(Caller::ALL.len())).unwrap();
    for row in cells.chunks(Caller::ALL.len()) {
        write!(table, "| {} |", row[0].method).unwrap();
        for cell in row {
            let mark = if cell.is_right() { "" } else { " ✗" };
            write!(table, " {:?}{mark} |", cell.code()).unwrap();
        }
        table.push('\n');
    }
    table
}

/// Where the table can be looked at afterwards.
fn keep(table: &str, name: &str) {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("rights-{name}.md"));
    std::fs::write(&file, table).unwrap();
    println!("{}\n\n{table}", file.display());
}

async fn every_cell_is_as_expected(backend: Backend, name: &str) {
    let world = World::start(backend, Binaries::build().unwrap(), &[]).await;
    let cells = ask(&world).await;
    keep(&table(&cells), name);

    let wrong = cells.iter().filter(|cell| !cell.is_right());
    let wrong: Vec<_> = wrong
        .map(|cell| {
            format!("{} {:?}: {:?}, not {:?}", cell.method, cell.caller, cell.told, cell.expected)
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {} cells:\n{}", wrong.len(), cells.len(), wrong.join("\n"));
    nothing_is_told_of_what_exists(&world).await;
}

#[tokio::test]
async fn each_method_answers_whom_it_should_and_nobody_else_on_sqlite() {
    every_cell_is_as_expected(Backend::Sqlite, "sqlite").await;
}

#[tokio::test]
async fn each_method_answers_whom_it_should_and_nobody_else_on_postgresql() {
    every_cell_is_as_expected(Backend::Postgres, "postgresql").await;
}

/// The refusal of what exists is that of what does not, to the letter.
async fn nothing_is_told_of_what_exists(world: &World) {
    let own = [right::ORDERS_OWN, right::LEDGER_OWN];
    let token = world.token(&own, &[ACCOUNT]);
    let mut asked = 0;
    for sample in all(&world.order_id) {
        let Some(about) = sample.about else { continue };
        let refusal = async |account, order_id: &str| {
            let (channel, message) = (world.channel(sample.service), about(account, order_id));
            let told = call(channel, sample.method, message, Some(&token)).await.unwrap_err();
            (told.code(), told.message().to_owned(), told.details().to_vec())
        };
        let existing = refusal(OTHERS, &world.order_id).await;
        assert_eq!(existing.0, Code::PermissionDenied, "{}", sample.method);
        let absent = "00000000-0000-7000-8000-000000000000";
        assert_eq!(refusal(ABSENT, absent).await, existing, "{}", sample.method);
        asked += 1;
    }
    assert_eq!(asked, 7, "methods about one account");
}

#[tokio::test]
async fn without_the_safeguard_the_matrix_fails() {
    let binaries = Binaries::build_with_fail_points().unwrap();
    let without = ["--without", "authorisation"];
    let world = World::start(Backend::Sqlite, binaries, &without).await;
    let cells = ask(&world).await;
    for cell in &cells {
        // Who calls is asked all the same; what the caller may do is not.
        let is_noticed = cell.expected == Code::PermissionDenied;
        assert_eq!(
            cell.is_right(),
            !is_noticed,
            "{} {:?}: {:?}",
            cell.method,
            cell.caller,
            cell.told
        );
    }
    assert!(cells.iter().any(|cell| !cell.is_right()));
}

#[test]
fn the_matrix_has_every_method_that_is_served() {
    let sets = [
        proto::DESCRIPTOR_SET,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    let files = sets.into_iter().flat_map(|set| FileDescriptorSet::decode(set).unwrap().file);
    // `server` answers List itself: tonic-health's descriptor is from before it.
    let list = "grpc.health.v1.Health/List".to_owned();
    let served: BTreeSet<String> = files
        .flat_map(|file| {
            let package = file.package().to_owned();
            file.service.into_iter().flat_map(move |service| {
                let prefix = format!("{package}.{}", service.name());
                let name = move |method: prost_types::MethodDescriptorProto| {
                    format!("{prefix}/{}", method.name())
                };
                service.method.into_iter().map(name)
            })
        })
        .chain([list])
        .collect();

    for service in [Service::Account, Service::Order] {
        let own = if service == Service::Account { "account.v1." } else { "order.v1." };
        let is_its = |method: &&String| method.starts_with(own) || method.starts_with("grpc.");
        let sampled: BTreeSet<String> = all("")
            .iter()
            .filter(|sample: &&Sample| sample.service == service)
            .map(|sample| sample.method.to_owned())
            .collect();
        assert_eq!(sampled, served.iter().filter(is_its).cloned().collect(), "{service:?}");
    }
}
