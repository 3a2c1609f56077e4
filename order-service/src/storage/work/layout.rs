//! Where claims go, and what is left of the layout of orders on the way back.

use database::{StoreError, Transaction};
use proto::id::AccountId;
use uuid::Uuid;

use crate::storage::{Layout, LeftInOrders, Store, Tables};

/// Orders that are looked at in one transaction for their payments.
const RETURNED_AT_ONCE: usize = 1_000;

struct ReadLayout;

struct ChangeLayout {
    from: Layout,
    to: Layout,
}

struct ReadLeft;

struct ReturnPayments {
    after: Option<(AccountId, Uuid)>,
}

impl<B: Tables> Store<B> {
    /// Where claims go, as this store knows. It may have changed since: each claim looks.
    pub(super) async fn known_layout(&mut self) -> Result<Layout, StoreError> {
        match self.layout {
            Some(layout) => Ok(layout),
            None => self.layout().await,
        }
    }

    /// Where claims go.
    ///
    /// # Errors
    /// When it was not read.
    pub async fn layout(&mut self) -> Result<Layout, StoreError> {
        let layout = self.session.read(&mut ReadLayout).await?;
        self.layout = Some(layout);
        Ok(layout)
    }

    /// Lets claims go elsewhere from now on. Answers whether they went where it was thought.
    ///
    /// # Errors
    /// When it was not done, or nobody knows.
    pub async fn change_layout(&mut self, from: Layout, to: Layout) -> Result<bool, StoreError> {
        self.layout = None;
        self.session.transact(&mut ChangeLayout { from, to }).await
    }

    /// Counts what programs of the version before cannot read.
    ///
    /// # Errors
    /// When it was not read.
    pub async fn left_in_orders(&mut self) -> Result<LeftInOrders, StoreError> {
        self.session.read(&mut ReadLeft).await
    }

    /// Moves payments from the rows of their orders to the table of payments, some at a time.
    ///
    /// # Errors
    /// When it was not done to the end. What was, stays.
    pub async fn return_payments(&mut self) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let last = self.session.transact(&mut ReturnPayments { after }).await?;
            if last.is_none() {
                return Ok(());
            }
            after = last;
        }
    }
}

impl<B: Tables> Transaction<B> for ReadLayout {
    const NAME: &'static str = "read_layout";
    type Output = Layout;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Layout> {
        B::layout(connection).await
    }
}

impl<B: Tables> Transaction<B> for ChangeLayout {
    const NAME: &'static str = "change_layout";
    type Output = bool;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<bool> {
        B::change_layout(connection, self.from, self.to).await
    }
}

impl<B: Tables> Transaction<B> for ReadLeft {
    const NAME: &'static str = "read_left_in_orders";
    type Output = LeftInOrders;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<LeftInOrders> {
        B::left_in_orders(connection).await
    }
}

impl<B: Tables> Transaction<B> for ReturnPayments {
    const NAME: &'static str = "return_payments";
    type Output = Option<(AccountId, Uuid)>;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Self::Output> {
        B::return_payments(connection, self.after, RETURNED_AT_ONCE).await
    }
}
