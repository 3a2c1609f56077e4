//! Orders: read, listed, cancelled.

use std::collections::{BTreeMap, HashMap};

use database::{StoreError, Transaction};
use proto::{Currency, id::AccountId};
use time::{OffsetDateTime, macros::datetime};
use uuid::Uuid;

use crate::{
    order::Order,
    storage::{
        Cancelled, Cursor, NewCancel, OrdersPage, Store, Tables, found::Found, tables::Hold,
    },
};

/// After every order: where the first page begins.
const END_OF_TIME: OffsetDateTime = datetime!(9999-12-31 0:00 UTC);

struct ReadOrders<'a> {
    ids: &'a [(AccountId, Uuid)],
    default: Currency,
}

struct ListOrders<'a> {
    pages: &'a [OrdersPage],
    default: Currency,
}

struct Cancel<'a> {
    cancels: &'a [NewCancel],
    /// This process's hold on the outbox rows.
    hold: Hold,
    default: Currency,
}

impl<B: Tables> Store<B> {
    /// Reads orders with their payments.
    ///
    /// # Errors
    /// When they were not read.
    pub async fn orders(
        &mut self,
        ids: &[(AccountId, Uuid)],
    ) -> Result<Vec<Option<Order>>, StoreError> {
        self.session.read(&mut ReadOrders { ids, default: self.default }).await
    }

    /// Reads pages of accounts' orders, newest first by the database's clock.
    ///
    /// # Errors
    /// When they were not read.
    pub async fn list_orders(
        &mut self,
        pages: &[OrdersPage],
    ) -> Result<Vec<Vec<Order>>, StoreError> {
        self.session.read(&mut ListOrders { pages, default: self.default }).await
    }

    /// Cancels orders: stock back, payment refunded, outbox row. `None`: there is no such order.
    ///
    /// # Errors
    /// When it was not done, or its outcome is unknown.
    pub async fn cancel(
        &mut self,
        cancels: &[NewCancel],
    ) -> Result<Vec<Option<Cancelled>>, StoreError> {
        let (hold, default) = (self.hold(self.leases.notice), self.default);
        let mut work = Cancel { cancels, hold, default };
        let cancelled = self.session.transact(&mut work).await?;

        let notices = cancelled.iter().flatten().filter_map(|it| it.notice.as_ref());
        self.underway.begin_notices(notices);
        Ok(cancelled)
    }
}

impl<B: Tables> Transaction<B> for ReadOrders<'_> {
    const NAME: &'static str = "read_orders";
    type Output = Vec<Option<Order>>;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Self::Output> {
        let orders = B::orders(connection, self.ids, self.default).await?;
        let found: Found<_, _> = orders.into_iter().map(named).collect();
        Ok(found.answers(self.ids))
    }
}

impl<B: Tables> Transaction<B> for ListOrders<'_> {
    const NAME: &'static str = "list_orders";
    type Output = Vec<Vec<Order>>;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Self::Output> {
        let mut lists = Vec::with_capacity(self.pages.len());
        for (account, after, limit) in self.pages {
            lists.push(match bound::<B>(connection, *account, *after).await? {
                None => Vec::new(),
                Some(before) => {
                    B::page_of_orders(connection, *account, before, *limit, self.default).await?
                }
            });
        }
        Ok(lists)
    }
}

/// Where a page begins: before this time and id. `None`: after an order that is not there.
async fn bound<B: Tables>(
    connection: &mut B::Connection,
    account: AccountId,
    after: Option<Cursor>,
) -> sqlx::Result<Option<(OffsetDateTime, Uuid)>> {
    match after {
        None => Ok(Some((END_OF_TIME, Uuid::max()))),
        Some(Cursor::Order { placed_at, order_id }) => Ok(Some((placed_at, order_id))),
        Some(Cursor::Id(order_id)) => {
            let placed_at = B::placed_at(connection, account, order_id).await?;
            Ok(placed_at.map(|placed_at| (placed_at, order_id)))
        }
    }
}

impl<B: Tables> Transaction<B> for Cancel<'_> {
    const NAME: &'static str = "cancel";
    type Output = Vec<Option<Cancelled>>;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Self::Output> {
        let names: Vec<_> =
            self.cancels.iter().map(|cancel| (cancel.account, cancel.order_id)).collect();
        let locked = B::lock_orders(connection, &names, self.default).await?;
        let mut found: HashMap<_, _> = locked.into_iter().map(named).collect();
        // In place: of equal jobs the second finds its order cancelled.
        let mut cancel = |id: &(AccountId, Uuid)| {
            let order = found.get_mut(id)?;
            let notice = order.cancel();
            Some(Cancelled { order: order.clone(), notice })
        };
        let mut cancelled: Vec<_> = names.iter().map(&mut cancel).collect();

        // Whose notice it is was the first to cancel: that caller is remembered.
        let now = self.cancels.iter().zip(&cancelled);
        let now = now.filter_map(|(cancel, cancelled)| Some((cancel, cancelled.as_ref()?)));
        let now = now.filter(|(_, cancelled)| cancelled.notice.is_some());
        let signed: Vec<_> =
            now.clone().map(|(cancel, cancelled)| (&cancelled.order, cancel.by.as_ref())).collect();
        let notices: Vec<_> = now.filter_map(|(_, cancelled)| cancelled.notice.as_ref()).collect();
        let orders: Vec<_> = signed.iter().map(|(order, _)| *order).collect();
        if orders.is_empty() {
            return Ok(cancelled);
        }

        B::write_cancelled(connection, &signed).await?;
        return_stock::<B>(connection, &orders).await?;
        // Not by what this store remembers, which may be of hours ago.
        if !B::layout(connection).await?.is_in_orders() {
            B::insert_notices(connection, &notices, self.hold).await?;
            return Ok(cancelled);
        }
        let batch = B::insert_notice_batch(connection, &notices, self.hold).await?;
        let notices = cancelled.iter_mut().flatten().filter_map(|it| it.notice.as_mut());
        notices.for_each(|notice| notice.batch = Some(batch));
        Ok(cancelled)
    }
}

/// Gives back what the orders took.
async fn return_stock<B: Tables>(
    connection: &mut B::Connection,
    orders: &[&Order],
) -> sqlx::Result<()> {
    let mut pieces = BTreeMap::new();
    for line in orders.iter().flat_map(|order| order.basket.lines()) {
        *pieces.entry(line.product_id).or_default() += line.quantity;
    }
    if pieces.is_empty() {
        return Ok(());
    }

    let products: Vec<_> = pieces.keys().copied().collect();
    B::lock_products(connection, &products).await?;
    B::return_stock(connection, &pieces).await
}

fn named(order: Order) -> ((AccountId, Uuid), Order) {
    ((order.account, order.order_id), order)
}
