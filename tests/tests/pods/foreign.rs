//! grpc-core, through its Python package, with the configuration that is shipped for it. What grpc-js does with it is asked
//! by `cargo run -p tests --bin oracle`.

use std::collections::BTreeMap;
use std::path::Path;

use tests::pods::place_through_changes;
use tokio::process::Command;

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_core_client_with_the_shipped_config_loses_no_order_whatever_happens_to_pods() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("../target/tools/python/bin/python");
    assert!(python.exists(), "grpcio is missing: run .ci/tools");
    let client = |target: &str, configuration: &Path| {
        let mut command = Command::new(python);
        command.arg(root.join("oracle/orders.py")).arg(target).arg(configuration);
        command
    };
    let outcomes = place_through_changes(client).await.unwrap();
    println!("{outcomes:?}");
    assert_eq!(outcomes.failed, BTreeMap::new());
    assert!(outcomes.answered > 500, "too few orders to tell: {}", outcomes.answered);
}
