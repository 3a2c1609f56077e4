//! What a run needs to be there: accounts with money, products in stock.

use std::ops::RangeInclusive;

use client::Channel;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use proto::account::v1::OpenAccountRequest;
use proto::account::v1::account_service_client::AccountServiceClient;
use proto::order::v1::PutProductRequest;
use proto::order::v1::catalog_service_client::CatalogServiceClient;
use tonic::{Code, Status};

use crate::HarnessError;

/// Calls under way at once while preparing.
const AT_ONCE: usize = 64;

/// What accounts are opened with.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Which.
    pub accounts: RangeInclusive<i64>,
    /// Their opening balance.
    pub balance: u64,
}

/// Opens accounts; those that were opened just so before stay as they are.
///
/// # Errors
/// When one cannot be opened; [`HarnessError::AccountExists`] names one that was opened otherwise.
pub async fn open_accounts(channel: &Channel, opening: Opening) -> Result<(), HarnessError> {
    let stub = AccountServiceClient::new(channel.clone());
    let calls = opening.accounts.map(|account_id| {
        let mut stub = stub.clone();
        async move {
            let (currency, opening_balance) = (String::new(), opening.balance.to_string());
            let request = OpenAccountRequest { account_id, currency, opening_balance };
            stub.open_account(request).await.map_err(|status| refused(account_id, status))
        }
    });
    stream::iter(calls).buffer_unordered(AT_ONCE).try_for_each(|_| async { Ok(()) }).await
}

fn refused(account_id: i64, status: Status) -> HarnessError {
    if status.code() == Code::AlreadyExists {
        return HarnessError::AccountExists { account_id };
    }
    HarnessError::call("open an account")(status)
}

/// Puts products 1 to `count` with so much in stock, at a price of 1.
///
/// # Errors
/// When one cannot be put.
pub async fn put_products(channel: &Channel, count: u32, stock: i64) -> Result<(), HarnessError> {
    let stub = CatalogServiceClient::new(channel.clone());
    let calls = (1..=count).map(|product| {
        let mut stub = stub.clone();
        async move {
            let request = PutProductRequest {
                product_id: i64::from(product),
                name: format!("product {product}"),
                price: "1".to_owned(),
                stock,
                currency: String::new(),
            };
            stub.put_product(request).await.map_err(HarnessError::call("put a product"))
        }
    });
    stream::iter(calls).buffer_unordered(AT_ONCE).try_for_each(|_| async { Ok(()) }).await
}
