//! `order.v1.OrderService`.

use std::time::Duration;

use proto::{
    Currency, Reason,
    order::v1::{
        CancelOrderReply, CancelOrderRequest, GetOrderRequest, GetPaymentRequest, ListOrdersReply,
        ListOrdersRequest, Order, Payment, PlaceOrderReply, PlaceOrderRequest,
        order_service_server::OrderService,
    },
    page,
};
use server::{Deadline, Scope};
use tokio::{sync::mpsc, time::Instant};
use tonic::{Request, Response, Status};

use super::{encode, parse, status};
use crate::{
    desk::Desk,
    order::Notice,
    placement::{OnDuplicate, Placement},
};

/// The wait of a caller for whom nobody named a deadline. The server names one, so this is for tests without a server.
const NO_DEADLINE: Duration = Duration::from_secs(15);

/// Places, reads and cancels orders.
pub struct OrderApi {
    /// Places them.
    pub placement: Placement,
    /// Reads and cancels them.
    pub desk: Desk,
    /// Where notices of cancels go.
    pub notices: mpsc::Sender<Notice>,
    /// What a duplicate gets that does not say.
    pub on_duplicate: OnDuplicate,
    /// What an amount without a currency is in.
    pub currency: Currency,
}

#[tonic::async_trait]
impl OrderService for OrderApi {
    async fn place_order(
        &self,
        request: Request<PlaceOrderRequest>,
    ) -> Result<Response<PlaceOrderReply>, Status> {
        let deadline = request.extensions().get::<Deadline>().map(|deadline| deadline.0);
        let deadline = deadline.unwrap_or_else(|| Instant::now() + NO_DEADLINE);
        let scope = Scope::of(request.extensions());
        let message = request.into_inner();
        let products: Vec<_> = message.lines.iter().map(|line| line.product_id).collect();
        let parsed = parse::place_order(message, self.currency)?;
        let (request, on_duplicate) = parsed.within(&scope).map_err(status::not_owned)?;
        let on_duplicate = on_duplicate.unwrap_or(self.on_duplicate);
        match self.placement.place(request, on_duplicate, deadline).await {
            Ok(placed) => Ok(Response::new(encode::placed(placed))),
            Err(error) => Err(status::of_place_error(error, &products)),
        }
    }

    async fn get_order(
        &self,
        request: Request<GetOrderRequest>,
    ) -> Result<Response<Order>, Status> {
        let scope = Scope::of(request.extensions());
        let GetOrderRequest { account_id, order_id } = request.into_inner();
        let name = parse::order_name(account_id, &order_id)?;
        let (account, order_id) = name.within(&scope).map_err(status::not_owned)?;
        let order = self.desk.order(account, order_id).await.map_err(status::of_trouble)?;
        let order = order.ok_or_else(|| status::not_found(Reason::OrderNotFound, "order"))?;
        Ok(Response::new(encode::order(&order)))
    }

    async fn list_orders(
        &self,
        request: Request<ListOrdersRequest>,
    ) -> Result<Response<ListOrdersReply>, Status> {
        let scope = Scope::of(request.extensions());
        let page = parse::orders_page(request.into_inner())?;
        let (account, after, size) = page.within(&scope).map_err(status::not_owned)?;
        // One more than asked for says whether there is a next page.
        let page = (account, after, size + 1);
        let mut orders = self.desk.orders(page).await.map_err(status::of_trouble)?;
        let more = orders.len() > size;
        orders.truncate(size);
        let next = orders.last().filter(|_| more).map(|order| {
            page::token(&parse::orders_list(account), &parse::orders_cursor_of(order))
        });
        let orders = orders.iter().map(encode::order).collect();
        let next_page_token = next.unwrap_or_default();
        Ok(Response::new(ListOrdersReply { orders, next_page_token }))
    }

    async fn cancel_order(
        &self,
        request: Request<CancelOrderRequest>,
    ) -> Result<Response<CancelOrderReply>, Status> {
        let scope = Scope::of(request.extensions());
        let CancelOrderRequest { account_id, order_id } = request.into_inner();
        let name = parse::order_name(account_id, &order_id)?;
        let (account, order_id) = name.within(&scope).map_err(status::not_owned)?;
        let cancelled = self.desk.cancel(account, order_id).await.map_err(status::of_trouble)?;
        let cancelled =
            cancelled.ok_or_else(|| status::not_found(Reason::OrderNotFound, "order"))?;
        if let Some(notice) = cancelled.notice {
            // A full queue is no loss: the row falls due, and somebody leases it.
            drop(self.notices.try_send(notice));
        }
        Ok(Response::new(CancelOrderReply { order: Some(encode::order(&cancelled.order)) }))
    }

    async fn get_payment(
        &self,
        request: Request<GetPaymentRequest>,
    ) -> Result<Response<Payment>, Status> {
        let scope = Scope::of(request.extensions());
        let GetPaymentRequest { account_id, order_id } = request.into_inner();
        let name = parse::order_name(account_id, &order_id)?;
        let (account, order_id) = name.within(&scope).map_err(status::not_owned)?;
        let order = self.desk.order(account, order_id).await.map_err(status::of_trouble)?;
        let order = order.ok_or_else(|| status::not_found(Reason::PaymentNotFound, "payment"))?;
        Ok(Response::new(encode::payment(&order)))
    }
}
