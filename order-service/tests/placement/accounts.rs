//! An account service that does as it is told and remembers what it was asked.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use proto::{
    Reason,
    account::v1::{
        Account, ApplyReply, ApplyRequest, CaptureReply, CaptureRequest, DepositReply,
        DepositRequest, GetAccountRequest, GetReservationRequest, HandshakeReply, HandshakeRequest,
        ListEntriesReply, ListEntriesRequest, OpenAccountRequest, Outcome, RefundReply,
        RefundRequest, Refusal, ReleaseReply, ReleaseRequest, Reservation, ReservationState,
        ReserveReply, ReserveRequest,
        account_service_server::{AccountService, AccountServiceServer},
        command::Command,
    },
};
use server::{ServeConfig, Server, Signals, Trigger};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

/// What it does with a Reserve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Accept,
    Decline,
    /// Says nothing until the mood changes.
    Silent,
    /// Fails without saying what became of it.
    Confused,
    /// Says UNAVAILABLE, whatever is asked.
    Unavailable,
}

/// What it does with a Refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refunds {
    /// Any amount, and the rest.
    All,
    /// The rest only: another caller refunded a part before.
    Rest,
    /// Nothing: another caller refunded a part before, and the version before knows no rest.
    Old,
}

/// What it was asked to do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    Reserve { reserve_id: String, amount: String, currency: String },
    Capture { reserve_id: String },
    Release { reserve_id: String },
    Refund { reserve_id: String, refund_id: String, amount: String },
}

#[derive(Clone)]
pub(crate) struct Accounts {
    mood: watch::Sender<Mood>,
    refunds: Arc<Mutex<Refunds>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    count: watch::Sender<usize>,
    pub(crate) address: SocketAddr,
    _trigger: Trigger,
}

