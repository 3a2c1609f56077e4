//! `account.v1.AccountService` over a [`Desk`]: read the request, hand it in, write the answer.
//!
//! Every request is checked whole before anything is done; INVALID_ARGUMENT names all its wrong fields. No handler
//! touches the database, so a handler that is dropped midway, because its caller left, breaks nothing.

mod apply;
mod encode;
mod parse;
mod rules;
mod status;
mod trail;

use proto::{
    Failure, PageKeys,
    account::v1::{self as api, account_service_server},
};
use server::Scope;
use tonic::{Request, Response, Status};

pub use parse::Defaults;
pub(crate) use parse::default_ttl;
pub(crate) use rules::RULES;
pub(crate) use trail::{ADMINISTRATIVE, AUDITED};

use crate::{
    desk::{Desk, Trouble},
    ledger::{Command, Receipt, Refusal},
};
use trail::Origin;

/// The calls of the contract.
#[derive(Clone)]
pub struct AccountService {
    desk: Desk,
    defaults: Defaults,
    page_keys: Option<PageKeys>,
}

type Answer<T> = Result<Response<T>, Status>;

impl AccountService {
    /// The service at this desk. Without page keys the ledger's id stands in for them.
    pub fn new(desk: Desk, defaults: Defaults, page_keys: Option<PageKeys>) -> Self {
        Self { desk, defaults, page_keys }
    }

    /// Carries out the one command of a call, and tells the audit trail what it is and what came of it.
    async fn carry_out(
        &self,
        origin: Origin,
        command: Result<Command, Failure>,
    ) -> Result<Receipt, Status> {
        let command = command?.asked_by(origin.actor.clone());
        origin.note(&command);
        let receipt = self.desk.carry_out(command).await.map_err(status::of_command)?;
        origin.audit.set("replayed", receipt.replayed);
        Ok(receipt)
    }

    /// Unavailable until the database has said its id, where that is needed.
    fn page_keys(&self) -> Result<PageKeys, Trouble> {
        let given = self.page_keys.clone();
        let derived = || self.desk.ledger_id().map(|id| PageKeys::of_database(&id));
        given.or_else(derived).ok_or(Trouble::Unavailable)
    }
}

#[tonic::async_trait]
impl account_service_server::AccountService for AccountService {
    async fn open_account(
        &self,
        request: Request<api::OpenAccountRequest>,
    ) -> Answer<api::Account> {
        let origin = Origin::of(&request);
        let open = parse::open_account(request.into_inner(), &self.defaults);
        let receipt = self.carry_out(origin, open.map(Command::Open)).await?;
        let account = receipt.account.expect("OpenAccount leaves an account");
        Ok(Response::new(encode::account(&account)))
    }

    async fn deposit(&self, request: Request<api::DepositRequest>) -> Answer<api::DepositReply> {
        let origin = Origin::of(&request);
        let deposit = parse::deposit(request.into_inner());
        let receipt = self.carry_out(origin, deposit.map(Command::Deposit)).await?;
        Ok(Response::new(api::DepositReply {
            account: receipt.account.as_ref().map(encode::account),
            replayed: receipt.replayed,
        }))
    }

    async fn get_account(&self, request: Request<api::GetAccountRequest>) -> Answer<api::Account> {
        let scope = Scope::of(request.extensions());
        let id = parse::get_account(request.into_inner())?;
        let id = id.within(&scope).map_err(status::not_owned)?;
        let account = self.desk.account(id).await.map_err(status::of_trouble)?;
        let account = account.ok_or_else(|| status::of_refusal(Refusal::AccountNotFound))?;
        Ok(Response::new(encode::account(&account)))
    }

    async fn reserve(&self, request: Request<api::ReserveRequest>) -> Answer<api::ReserveReply> {
        let origin = Origin::of(&request);
        let reserve = parse::reserve(request.into_inner(), &self.defaults);
        let receipt = self.carry_out(origin, reserve.map(Command::Reserve)).await?;
        Ok(Response::new(api::ReserveReply {
            reservation: receipt.reservation.as_ref().map(encode::reservation),
            account: receipt.account.as_ref().map(encode::account),
            replayed: receipt.replayed,
        }))
    }

