//! `account.v1.AccountService` over a [`Desk`]: read the request, hand it in, write the answer.
//!
//! Every request is checked whole before anything is done; INVALID_ARGUMENT names all its wrong fields. No handler
//! touches the database, so a handler that is dropped midway, because its caller left, breaks nothing.

mod apply;
mod encode;
mod parse;
mod rules;
mod status;

use proto::account::v1::{self as api, account_service_server};
use server::Scope;
use tonic::{Request, Response, Status};

pub use parse::Defaults;
pub(crate) use parse::default_ttl;
pub(crate) use rules::RULES;

use crate::{
    desk::Desk,
    ledger::{Command, Refusal},
};

/// The calls of the contract.
#[derive(Clone)]
pub struct AccountService {
    desk: Desk,
    defaults: Defaults,
}

type Answer<T> = Result<Response<T>, Status>;

impl AccountService {
    /// The service at this desk.
    pub fn new(desk: Desk, defaults: Defaults) -> Self {
        Self { desk, defaults }
    }
}

#[tonic::async_trait]
impl account_service_server::AccountService for AccountService {
    async fn open_account(
        &self,
        request: Request<api::OpenAccountRequest>,
    ) -> Answer<api::Account> {
        let open = parse::open_account(request.into_inner(), &self.defaults)?;
        let receipt = self.desk.carry_out(Command::Open(open)).await.map_err(status::of_command)?;
        let account = receipt.account.expect("OpenAccount leaves an account");
        Ok(Response::new(encode::account(&account)))
    }

    async fn deposit(&self, request: Request<api::DepositRequest>) -> Answer<api::DepositReply> {
        let deposit = Command::Deposit(parse::deposit(request.into_inner())?);
        let receipt = self.desk.carry_out(deposit).await.map_err(status::of_command)?;
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
        let reserve = Command::Reserve(parse::reserve(request.into_inner(), &self.defaults)?);
        let receipt = self.desk.carry_out(reserve).await.map_err(status::of_command)?;
        Ok(Response::new(api::ReserveReply {
            reservation: receipt.reservation.as_ref().map(encode::reservation),
            account: receipt.account.as_ref().map(encode::account),
            replayed: receipt.replayed,
        }))
    }

    async fn capture(&self, request: Request<api::CaptureRequest>) -> Answer<api::CaptureReply> {
        let capture = Command::Capture(parse::capture(request.into_inner())?);
        let receipt = self.desk.carry_out(capture).await.map_err(status::of_command)?;
        Ok(Response::new(api::CaptureReply {
            reservation: receipt.reservation.as_ref().map(encode::reservation),
            account: receipt.account.as_ref().map(encode::account),
            replayed: receipt.replayed,
        }))
    }

    async fn release(&self, request: Request<api::ReleaseRequest>) -> Answer<api::ReleaseReply> {
        let release = Command::Release(parse::release(request.into_inner())?);
        let receipt = self.desk.carry_out(release).await.map_err(status::of_command)?;
        Ok(Response::new(api::ReleaseReply {
            reservation: receipt.reservation.as_ref().map(encode::reservation),
            account: receipt.account.as_ref().map(encode::account),
            replayed: receipt.replayed,
        }))
    }

    async fn refund(&self, request: Request<api::RefundRequest>) -> Answer<api::RefundReply> {
        let refund = Command::Refund(parse::refund(request.into_inner())?);
        let receipt = self.desk.carry_out(refund).await.map_err(status::of_command)?;
        Ok(Response::new(api::RefundReply {
            account: receipt.account.as_ref().map(encode::account),
            replayed: receipt.replayed,
        }))
    }

    async fn apply(&self, request: Request<api::ApplyRequest>) -> Answer<api::ApplyReply> {
        let request = request.into_inner();
        apply::check_ledger(&request.ledger_id, self.desk.ledger_id().as_deref())?;
        let commands = apply::parse(request, &self.defaults)?;
        let outcomes = apply::carry_out(commands, &self.desk).await?;
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
        let page = parse::list_entries(request.into_inner())?;
        let page = page.within(&scope).map_err(status::not_owned)?;
        let entries = self.desk.entries(page).await.map_err(status::of_trouble)?;
        let entries = entries.ok_or_else(|| status::of_refusal(Refusal::AccountNotFound))?;
        Ok(Response::new(api::ListEntriesReply {
            next_page_token: parse::next_page_token(page.account_id, &entries),
            entries: entries.iter().map(encode::entry).collect(),
        }))
    }
}
