//! Administrative methods on a listener of their own, page tokens that were not given out, secrets in files.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Output};

use proto::account::v1::account_service_client::AccountServiceClient;
use proto::account::v1::{GetAccountRequest, ListEntriesRequest, OpenAccountRequest};
use proto::order::v1::catalog_service_client::CatalogServiceClient;
use proto::order::v1::{
    AdjustStockRequest, GetProductRequest, ListOrdersRequest, ListProductsRequest,
    PutProductRequest,
};
use tests::clients::Clients;
use tests::cluster::{Binaries, Plan, Service, connect_to};
use tests::ports::free_port;
use tests::postgres::Postgres;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::support::{Backend, World, order};

fn product(product_id: i64) -> PutProductRequest {
    let (name, price) = (format!("product {product_id}"), "1".to_owned());
    PutProductRequest { product_id, name, price, stock: 9, currency: String::new() }
}

fn opened(account_id: i64) -> OpenAccountRequest {
    let (currency, opening_balance) = (String::new(), "100".to_owned());
    OpenAccountRequest { account_id, currency, opening_balance }
}

fn on_loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port().unwrap()).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn money_and_prices_are_made_on_the_administrators_port_only() {
    let (ledger_port, catalog_port) = (on_loopback(), on_loopback());
    let flags = |address: SocketAddr| vec!["--admin-grpc-listen".to_owned(), address.to_string()];
    let (account_flags, order_flags) = (flags(ledger_port), flags(catalog_port));
    let plan =
        Plan { account_pods: 1, order_pods: 1, account_flags, order_flags, ..Plan::default() };
    let mut world = World::start(Backend::Sqlite, plan).await;
    let (mut accounts, mut catalog) =
        (world.clients.accounts.clone(), world.clients.catalog.clone());
    let mut ledger = AccountServiceClient::new(connect_to(ledger_port).await.unwrap());
    let mut prices = CatalogServiceClient::new(connect_to(catalog_port).await.unwrap());

    let refused = [
        accounts.open_account(opened(1)).await.unwrap_err(),
        catalog.put_product(product(1)).await.unwrap_err(),
        ledger.get_account(GetAccountRequest { account_id: 1 }).await.unwrap_err(),
        prices.get_product(GetProductRequest { product_id: 1 }).await.unwrap_err(),
    ];
    assert!(refused.iter().all(|status| status.code() == Code::Unimplemented), "{refused:?}");

    ledger.open_account(opened(1)).await.unwrap();
    prices.put_product(product(1)).await.unwrap();
    let adjust = AdjustStockRequest { product_id: 1, delta: 1, adjustment_id: "a".to_owned() };
    prices.adjust_stock(adjust).await.unwrap();
    // What callers do, and what order-service asks of account-service, goes on at the other port.
    assert_eq!(world.read_account(1).await.unwrap().balance, "100");
    let read = catalog.get_product(GetProductRequest { product_id: 1 }).await.unwrap();
    assert_eq!(read.into_inner().stock, 10);
    world.clients.orders[0].clone().place_order(order(1, "k", "30")).await.unwrap();
    assert_eq!(world.settled_account(1).await.balance, "70");
    drop((ledger, prices));
    world.stop_and_verify().await;
}

/// Of an error that names this field and no other.
fn field(status: &Status) -> String {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let fields = status.get_details_bad_request().unwrap().field_violations;
    assert_eq!(fields.len(), 1, "{status:?}");
    fields[0].field.clone()
}

/// Three orders each of two accounts, three products, and the tokens of their second pages.
async fn tokens(world: &World) -> [String; 4] {
    for account in [1, 2] {
        world.account(account, "100").await;
        for key in ["a", "b", "c"] {
            let request = order(account, key, "1");
            world.clients.orders[0].clone().place_order(request).await.unwrap();
        }
        world.product(account, "1", 1).await;
        world.settled_account(account).await;
    }
    let one = orders_of(world, 0, 1, "").await.unwrap();
    let two = orders_of(world, 0, 2, "").await.unwrap();
    let entries = entries_of(world, 1, "").await.unwrap();
    let request = ListProductsRequest { page_size: 1, page_token: String::new() };
    let products = world.clients.catalog.clone().list_products(request).await.unwrap();
    [one, two, entries, products.into_inner().next_page_token]
}

/// The token of the next page.
async fn orders_of(
    world: &World,
    pod: usize,
    account_id: i64,
    token: &str,
) -> Result<String, Status> {
    let request = ListOrdersRequest { account_id, page_size: 1, page_token: token.to_owned() };
    let listed = world.clients.orders[pod].clone().list_orders(request).await?;
    Ok(listed.into_inner().next_page_token)
}

async fn entries_of(world: &World, account_id: i64, token: &str) -> Result<String, Status> {
    let request = ListEntriesRequest { account_id, page_size: 1, page_token: token.to_owned() };
    let listed = world.clients.accounts.clone().list_entries(request).await?;
    Ok(listed.into_inner().next_page_token)
}

async fn tokens_lead_on_in_their_own_list_alone(backend: Backend) {
    let world = World::start(backend, Plan::default()).await;
    let [one, two, entries, products] = tokens(&world).await;
    // On the other pod too: all have the same key.
    for pod in [0, 1] {
        assert_ne!(orders_of(&world, pod, 1, &one).await.unwrap(), "");
        for foreign in [&two, &entries, &products, "made up", &one[1..]] {
            let refused = orders_of(&world, pod, 1, foreign).await.unwrap_err();
            assert_eq!(field(&refused), "page_token", "{foreign}");
        }
    }
    assert_ne!(entries_of(&world, 1, &entries).await.unwrap(), "");
    for foreign in [&one, &products] {
        assert_eq!(field(&entries_of(&world, 1, foreign).await.unwrap_err()), "page_token");
    }
    assert_eq!(field(&entries_of(&world, 2, &entries).await.unwrap_err()), "page_token");
    let request = ListProductsRequest { page_size: 1, page_token: one };
    let refused = world.clients.catalog.clone().list_products(request).await.unwrap_err();
    assert_eq!(field(&refused), "page_token");
}