    async fn capture(&self, request: Request<api::CaptureRequest>) -> Answer<api::CaptureReply> {
        let origin = Origin::of(&request);
        let capture = parse::capture(request.into_inner());
        let receipt = self.carry_out(origin, capture.map(Command::Capture)).await?;
        Ok(Response::new(api::CaptureReply {
            reservation: receipt.reservation.as_ref().map(encode::reservation),
            account: receipt.account.as_ref().map(encode::account),
            replayed: receipt.replayed,
        }))
    }

    async fn release(&self, request: Request<api::ReleaseRequest>) -> Answer<api::ReleaseReply> {
        let origin = Origin::of(&request);
        let release = parse::release(request.into_inner());
        let receipt = self.carry_out(origin, release.map(Command::Release)).await?;
        Ok(Response::new(api::ReleaseReply {
            reservation: receipt.reservation.as_ref().map(encode::reservation),
            account: receipt.account.as_ref().map(encode::account),
            replayed: receipt.replayed,
        }))
    }

    async fn refund(&self, request: Request<api::RefundRequest>) -> Answer<api::RefundReply> {
        let origin = Origin::of(&request);
        let refund = parse::refund(request.into_inner());
        let receipt = self.carry_out(origin, refund.map(Command::Refund)).await?;
        Ok(Response::new(api::RefundReply {
            account: receipt.account.as_ref().map(encode::account),
            replayed: receipt.replayed,
        }))
    }

    async fn apply(&self, request: Request<api::ApplyRequest>) -> Answer<api::ApplyReply> {
        let origin = Origin::of(&request);
        let request = request.into_inner();
        apply::check_ledger(&request.ledger_id, self.desk.ledger_id().as_deref())?;
        let commands = apply::parse(request, &self.defaults)?;
        let outcomes = apply::carry_out(commands, &self.desk, &origin).await?;
        Ok(Response::new(api::ApplyReply { outcomes }))
    }

    async fn handshake(
        &self,
        request: Request<api::HandshakeRequest>,
    ) -> Answer<api::HandshakeReply> {
        let caller = parse::handshake(request.into_inner())?;
        let introduced = self.desk.introduce(caller).await.map_err(status::of_trouble)?;
        Ok(Response::new(encode::introduced(introduced)))
    }

    async fn get_reservation(
        &self,
        request: Request<api::GetReservationRequest>,
    ) -> Answer<api::Reservation> {
        let (account, reserve) = parse::get_reservation(request.into_inner())?;
        let found = self.desk.reservation(account, reserve).await.map_err(status::of_trouble)?;
        let found = found.ok_or_else(|| status::of_refusal(Refusal::ReservationNotFound))?;
        Ok(Response::new(encode::reservation(&found)))
    }

    async fn list_entries(
        &self,
        request: Request<api::ListEntriesRequest>,
    ) -> Answer<api::ListEntriesReply> {
        let scope = Scope::of(request.extensions());
        let request = request.into_inner();
        let keys = match request.page_token.as_str() {
            "" => None,
            _ => Some(self.page_keys().map_err(status::of_trouble)?),
        };
        let page = parse::list_entries(request, keys.as_ref())?;
        let page = page.within(&scope).map_err(status::not_owned)?;
        let entries = self.desk.entries(page).await.map_err(status::of_trouble)?;
        let entries = entries.ok_or_else(|| status::of_refusal(Refusal::AccountNotFound))?;
        let keys = self.page_keys().map_err(status::of_trouble)?;
        Ok(Response::new(api::ListEntriesReply {
            next_page_token: parse::next_page_token(&keys, page.account_id, &entries),
            entries: entries.iter().map(encode::entry).collect(),
        }))
    }
}
