//! What a pod refuses to start with, and what it says while it is not let in.

use std::process::{Command, Stdio};

use tempfile::TempDir;
use tests::cluster::{Binaries, Cluster, Plan, Service};
use tests::tokens::{Algorithm, Issuer, claims};

use crate::world;

/// Exit code and standard error of a program that must not come to serving.
fn refused(service: Service, flags: &[String]) -> (Option<i32>, String) {
    let program = Binaries::build().unwrap().program(service);
    let mut command = Command::new(program);
    let output = command.args(flags).stdout(Stdio::null()).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn owned(flags: &[&str]) -> Vec<String> {
    flags.iter().map(ToString::to_string).collect()
}

#[test]
fn a_pod_that_would_serve_everybody_on_every_address_does_not_start() {
    for service in [Service::Account, Service::Order] {
        let (code, told) = refused(service, &owned(&["--listen=0.0.0.0:0"]));
        assert_eq!(code, Some(2), "{told}");
        for named in ["--listen (LISTEN)", "--auth off", "--auth-insecure-listen"] {
            assert!(told.contains(named), "{named} is missing: {told}");
        }
    }
}

#[test]
fn a_token_is_not_sent_in_plaintext_to_another_machine() {
    let flags = ["--account-token-file=t", "--account-target=dns:///account-service:50051"];
    let (code, told) = refused(Service::Order, &owned(&flags));
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("--account-token-file (ACCOUNT_TOKEN_FILE)"), "{told}");
}

#[test]
fn keys_and_roles_that_cannot_be_used_are_named_with_their_files() {
    let directory = TempDir::new().unwrap();
    let (jwks, roles) = (directory.path().join("jwks.json"), directory.path().join("roles.json"));
    let database = format!("--database-url=sqlite://{}/a.db", directory.path().display());
    let mut flags = owned(&["--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", &database]);
    flags.extend(world::flags(&jwks));
    let (code, told) = refused(Service::Account, &flags);
    assert!(code == Some(1) && told.contains("jwks.json"), "{told}");

    std::fs::write(&jwks, r#"{"keys": []}"#).unwrap();
    let (code, told) = refused(Service::Account, &flags);
    assert!(code == Some(1) && told.contains("no key for ES256"), "{told}");

    std::fs::write(&jwks, Issuer::new().jwks()).unwrap();
    std::fs::write(&roles, r#"{"callers": [{"subject": "a", "rights": ["orders:mine"]}]}"#)
        .unwrap();
    flags.push(format!("--auth-roles={}", roles.display()));
    let (code, told) = refused(Service::Account, &flags);
    assert!(code == Some(1) && told.contains("orders:mine"), "{told}");
}

#[tokio::test]
async fn an_order_pod_that_the_account_service_does_not_let_in_is_not_ready_and_says_why() {
    let (directory, issuer) = (TempDir::new().unwrap(), Issuer::new());
    let jwks = directory.path().join("jwks.json");
    std::fs::write(&jwks, issuer.jwks()).unwrap();
    let plan = Plan {
        account_pods: 1,
        order_pods: 0,
        account_flags: world::flags(&jwks),
        ..Plan::default()
    };
    let accounts = Cluster::start(Binaries::build().unwrap(), plan).await.unwrap();

    let token = directory.path().join("token");
    let target = format!("static:///{}", accounts.account[0].address());
    for (rights, reason) in
        [(None, "carries no credential"), (Some(&["orders:any"][..]), "ledger:settle")]
    {
        let mut flags = owned(&["--account-target", &target]);
        if let Some(rights) = rights {
            let claims = claims("order-service", rights, &[]);
            std::fs::write(&token, issuer.sign(Algorithm::Es256, &claims)).unwrap();
            flags.extend(owned(&["--account-token-file", &token.display().to_string()]));
        }
        let mut pod = accounts.order_pod(&flags).unwrap();
        let said = pod.wait_health_says(reason).await.unwrap();
        assert!(said.contains("refuses this service's identity"), "{said}");
        assert_eq!(pod.get("/q/health/ready").await.unwrap().0, 503);
    }
}
