//! Connections that do nothing.

use std::time::Duration;

use crate::scene::{Scene, wires};

const CALM: Duration = Duration::from_secs(2);
const ATTACK: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_idle_connections_of_one_address_leave_room_for_others() {
    let mut scene = Scene::start(&["--max-connections", "1000"]).await;
    let calm = scene.call_for(CALM).await;
    let before = scene.resident_kib();

    let attackers = wires(scene.address(), 1_000, 65_535).await;
    scene.until("refusals", async |scene| scene.refused("caller_connections").await >= 499).await;
    let fared = scene.call_for(ATTACK).await;
    let grown = scene.resident_kib().saturating_sub(before);

    fared.assert_as_calm(&calm);
    assert_eq!(scene.refused("connections").await, 0);
    println!("{} KiB for a connection", grown / 500);
    assert!(grown <= 500 * 64, "{grown} KiB for 500 connections");
    drop(attackers);
    scene.stop_and_verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_may_open_few_files_accepts_fewer_connections_and_answers_its_probes() {
    let mut scene = Scene::start(&[]).await;
    scene.restart_with_open_files(600).await;
    let calm = scene.call_for(CALM).await;

    let attackers = wires(scene.address(), 1_000, 65_535).await;
    // 600 files without the reserve of 256 are 344 connections, and half of them one address'.
    scene.until("refusals", async |scene| scene.refused("caller_connections").await >= 828).await;
    let fared = scene.call_for(ATTACK).await;

    fared.assert_as_calm(&calm);
    let (live, _) = scene.pod().get("/q/health/live").await.expect("a probe is answered");
    assert_eq!(live, 200);
    let log = std::fs::read_to_string(scene.pod().log()).unwrap();
    assert!(log.contains("fewer connections than --max-connections fit"), "{log}");
    assert!(!log.contains("the system refused a connection"), "{log}");
    drop(attackers);
    scene.stop_and_verify();
}
