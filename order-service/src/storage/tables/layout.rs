//! The steps on the layout itself.

use database::Backend;
use proto::id::AccountId;
use uuid::Uuid;

use crate::storage::{Layout, LeftInOrders};

/// Where claims go, and what moving them back needs.
pub trait Layouts: Backend {
    /// Reads where claims go.
    fn layout(
        connection: &mut Self::Connection,
    ) -> impl Future<Output = sqlx::Result<Layout>> + Send;

    /// Lets claims go elsewhere, if they go where it is thought. Answers whether they did.
    fn change_layout(
        connection: &mut Self::Connection,
        from: Layout,
        to: Layout,
    ) -> impl Future<Output = sqlx::Result<bool>> + Send;

    /// Counts what programs of the version before cannot read.
    fn left_in_orders(
        connection: &mut Self::Connection,
    ) -> impl Future<Output = sqlx::Result<LeftInOrders>> + Send;

    /// Moves the payments of so many orders after one to the table of payments. Answers the last order that was looked at;
    /// `None`: there is none after.
    fn return_payments(
        connection: &mut Self::Connection,
        after: Option<(AccountId, Uuid)>,
        limit: usize,
    ) -> impl Future<Output = sqlx::Result<Option<(AccountId, Uuid)>>> + Send;
}
