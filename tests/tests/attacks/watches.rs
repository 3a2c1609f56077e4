//! Watchers of the health, who cost memory and nothing else.

use std::time::Duration;

use tests::frames::Frames;

use crate::scene::{Scene, streams, wires};

const WATCH: &str = "/grpc.health.v1.Health/Watch";
const CALM: Duration = Duration::from_secs(2);
const ATTACK: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn thirty_thousand_watches_are_sixteen_of_a_connection_and_half_of_all_of_an_address() {
    let mut scene = Scene::start(&[]).await;
    let calm = scene.call_for(CALM).await;
    let before = scene.resident_kib();

    let mut attackers = wires(scene.address(), 300, 65_535).await;
    for wire in &mut attackers {
        let watches = streams(100).fold(Frames::default(), |watches, stream| {
            watches.head(stream, WATCH, &[]).body(stream, &[0; 5])
        });
        wire.write(watches).await;
    }
    // Each connection has 16 at most, and all together half of 4,096.
    let refused = async |scene: &Scene| {
        scene.refused("connection_watches").await + scene.refused("caller_watches").await
    };
    scene.until("refusals", async |scene| refused(scene).await >= 30_000 - 2_048).await;
    let fared = scene.call_for(ATTACK).await;
    let grown = scene.resident_kib().saturating_sub(before);

    fared.assert_as_calm(&calm);
    assert_eq!(refused(&scene).await, 30_000 - 2_048);
    println!("{grown} KiB for 300 connections and 2,048 watches");
    assert!(grown <= 160 * 1_024, "{grown} KiB");
    drop(attackers);
    scene.stop_and_verify();
}