impl Accounts {
    pub(crate) async fn start(mood: Mood) -> Self {
        let (trigger, signals) = Signals::by_hand();
        let mut accounts = Self {
            mood: watch::Sender::new(mood),
            refunds: Arc::new(Mutex::new(Refunds::All)),
            asked: Arc::default(),
            count: watch::Sender::new(0),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            _trigger: trigger,
        };
        let service = AccountServiceServer::new(accounts.clone());
        let bound = Server::new(ServeConfig::default()).service(service).bind().await.unwrap();
        accounts.address = bound.local_addr();
        tokio::spawn(bound.run(signals));
        accounts
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    pub(crate) fn refund(&self, refunds: Refunds) {
        *self.refunds.lock().unwrap() = refunds;
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The reserve ids it was asked for, one a call.
    pub(crate) fn reserve_ids(&self) -> Vec<String> {
        let reserve_id = |asked| match asked {
            Asked::Reserve { reserve_id, .. } => Some(reserve_id),
            Asked::Capture { .. } | Asked::Release { .. } | Asked::Refund { .. } => None,
        };
        self.asked().into_iter().filter_map(reserve_id).collect()
    }

    /// Waits until it was asked for this.
    pub(crate) async fn wait_for(&self, wanted: impl Fn(&Asked) -> bool) {
        let mut count = self.count.subscribe();
        while !self.asked().iter().any(&wanted) {
            count.changed().await.unwrap();
        }
    }

    /// As its mood has it.
    async fn one(&self, command: Command) -> Result<Outcome, Status> {
        let request = match command {
            Command::Reserve(request) => request,
            Command::Capture(CaptureRequest { reserve_id, .. }) => {
                return Ok(self.done(Asked::Capture { reserve_id }));
            }
            Command::Release(ReleaseRequest { reserve_id, .. }) => {
                return Ok(self.done(Asked::Release { reserve_id }));
            }
            Command::Refund(request) => return Ok(self.refunded(request)),
        };
        let ReserveRequest { reserve_id, amount, currency, .. } = request;
        self.note(Asked::Reserve { reserve_id, amount, currency });
        let mut mood = self.mood.subscribe();
        let mood = *mood.wait_for(|mood| *mood != Mood::Silent).await.unwrap();
        match mood {
            Mood::Accept | Mood::Silent => Ok(Outcome::default()),
            Mood::Decline => Ok(refused(Reason::InsufficientFunds)),
            Mood::Confused => Err(Status::cancelled("what was it?")),
            Mood::Unavailable => Err(Status::unavailable("not now")),
        }
    }

    fn refunded(&self, request: RefundRequest) -> Outcome {
        let RefundRequest { reserve_id, refund_id, amount, .. } = request;
        let is_rest = amount.is_empty();
        self.note(Asked::Refund { reserve_id, refund_id, amount });
        match *self.refunds.lock().unwrap() {
            Refunds::All => Outcome::default(),
            Refunds::Rest if is_rest => Outcome::default(),
            Refunds::Old if is_rest => refused(Reason::InvalidRequest),
            Refunds::Rest | Refunds::Old => refused(Reason::RefundExceedsCapture),
        }
    }

    fn done(&self, asked: Asked) -> Outcome {
        self.note(asked);
        Outcome::default()
    }

    fn note(&self, asked: Asked) {
        self.asked.lock().unwrap().push(asked);
        self.count.send_modify(|count| *count += 1);
    }
}

fn refused(reason: Reason) -> Outcome {
    let (code, reason) = (reason.code().into(), reason.as_str().to_owned());
    let refusal = Some(Refusal { code, reason, message: "for people".to_owned() });
    Outcome { refusal, replayed: false }
}

#[tonic::async_trait]
impl AccountService for Accounts {
    async fn apply(&self, request: Request<ApplyRequest>) -> Result<Response<ApplyReply>, Status> {
        let mut outcomes = Vec::new();
        for command in request.into_inner().commands {
            outcomes.push(self.one(command.command.unwrap()).await?);
        }
        Ok(Response::new(ApplyReply { outcomes }))
    }

    async fn handshake(
        &self,
        _: Request<HandshakeRequest>,
    ) -> Result<Response<HandshakeReply>, Status> {
        Err(Status::unimplemented("of the version before handshakes"))
    }

    async fn reserve(&self, _: Request<ReserveRequest>) -> Result<Response<ReserveReply>, Status> {
        Err(Status::unimplemented("orders reserve by Apply"))
    }

    async fn capture(&self, _: Request<CaptureRequest>) -> Result<Response<CaptureReply>, Status> {
        Err(Status::unimplemented("orders capture by Apply"))
    }

    async fn release(&self, _: Request<ReleaseRequest>) -> Result<Response<ReleaseReply>, Status> {
        Err(Status::unimplemented("orders release by Apply"))
    }

    async fn refund(&self, _: Request<RefundRequest>) -> Result<Response<RefundReply>, Status> {
        Err(Status::unimplemented("orders refund by Apply"))
    }

    async fn open_account(
        &self,
        _: Request<OpenAccountRequest>,
    ) -> Result<Response<Account>, Status> {
        Err(Status::unimplemented("orders never open accounts"))
    }

    async fn deposit(&self, _: Request<DepositRequest>) -> Result<Response<DepositReply>, Status> {
        Err(Status::unimplemented("orders never deposit"))
    }

    async fn get_account(
        &self,
        _: Request<GetAccountRequest>,
    ) -> Result<Response<Account>, Status> {
        Err(Status::unimplemented("orders never read accounts"))
    }

    async fn get_reservation(
        &self,
        request: Request<GetReservationRequest>,
    ) -> Result<Response<Reservation>, Status> {
        let GetReservationRequest { account_id, reserve_id } = request.into_inner();
        let asked = self.asked().into_iter().rev().find_map(|asked| match asked {
            Asked::Reserve { reserve_id: id, amount, .. } if id == reserve_id => Some(amount),
            Asked::Reserve { .. }
            | Asked::Capture { .. }
            | Asked::Release { .. }
            | Asked::Refund { .. } => None,
        });
        let amount = asked.ok_or_else(|| Status::not_found("was never asked for"))?;
        let is_declined = *self.mood.borrow() == Mood::Decline;
        let state = if is_declined { ReservationState::Declined } else { ReservationState::Held };
        let zero = || "0".to_owned();
        Ok(Response::new(Reservation {
            account_id,
            order_id: reserve_id.clone(),
            reserve_id,
            amount,
            captured_amount: zero(),
            refunded_amount: zero(),
            state: state.into(),
            ..Reservation::default()
        }))
    }

    async fn list_entries(
        &self,
        _: Request<ListEntriesRequest>,
    ) -> Result<Response<ListEntriesReply>, Status> {
        Err(Status::unimplemented("orders never read statements"))
    }
}