#[tokio::test(flavor = "multi_thread")]
async fn page_tokens_lead_on_in_their_own_list_alone_on_sqlite() {
    tokens_lead_on_in_their_own_list_alone(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn page_tokens_lead_on_in_their_own_list_alone_on_postgresql() {
    tokens_lead_on_in_their_own_list_alone(Backend::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn page_tokens_are_made_with_the_key_of_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys");
    let [old, new] = ["o", "n"].map(|letter| letter.repeat(32));
    std::fs::write(&file, format!("{old}\n")).unwrap();
    let order_flags = vec!["--page-token-key-file".to_owned(), file.display().to_string()];
    let plan = Plan { order_pods: 1, order_flags, ..Plan::default() };
    let mut world = World::start(Backend::Sqlite, plan).await;
    let [one, ..] = tokens(&world).await;

    // With the next key in front, what the old one made is good still.
    std::fs::write(&file, format!("{new}\n{old}\n")).unwrap();
    restart(&mut world).await;
    let made = orders_of(&world, 0, 1, &one).await.unwrap();

    // And without the old one, only what the new one made.
    std::fs::write(&file, format!("{new}\n")).unwrap();
    restart(&mut world).await;
    assert_eq!(orders_of(&world, 0, 1, &made).await.unwrap(), "");
    assert_eq!(field(&orders_of(&world, 0, 1, &one).await.unwrap_err()), "page_token");
}

/// The one order pod.
async fn restart(world: &mut World) {
    let pod = &mut world.cluster.order[0];
    pod.terminate();
    pod.wait_gone().unwrap();
    pod.restart().unwrap();
    pod.wait_ready().await.unwrap();
    world.clients = Clients::connect(&world.cluster).await.unwrap();
}

/// Runs a program to its end with these variables and no others.
fn run(service: Service, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let program = Binaries::build().unwrap().program(service);
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(variables.iter().copied());
    command.output().unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn write(path: &Path, text: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_can_come_from_a_file_and_from_nowhere_else() {
    let directory = tempfile::tempdir().unwrap();
    // A server that believes nobody without a password, but for its own user.
    let rules = directory.path().join("hba");
    let text = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
    std::fs::write(&rules, text).unwrap();
    let [readable, public] = [0o755, 0o644];
    for (path, mode) in [(directory.path(), readable), (&*rules, public)] {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let server = Postgres::start_with(&[&format!("hba_file={}", rules.display())]).await.unwrap();
    for sql in ["CREATE ROLE app LOGIN PASSWORD 's3cret'", "CREATE DATABASE books OWNER app"] {
        let url = server.url("postgres");
        let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(&url).await.unwrap();
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    }
    let port = server.port();
    let bare = format!("postgres://app@127.0.0.1:{port}/books");
    let url = format!("postgres://app:s3cret@127.0.0.1:{port}/books\n");
    let file = write(&directory.path().join("url"), &url);
    let pass = write(&directory.path().join("pgpass"), &format!("127.0.0.1:{port}:*:app:s3cret\n"));

    for service in [Service::Account, Service::Order] {
        let schema = "DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION app";
        let url = server.url("books");
        let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(&url).await.unwrap();
        sqlx::raw_sql(schema).execute(&mut connection).await.unwrap();

        let migrate = ["migrate", "--migrate-timeout", "100ms"];
        let without = run(service, &migrate, &[("DATABASE_URL", &bare)]);
        assert!(!without.status.success(), "{}", told(&without));
        let from_file =
            run(service, &[&migrate[..], &["--database-url-file", &file]].concat(), &[]);
        assert!(from_file.status.success(), "{}", told(&from_file));
        let from_variable = run(service, &["verify"], &[("DATABASE_URL_FILE", &file)]);
        assert!(from_variable.status.success(), "{}", told(&from_variable));
        let variables = [("DATABASE_URL", &*bare), ("PGPASSFILE", &*pass)];
        let from_passfile = run(service, &["verify"], &variables);
        assert!(from_passfile.status.success(), "{}", told(&from_passfile));

        let both = run(service, &["verify", "--database-url-file", &file], &variables);
        assert_eq!(both.status.code(), Some(2));
        assert!(told(&both).contains("--database-url (DATABASE_URL): and --database-url-file"));
        for output in [without, from_file, from_variable, from_passfile, both] {
            assert!(!told(&output).contains("s3cret"), "{}", told(&output));
        }
    }
}

#[test]
fn a_secret_file_that_cannot_be_used_is_named_and_never_shown() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(&directory.path().join("redis"), "not-redis://:s3cret@nowhere");
    let keys = write(&directory.path().join("keys"), "s3cret");
    let flags = [
        "--database-url-file=/nowhere/url",
        &format!("--redis-url-file={file}"),
        &format!("--page-token-key-file={keys}"),
    ];
    let refused = run(Service::Order, &flags, &[]);
    assert_eq!(refused.status.code(), Some(2));
    let told = told(&refused);
    for named in [
        "--database-url-file (DATABASE_URL_FILE): cannot use /nowhere/url",
        "--redis-url-file (REDIS_URL_FILE)",
        "--page-token-key-file (PAGE_TOKEN_KEY_FILE)",
    ] {
        assert!(told.contains(named), "{named} is missing in: {told}");
    }
    assert!(!told.contains("s3cret"), "{told}");
}
