//! A Deployment: keeps as many pods of one version running as are wanted.
//!
//! One task owns the pods and takes the steps that [`controller`](super::controller) decides, on
//! every order and every [`GLANCE`]. An order is answered once it is taken up, not once it is done;
//! [`Deployment::until`] waits for what it should bring about.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::controller::{self, Seen, Step, Wanted};
use super::endpoints::Slice;
use super::kubelet::{Condition, Departures, Identity, Kubelet, Order, Surroundings, Template};
use crate::HarnessError;
use crate::cluster::http;

/// Interval of looking at the pods.
const GLANCE: Duration = Duration::from_millis(50);
/// Orders that may wait to be taken up, for a Deployment or for a pod.
const ORDERS_MAX: usize = 16;

/// A running Deployment. Dropped, its pods are killed.
#[derive(Debug)]
pub struct Deployment {
    commands: mpsc::Sender<(Command, oneshot::Sender<()>)>,
    status: watch::Receiver<Status>,
    directory: PathBuf,
    _controlling: AbortOnDropHandle<()>,
}

/// How a Deployment stands.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// All pods as wanted, of the wanted version, and available; others may be leaving still.
    pub done: bool,
    /// Every pod that has not ended, oldest first.
    pub pods: Vec<PodStatus>,
}

/// How a pod stands.
#[derive(Clone, Debug)]
pub struct PodStatus {
    /// Unique in its Deployment, rising.
    pub number: u32,
    /// `order-service-7`.
    pub name: String,
    /// Where it serves gRPC.
    pub grpc: SocketAddr,
    /// Where it serves the admin HTTP.
    pub admin: SocketAddr,
    /// Rises with every roll-out.
    pub generation: u64,
    /// Calls are routed to it.
    pub ready: bool,
    /// It has been deleted.
    pub leaving: bool,
    /// How often its container was started again.
    pub restarts: u32,
}

impl PodStatus {
    /// How many calls of a method (`package.Service/Method`) its process has begun, as its metrics
    /// say; `None` when it does not answer.
    pub async fn calls_started(&self, method: &str) -> Option<u64> {
        let (_, metrics) = http::get(self.admin, "/q/metrics").await.ok()?;
        let name = format!("grpc_server_call_started_total{{grpc_method=\"{method}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&name))?.parse().ok()
    }
}

impl Status {
    /// Pods that calls are routed to.
    pub fn ready(&self) -> impl Iterator<Item = &PodStatus> {
        self.pods.iter().filter(|pod| pod.ready && !pod.leaving)
    }

    /// Pods that are on their way out.
    pub fn leaving(&self) -> impl Iterator<Item = &PodStatus> {
        self.pods.iter().filter(|pod| pod.leaving)
    }
}

#[derive(Debug)]
enum Command {
    Scale(usize),
    Roll(Box<Template>),
    Order(u32, Order),
}

/// What a Deployment is made of.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) name: &'static str,
    pub(crate) replicas: usize,
    pub(crate) template: Template,
    pub(crate) grpc_port: u16,
    pub(crate) admin_port: u16,
    pub(crate) slice: Slice,
    pub(crate) directory: PathBuf,
    pub(crate) departures: Departures,
}

impl Deployment {
    pub(crate) fn start(setup: Setup) -> Self {
        let (commands, received) = mpsc::channel(ORDERS_MAX);
        let (told, status) = watch::channel(Status::default());
        let directory = setup.directory.clone();
        let controlling = tokio::spawn(Controller::new(setup, told).control(received));
        let _controlling = AbortOnDropHandle::new(controlling);
        Self { commands, status, directory, _controlling }
    }

    /// How it stands now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Wants so many pods from now on.
    pub async fn scale(&self, replicas: usize) {
        self.command(Command::Scale(replicas)).await;
    }

    /// Wants this version of its pods from now on: a rolling update.
    pub(crate) async fn roll(&self, template: Template) {
        self.command(Command::Roll(Box::new(template))).await;
    }

    /// Deletes a pod, which leaves in order and is replaced. One that has ended is let be.
    pub async fn delete(&self, pod: u32) {
        self.command(Command::Order(pod, Order::Delete)).await;
    }

    /// SIGKILL to a pod's container, which is started again. One that has ended is let be.
    pub async fn kill(&self, pod: u32) {
        self.command(Command::Order(pod, Order::Kill)).await;
    }

    /// Waits until it stands as asked.
    ///
    /// # Errors
    /// When it does not within the bound.
    pub async fn until(
        &self,
        bound: Duration,
        what: &str,
        reached: impl FnMut(&Status) -> bool,
    ) -> Result<Status, HarnessError> {
        let mut status = self.status.clone();
        match timeout(bound, status.wait_for(reached)).await {
            Ok(status) => Ok(status.expect("the controller ends with the Deployment").clone()),
            Err(_) => {
                let last: Vec<_> = self.status().pods;
                let what = format!("{what}: {last:?}");
                Err(HarnessError::Late { what, log: self.directory.clone() })
            }
        }
    }

