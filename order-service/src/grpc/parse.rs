//! Requests as the core knows them. Every wrong field is reported, by name, in one answer.

use std::collections::HashMap;

use proto::{
    Currency, Failure, Fields, Money,
    currency::UnknownCurrency,
    id::{AccountId, AdjustmentId, IdempotencyKey, ProductId},
    order::v1::{
        AdjustStockRequest, ListOrdersRequest, ListProductsRequest, OnDuplicate as Wire, OrderLine,
        PlaceOrderRequest, PutProductRequest,
    },
    page,
};
use server::Owned;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    order::{
        Order,
        catalog::{Adjustment, MAX_STOCK, Product},
        request::{Basket, Line, MAX_LINES, Request},
    },
    placement::OnDuplicate,
    storage::{Cursor, OrdersPage},
};

/// The longest name of a product, in characters.
const NAME_MAX: usize = 200;

/// What page tokens of the catalogue belong to.
pub(super) const PRODUCTS_LIST: &str = "products";

/// What page tokens of an account's orders belong to.
pub(super) fn orders_list(account: AccountId) -> String {
    format!("orders/{account}")
}

pub(super) fn place_order(
    message: PlaceOrderRequest,
    default: Currency,
) -> Result<Owned<(Request, Option<OnDuplicate>)>, Failure> {
    let mut fields = Fields::default();
    let account = fields.check("account_id", AccountId::new(message.account_id));
    let key = fields.check("idempotency_key", IdempotencyKey::new(message.idempotency_key));
    let basket = basket(&mut fields, &message.amount, message.lines);
    let on_duplicate = match Wire::try_from(message.on_duplicate) {
        Ok(Wire::Unspecified) => Some(None),
        Ok(Wire::Replay) => Some(Some(OnDuplicate::Replay)),
        Ok(Wire::Reject) => Some(Some(OnDuplicate::Reject)),
        Err(_) => {
            fields.wrong("on_duplicate", "must be REPLAY, REJECT or unspecified");
            None
        }
    };
    let currency = fields.check("currency", currency(&message.currency));
    fields.finish(|| {
        let basket = basket?;
        // The price of lines decides theirs.
        let currency = match basket {
            Basket::Amount(_) => Some(currency?.unwrap_or(default)),
            Basket::Lines(_) => currency?,
        };
        let account = account?;
        let request = Request { account, key: key?, basket, currency };
        Some(Owned::new(account.get(), (request, on_duplicate?)))
    })
}

/// `None`: it names none.
fn currency(code: &str) -> Result<Option<Currency>, UnknownCurrency> {
    if code.is_empty() { Ok(None) } else { code.parse().map(Some) }
}

fn basket(fields: &mut Fields, amount: &str, lines: Vec<OrderLine>) -> Option<Basket> {
    match (amount.is_empty(), lines.is_empty()) {
        (false, true) => fields.check("amount", Money::parse(amount)).map(Basket::Amount),
        (true, false) => self::lines(fields, lines).map(Basket::of_lines),
        (true, true) => {
            fields.wrong("amount", "must be set, or else lines");
            None
        }
        (false, false) => {
            fields.wrong("lines", "must be empty when amount is set");
            None
        }
    }
}

fn lines(fields: &mut Fields, lines: Vec<OrderLine>) -> Option<Vec<Line>> {
    if lines.len() > MAX_LINES {
        fields.wrong("lines", format_args!("must be at most {MAX_LINES}, not {}", lines.len()));
        return None;
    }
    let mut seen = HashMap::new();
    let line = |(index, line): (usize, OrderLine)| {
        let product_field = format!("lines[{index}].product_id");
        let product_id = fields.check(&product_field, ProductId::new(line.product_id));
        if let Some(first) = seen.insert(line.product_id, index) {
            fields.wrong(&product_field, format_args!("must not repeat lines[{first}]"));
        }
        if line.quantity <= 0 {
            fields.wrong(&format!("lines[{index}].quantity"), "must be greater than zero");
        }
        Some(Line { product_id: product_id?, quantity: line.quantity })
    };
    // All of them are looked at before the first bad one ends the matter.
    let lines: Vec<_> = lines.into_iter().enumerate().map(line).collect();
    lines.into_iter().collect()
}

/// Reads what names an order.
pub(super) fn order_name(
    account_id: i64,
    order_id: &str,
) -> Result<Owned<(AccountId, Uuid)>, Failure> {
    let mut fields = Fields::default();
    let account = fields.check("account_id", AccountId::new(account_id));
    let order_id = Uuid::try_parse(order_id).map_err(|_| "must be a UUID");
    let order_id = fields.check("order_id", order_id);
    fields.finish(|| Some(Owned::new(account_id, (account?, order_id?))))
}

