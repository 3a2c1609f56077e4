//! The matrix: each process ends at each of its points, is started again, and every order comes to its one end.

use std::os::unix::process::ExitStatusExt;

use failpoint::Point;
use tests::cluster::Pod;

use crate::scene::Scene;
use crate::world::{Backend, OPENING, PRICE, World, until};

/// SIGABRT.
const ABORTED: i32 = 6;

/// COMMITs that are cut: housekeeping sends some too, so more than one.
const COMMITS: u32 = 1000;

impl World {
    fn pod_of(&mut self, point: Point) -> &mut Pod {
        let Self { cluster, .. } = self;
        if point.is_of_accounts() { &mut cluster.account[0] } else { &mut cluster.order[0] }
    }

    /// In order, and again so that it ends at the point.
    async fn arm(&mut self, point: Point) {
        let pod = self.pod_of(point);
        if pod.is_running().unwrap() {
            pod.terminate();
            pod.wait_gone().unwrap();
        }
        pod.restart_with(&["--fail-at".to_owned(), point.to_string()]).unwrap();
    }

    /// What must have happened before the process is armed.
    async fn prepare(&mut self, scene: Scene, key: &str) {
        let request = scene.request(key);
        match scene {
            Scene::Order | Scene::TooDear | Scene::SoldOut | Scene::Silence | Scene::CommitCut => {}
            Scene::Again => drop(self.persist(0, &request).await.unwrap()),
            Scene::LeftBehind => {
                self.cluster.account[0].freeze();
                let answer = self.place(0, request).await;
                assert!(answer.is_err(), "{answer:?}");
                assert_eq!(self.unfinished().await, 1);
                self.cluster.order[0].kill().unwrap();
                self.cluster.account[0].thaw();
            }
            Scene::Untold => {
                self.arm(Point::BeforeTell).await;
                self.come_to(Point::BeforeTell, Scene::Order, key).await;
            }
        }
    }

    /// Asks until the process has ended where it should.
    async fn come_to(&mut self, point: Point, scene: Scene, key: &str) {
        match scene {
            Scene::LeftBehind | Scene::Untold => {}
            // A process that was never told which ledger there is claims no key.
            Scene::Silence => {
                self.pod_of(point).wait_ready().await.unwrap();
                self.cluster.account[0].freeze();
            }
            Scene::CommitCut => {
                // A process that does not know the time yet claims in a transaction: it is told first.
                self.pod_of(point).wait_ready().await.unwrap();
                let first = self.persist(0, &Scene::TooDear.request("key-first")).await;
                assert_eq!(first.err(), Scene::TooDear.refusal());
                self.proxy.as_ref().unwrap().cut_commits(COMMITS);
            }
            Scene::Order | Scene::Again | Scene::TooDear | Scene::SoldOut => {}
        }
        let asks = !matches!(scene, Scene::LeftBehind | Scene::Untold);
        let began = std::time::Instant::now();
        while self.pod_of(point).is_running().unwrap() {
            assert!(began.elapsed().as_secs() < 60, "{point} was never reached");
            if asks {
                // What is answered meanwhile is asked for again afterwards.
                let _answer = self.place(0, scene.request(key)).await;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let status = self.pod_of(point).wait_exit().unwrap();
        assert_eq!(status.signal(), Some(ABORTED), "{point}: {status}");
        let log = std::fs::read_to_string(self.pod_of(point).log()).unwrap();
        let said = format!("fail point: the process ends at {point}");
        assert!(log.contains(&said), "{point}: {log}");
        self.cluster.account[0].thaw();
        self.proxy.iter().for_each(|proxy| proxy.cut_commits(0));
    }
}

async fn every_order_comes_to_its_one_end(backend: Backend) {
    let mut world = World::start(backend, 1, &[]).await;
    let mut placed = 0;
    for point in Point::ALL {
        if point == Point::CommitUnknown && world.proxy.is_none() {
            continue;
        }
        let (scene, key) = (Scene::of(point), format!("key-{point}"));
        world.prepare(scene, &key).await;
        world.arm(point).await;
        world.come_to(point, scene, &key).await;
        world.pod_of(point).restart().unwrap();
        world.pod_of(point).wait_ready().await.unwrap();

        let answer = world.persist(0, &scene.request(&key)).await;
        assert_eq!(answer.as_ref().err().copied(), scene.refusal(), "{point}: {answer:?}");
        let again = world.persist(0, &scene.request(&key)).await;
        assert_eq!(
            again.as_ref().map(|reply| (&reply.order, &reply.payment)),
            answer.as_ref().map(|reply| (&reply.order, &reply.payment)),
            "{point}"
        );
        placed += i64::from(scene.refusal().is_none());
        until("the money to be taken", async || world.account().await.reserved == "0").await;
        let balance = (OPENING - placed * PRICE).to_string();
        until("the books to agree", async || world.account().await.balance == balance).await;
        world.check_books().await;
    }
    world.cluster.stop().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_a_process_ends_every_order_comes_to_its_one_end_on_sqlite() {
    every_order_comes_to_its_one_end(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_a_process_ends_every_order_comes_to_its_one_end_on_postgresql() {
    every_order_comes_to_its_one_end(Backend::Postgres).await;
}