    async fn command(&self, command: Command) {
        let (taken_up, answer) = oneshot::channel();
        let sent = self.commands.send((command, taken_up)).await;
        sent.expect("the controller ends with the Deployment");
        answer.await.expect("the controller answers every command");
    }
}

struct Controller {
    setup: Setup,
    template: Arc<Template>,
    wanted: Wanted,
    pods: Vec<Pod>,
    last_number: u32,
    status: watch::Sender<Status>,
}

struct Pod {
    number: u32,
    generation: u64,
    identity: Identity,
    orders: mpsc::Sender<Order>,
    condition: watch::Receiver<Condition>,
    leaving: bool,
    _living: AbortOnDropHandle<()>,
}

impl Controller {
    fn new(setup: Setup, status: watch::Sender<Status>) -> Self {
        let manifest = &setup.template.manifest;
        let wanted = Wanted {
            replicas: setup.replicas,
            max_surge: manifest.max_surge,
            max_unavailable: manifest.max_unavailable,
            generation: 1,
        };
        let template = Arc::new(setup.template.clone());
        Self { setup, template, wanted, pods: Vec::new(), last_number: 0, status }
    }

    async fn control(mut self, mut commands: mpsc::Receiver<(Command, oneshot::Sender<()>)>) {
        let mut glance = interval(GLANCE);
        glance.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let answer = tokio::select! {
                _ = glance.tick() => None,
                command = commands.recv() => {
                    let Some((command, answer)) = command else { return };
                    self.take_up(command);
                    Some(answer)
                }
            };
            self.reconcile();
            if let Some(answer) = answer {
                // Who asked may have stopped waiting.
                let _told = answer.send(());
            }
        }
    }

    fn take_up(&mut self, command: Command) {
        match command {
            Command::Scale(replicas) => self.wanted.replicas = replicas,
            Command::Roll(template) => {
                self.wanted.generation += 1;
                self.wanted.max_surge = template.manifest.max_surge;
                self.wanted.max_unavailable = template.manifest.max_unavailable;
                self.template = Arc::from(template);
            }
            Command::Order(number, order) => self.order(number, order),
        }
    }

    fn order(&mut self, number: u32, order: Order) {
        if let Some(pod) = self.pods.iter_mut().find(|pod| pod.number == number) {
            // A pod that has so many orders already has this one among them.
            let _taken_or_redundant = pod.orders.try_send(order);
            pod.leaving |= order == Order::Delete;
        }
    }

    /// Takes steps until there is none to take, and tells how things stand.
    fn reconcile(&mut self) {
        self.pods.retain(|pod| !pod.condition.borrow().gone);
        while let Some(step) = controller::next(&self.wanted, &self.seen()) {
            match step {
                Step::Start => self.start(),
                Step::Delete(number) => self.order(number, Order::Delete),
            }
        }
        let done = controller::is_done(&self.wanted, &self.seen());
        let pods = self.pods.iter().map(Pod::status).collect();
        self.status.send_replace(Status { done, pods });
    }

    /// Pods that are not leaving.
    fn seen(&self) -> Vec<Seen> {
        let min_ready = self.template.manifest.min_ready;
        let staying = self.pods.iter().filter(|pod| !pod.leaving);
        let seen = staying.map(|pod| {
            let ready_since = pod.condition.borrow().ready_since;
            Seen {
                number: pod.number,
                generation: pod.generation,
                ready: ready_since.is_some(),
                available: ready_since.is_some_and(|since| since.elapsed() >= min_ready),
            }
        });
        seen.collect()
    }

    fn start(&mut self) {
        self.last_number += 1;
        let (number, setup) = (self.last_number, &self.setup);
        let (name, ip) = (format!("{}-{number}", setup.name), own_address());
        let identity = Identity {
            grpc: SocketAddr::from((ip, setup.grpc_port)),
            admin: SocketAddr::from((ip, setup.admin_port)),
            log: setup.directory.join(format!("{name}.log")),
            name,
        };
        let (orders, received) = mpsc::channel(ORDERS_MAX);
        let (condition, known) = watch::channel(Condition::default());
        let (slice, departures) = (setup.slice.clone(), setup.departures.clone());
        let around = Surroundings { slice, condition, departures };
        let kubelet = Kubelet::new(identity.clone(), self.template.clone(), around, received);
        self.pods.push(Pod {
            number,
            generation: self.wanted.generation,
            identity,
            orders,
            condition: known,
            leaving: false,
            _living: AbortOnDropHandle::new(tokio::spawn(kubelet.live())),
        });
    }
}

impl Pod {
    fn status(&self) -> PodStatus {
        let condition = *self.condition.borrow();
        PodStatus {
            number: self.number,
            name: self.identity.name.clone(),
            grpc: self.identity.grpc,
            admin: self.identity.admin,
            generation: self.generation,
            ready: condition.ready_since.is_some(),
            leaving: self.leaving,
            restarts: condition.restarts,
        }
    }
}

/// A loopback address that no other pod of this process has or had, and that other processes are
/// unlikely to use: the second byte is from the process id.
fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let process = u8::try_from(std::process::id() % 64).expect("less than 64");
    Ipv4Addr::new(127, 64 + process, high, low)
}
