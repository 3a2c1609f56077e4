//! The admin HTTP, asked by who does not read and by who does not ask.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::scene::Scene;

const ATTACK: Duration = Duration::from_secs(4);
const SCRAPE: &[u8] = b"GET /q/metrics HTTP/1.1\r\nhost: pod\r\n\r\n";

/// The kubelet's patience is 2 s (A7).
const PROBE: Duration = Duration::from_secs(2);

/// Asks both probes for a while, and answers how many were not answered in time.
async fn probe_for(scene: &Scene, time: Duration) -> (u32, u32) {
    let (mut asked, mut failed) = (0, 0);
    let began = Instant::now();
    while began.elapsed() < time {
        for path in ["/q/health/live", "/q/health/ready"] {
            let ask = Instant::now();
            let answer = scene.pod().get(path).await;
            asked += 1;
            failed +=
                u32::from(answer.is_none_or(|(status, _)| status != 200) || ask.elapsed() > PROBE);
        }
        sleep(Duration::from_millis(20)).await;
    }
    (asked, failed)
}

#[tokio::test(flavor = "multi_thread")]
async fn scrapes_that_are_not_read_and_silence_keep_no_probe_from_its_answer() {
    let mut scene = Scene::start(&[]).await;
    let calm = scene.call_for(Duration::from_secs(1)).await;
    let before = scene.resident_kib();
    let mut attackers = Vec::new();
    for _ in 0..200 {
        let mut pipelining = TcpStream::connect(scene.pod().admin()).await.unwrap();
        // The pod may have closed it already, which is what is wanted of it.
        let _written_or_closed = pipelining.write_all(&SCRAPE.repeat(100)).await;
        attackers.push(pipelining);
        attackers.push(TcpStream::connect(scene.pod().admin()).await.unwrap());
    }

    let ((asked, failed), grown) = tokio::join!(probe_for(&scene, ATTACK), async {
        sleep(ATTACK / 2).await;
        scene.resident_kib().saturating_sub(before)
    });
    println!("{asked} probes, {failed} not answered, {grown} KiB");
    assert!(asked >= 50 && failed == 0, "{failed} of {asked}");
    assert!(grown <= 16 * 1_024, "{grown} KiB");
    let fared = scene.call_for(Duration::from_secs(1)).await;
    fared.assert_as_calm(&calm);
    assert!(scene.refused("admin_connections").await >= 100);
    drop(attackers);
    scene.stop_and_verify();
}
