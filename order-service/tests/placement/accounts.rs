//! An account service that does as it is told and remembers what it was asked.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use proto::{
    Failure, Reason,
    account::v1::{
        Account, CaptureReply, CaptureRequest, DepositReply, DepositRequest, GetAccountRequest,
        GetReservationRequest, ListEntriesReply, ListEntriesRequest, OpenAccountRequest,
        RefundReply, RefundRequest, ReleaseReply, ReleaseRequest, Reservation, ReserveReply,
        ReserveRequest,
        account_service_server::{AccountService, AccountServiceServer},
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
}

/// What it was asked to do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    Reserve { reserve_id: String, amount: String },
    Capture { reserve_id: String },
    Release { reserve_id: String },
    Refund { reserve_id: String, amount: String },
}

#[derive(Clone)]
pub(crate) struct Accounts {
    mood: watch::Sender<Mood>,
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

    fn note(&self, asked: Asked) {
        self.asked.lock().unwrap().push(asked);
        self.count.send_modify(|count| *count += 1);
    }
}

#[tonic::async_trait]
impl AccountService for Accounts {
    async fn reserve(
        &self,
        request: Request<ReserveRequest>,
    ) -> Result<Response<ReserveReply>, Status> {
        let ReserveRequest { reserve_id, amount, .. } = request.into_inner();
        self.note(Asked::Reserve { reserve_id: reserve_id.clone(), amount });
        let mut mood = self.mood.subscribe();
        let mood = *mood.wait_for(|mood| *mood != Mood::Silent).await.unwrap();
        match mood {
            Mood::Accept | Mood::Silent => {
                let reservation = Some(Reservation { reserve_id, ..Reservation::default() });
                Ok(Response::new(ReserveReply { reservation, ..ReserveReply::default() }))
            }
            Mood::Decline => Err(Failure::new(Reason::InsufficientFunds, "too little").into()),
            Mood::Confused => Err(Status::cancelled("what was it?")),
        }
    }

    async fn capture(
        &self,
        request: Request<CaptureRequest>,
    ) -> Result<Response<CaptureReply>, Status> {
        self.note(Asked::Capture { reserve_id: request.into_inner().reserve_id });
        Ok(Response::new(Default::default()))
    }

    async fn release(
        &self,
        request: Request<ReleaseRequest>,
    ) -> Result<Response<ReleaseReply>, Status> {
        self.note(Asked::Release { reserve_id: request.into_inner().reserve_id });
        Ok(Response::new(Default::default()))
    }

    async fn refund(
        &self,
        request: Request<RefundRequest>,
    ) -> Result<Response<RefundReply>, Status> {
        let RefundRequest { reserve_id, amount, .. } = request.into_inner();
        self.note(Asked::Refund { reserve_id, amount });
        Ok(Response::new(Default::default()))
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
        _: Request<GetReservationRequest>,
    ) -> Result<Response<Reservation>, Status> {
        Err(Status::unimplemented("orders never read reservations"))
    }

    async fn list_entries(
        &self,
        _: Request<ListEntriesRequest>,
    ) -> Result<Response<ListEntriesReply>, Status> {
        Err(Status::unimplemented("orders never read statements"))
    }
}
