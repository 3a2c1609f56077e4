//! The outbox as an operator sees it: what stands there, and what is done about it by hand.

use std::time::Duration;

use database::{Session, StoreError, Transaction};
use proto::id::AccountId;
use uuid::Uuid;

use super::verify::SURVEY_TIMEOUT;
use crate::{
    order::{Action, Notice},
    storage::{
        Store, Tables,
        outbox::{Backlog, Resolved, STUCK_MAX, Waiting},
        tables::NoticeName,
    },
};

struct ReadBacklog;

struct ReadWaiting<'a> {
    after: Option<&'a Notice>,
    limit: usize,
}

struct ReadStuck {
    age_max: Duration,
}

struct Hasten {
    account: AccountId,
    order_id: Uuid,
}

struct Resolve<'a> {
    name: NoticeName,
    note: &'a str,
}

impl<B: Tables> Store<B> {
    /// Counts what stands in the outbox. Cheap, however much that is.
    ///
    /// # Errors
    /// When it was not read.
    pub async fn backlog(&mut self) -> Result<Backlog, StoreError> {
        self.session.read(&mut ReadBacklog).await
    }

    /// Reads outbox rows, at most so many, in the order of their keys: those after a row.
    ///
    /// # Errors
    /// When they were not read.
    pub async fn waiting(
        &mut self,
        after: Option<&Notice>,
        limit: usize,
    ) -> Result<Vec<Waiting>, StoreError> {
        self.session.read(&mut ReadWaiting { after, limit }).await
    }

    /// Reads outbox rows that are refused or older than this, the first hundred.
    ///
    /// # Errors
    /// When they were not read.
    pub async fn stuck(&mut self, age_max: Duration) -> Result<Vec<Waiting>, StoreError> {
        // It may have to read all of the outbox.
        let survey = Session::<B>::new(self.survey.clone());
        survey.patient(SURVEY_TIMEOUT).read(&mut ReadStuck { age_max }).await
    }

    /// Makes an order's outbox rows due now, and answers them.
    ///
    /// # Errors
    /// When it was not done, or its outcome is unknown.
    pub async fn hasten(
        &mut self,
        account: AccountId,
        order_id: Uuid,
    ) -> Result<Vec<Waiting>, StoreError> {
        self.session.transact(&mut Hasten { account, order_id }).await
    }

    /// Deletes a refused outbox row and records that it was given up, and why.
    ///
    /// # Errors
    /// When it was not done, or its outcome is unknown.
    pub async fn resolve(
        &mut self,
        account: AccountId,
        order_id: Uuid,
        action: Action,
        note: &str,
    ) -> Result<Resolved, StoreError> {
        let name = (account, order_id, action);
        self.session.transact(&mut Resolve { name, note }).await
    }
}

impl<B: Tables> Transaction<B> for ReadBacklog {
    const NAME: &'static str = "read_backlog";
    type Output = Backlog;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Backlog> {
        B::backlog(connection).await
    }
}

impl<B: Tables> Transaction<B> for ReadWaiting<'_> {
    const NAME: &'static str = "read_waiting";
    type Output = Vec<Waiting>;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Vec<Waiting>> {
        B::waiting(connection, self.after, self.limit).await
    }
}

impl<B: Tables> Transaction<B> for ReadStuck {
    const NAME: &'static str = "read_stuck";
    type Output = Vec<Waiting>;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Vec<Waiting>> {
        // The connection ends with this.
        B::execute(connection, B::BEGIN_SNAPSHOT).await?;
        B::stuck(connection, self.age_max, STUCK_MAX).await
    }
}

impl<B: Tables> Transaction<B> for Hasten {
    const NAME: &'static str = "hasten";
    type Output = Vec<Waiting>;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Vec<Waiting>> {
        let mut hastened = B::hasten(connection, self.account, self.order_id).await?;
        hastened.extend(B::hasten_notice_batches(connection, self.account, self.order_id).await?);
        Ok(hastened)
    }
}

impl<B: Tables> Transaction<B> for Resolve<'_> {
    const NAME: &'static str = "resolve";
    type Output = Resolved;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Resolved> {
        let Some(row) = B::lock_notice(connection, self.name).await? else {
            return Ok(Resolved::Unknown);
        };
        if row.refused.is_none() {
            return Ok(Resolved::NotRefused);
        }

        B::give_up_notice(connection, self.name, self.note).await?;
        Ok(Resolved::Done(row))
    }
}
