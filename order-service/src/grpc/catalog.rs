//! `order.v1.CatalogService`.

use proto::{
    Currency, Reason,
    order::v1::{
        AdjustStockReply, AdjustStockRequest, GetProductRequest, ListProductsReply,
        ListProductsRequest, Product, PutProductRequest, catalog_service_server::CatalogService,
    },
};
use tonic::{Request, Response, Status};

use super::{Pages, encode, parse, status, trail::Origin};
use crate::{
    desk::Desk,
    order::catalog::{Adjusted, Adjustment},
};

/// Keeps the catalogue.
pub struct CatalogApi {
    /// Where products are.
    pub desk: Desk,
    /// What a price without a currency is in.
    pub currency: Currency,
    /// What its page tokens are made with.
    pub pages: Pages,
}

#[tonic::async_trait]
impl CatalogService for CatalogApi {
    async fn put_product(
        &self,
        request: Request<PutProductRequest>,
    ) -> Result<Response<Product>, Status> {
        let origin = Origin::of(&request);
        let product = parse::product(request.into_inner(), self.currency)?;
        origin.note_product(&product);
        self.desk.put_product(product.clone()).await.map_err(status::of_trouble)?;
        Ok(Response::new(encode::product(product)))
    }

    async fn get_product(
        &self,
        request: Request<GetProductRequest>,
    ) -> Result<Response<Product>, Status> {
        let product = parse::product_name(request.into_inner().product_id)?;
        let found = self.desk.product(product).await.map_err(status::of_trouble)?;
        let found = found.ok_or_else(|| status::not_found(Reason::ProductNotFound, "product"))?;
        Ok(Response::new(encode::product(found)))
    }

    async fn list_products(
        &self,
        request: Request<ListProductsRequest>,
    ) -> Result<Response<ListProductsReply>, Status> {
        let request = request.into_inner();
        let keys = self.pages.keys_for(&request.page_token)?;
        let (after, size) = parse::products_page(request, keys.as_ref())?;
        let mut products = self.desk.products(after, size + 1).await.map_err(status::of_trouble)?;
        let more = products.len() > size;
        products.truncate(size);
        let next_page_token = match products.last().filter(|_| more) {
            Some(last) => {
                self.pages.keys()?.token(parse::PRODUCTS_LIST, &last.product_id.to_string())
            }
            None => String::new(),
        };
        let products = products.into_iter().map(encode::product).collect();
        Ok(Response::new(ListProductsReply { products, next_page_token }))
    }

    async fn adjust_stock(
        &self,
        request: Request<AdjustStockRequest>,
    ) -> Result<Response<AdjustStockReply>, Status> {
        let origin = Origin::of(&request);
        let adjustment =
            Adjustment { by: origin.actor.clone(), ..parse::adjustment(request.into_inner())? };
        origin.note_adjustment(&adjustment);
        let product_id = adjustment.product_id;
        let (product, replayed) = match self.desk.adjust_stock(adjustment).await {
            Ok(Adjusted::Done(product)) => (product, false),
            Ok(Adjusted::Replayed(product)) => (product, true),
            Ok(Adjusted::Refused(refusal)) => {
                return Err(status::of_stock_refusal(refusal, product_id));
            }
            Err(trouble) => return Err(status::of_trouble(trouble)),
        };
        origin.audit.set("replayed", replayed);
        Ok(Response::new(AdjustStockReply { product: Some(encode::product(product)), replayed }))
    }
}