pub(super) fn orders_page(message: ListOrdersRequest) -> Result<Owned<OrdersPage>, Failure> {
    let mut fields = Fields::default();
    let account = fields.check("account_id", AccountId::new(message.account_id));
    let size = fields.check("page_size", page::size(message.page_size));
    let list = account.map(orders_list).unwrap_or_default();
    let cursor = fields.check("page_token", page::cursor(&list, &message.page_token));
    let after = cursor.and_then(|cursor| {
        let order = |text: String| orders_cursor(&text).ok_or(page::PageError::ForeignToken);
        fields.check("page_token", cursor.map(order).transpose())
    });
    fields.finish(|| Some(Owned::new(message.account_id, (account?, after?, size?))))
}

/// Reads `microseconds/order_id`, or the order_id alone, as the version before wrote it.
fn orders_cursor(text: &str) -> Option<Cursor> {
    let Some((micros, order_id)) = text.split_once('/') else {
        return Uuid::try_parse(text).ok().map(Cursor::Id);
    };
    // Within what both databases can hold: anybody can make up a token.
    let micros = micros.parse::<u64>().ok()?;
    let placed_at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000).ok()?;
    Some(Cursor::Order { placed_at, order_id: Uuid::try_parse(order_id).ok()? })
}

/// Writes what [`orders_cursor`] reads.
pub(super) fn orders_cursor_of(order: &Order) -> String {
    let micros = order.placed_at.unix_timestamp_nanos() / 1000;
    format!("{micros}/{}", order.order_id)
}

/// Reads what names a product.
pub(super) fn product_name(product_id: i64) -> Result<ProductId, Failure> {
    let mut fields = Fields::default();
    let product = fields.check("product_id", ProductId::new(product_id));
    fields.finish(|| product)
}

pub(super) fn products_page(
    message: ListProductsRequest,
) -> Result<(Option<ProductId>, usize), Failure> {
    let mut fields = Fields::default();
    let size = fields.check("page_size", page::size(message.page_size));
    let cursor = page::cursor(PRODUCTS_LIST, &message.page_token);
    let after = cursor.and_then(|cursor| {
        let product = |text: String| text.parse().ok().and_then(|id| ProductId::new(id).ok());
        cursor.map(|text| product(text).ok_or(page::PageError::ForeignToken)).transpose()
    });
    let after = fields.check("page_token", after);
    fields.finish(|| Some((after?, size?)))
}

pub(super) fn product(message: PutProductRequest, default: Currency) -> Result<Product, Failure> {
    let mut fields = Fields::default();
    let product_id = fields.check("product_id", ProductId::new(message.product_id));
    let name = fields.check("name", name(message.name));
    let currency = fields.check("currency", currency(&message.currency));
    let currency = currency.map(|named| named.unwrap_or(default));
    let price = fields.check("price", Money::parse(&message.price));
    let price = match (price, currency) {
        (Some(price), Some(currency)) => fields.check("price", currency.check(price)),
        (Some(_), None) | (None, _) => None,
    };
    let stock = Some(message.stock).filter(|stock| (0..=MAX_STOCK).contains(stock));
    let stock = fields.check("stock", stock.ok_or("must be between 0 and 1000000000000"));
    fields.finish(|| {
        let (product_id, name, stock) = (product_id?, name?, stock?);
        Some(Product { product_id, name, price: price?, currency: currency?, stock })
    })
}

fn name(name: String) -> Result<String, &'static str> {
    if name.is_empty() {
        Err("must not be empty")
    } else if name.chars().count() > NAME_MAX {
        Err("must have at most 200 characters")
    } else if name.chars().any(char::is_control) {
        Err("must not contain control characters")
    } else {
        Ok(name)
    }
}

pub(super) fn adjustment(message: AdjustStockRequest) -> Result<Adjustment, Failure> {
    let mut fields = Fields::default();
    let product_id = fields.check("product_id", ProductId::new(message.product_id));
    let adjustment_id = fields.check("adjustment_id", AdjustmentId::new(message.adjustment_id));
    if message.delta == 0 {
        fields.wrong("delta", "must not be zero");
    }
    fields.finish(|| {
        Some(Adjustment {
            product_id: product_id?,
            adjustment_id: adjustment_id?,
            delta: message.delta,
        })
    })
}
