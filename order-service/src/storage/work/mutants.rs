//! What happens without the safeguard that a claim is committed before anything else is done: the key's row is there only
//! from the decision on, as if claim and decision were one transaction.

use failpoint::{Safeguard, is_off};

use crate::{
    order::{decision::Settlement, key::Claim, request::Price},
    storage::{NewClaim, Tables, tables::Hold},
};

/// Claims what is about to be decided, unless another process has by now.
pub(super) async fn claim_late<B: Tables>(
    connection: &mut B::Connection,
    settlements: &[Settlement],
    hold: Hold,
) -> sqlx::Result<()> {
    if !is_off(Safeguard::ClaimCommit) {
        return Ok(());
    }
    let new = |Claim { request, order_id, fence, .. }: &Claim| NewClaim {
        request: request.clone(),
        order_id: *order_id,
        fence: *fence,
    };
    let claims: Vec<_> = settlements.iter().map(|settlement| new(&settlement.claim)).collect();

    let price = |settlement: &Settlement| {
        let Claim { amount, currency, .. } = settlement.claim;
        Price { amount, currency }
    };
    let mut rows: Vec<_> = claims.iter().zip(settlements.iter().map(price)).collect();
    rows.sort_by_key(|(claim, _)| (claim.request.account, &claim.request.key));
    let layout = B::layout(connection).await?;
    match layout.is_in_orders() {
        true => B::claim_in_orders(connection, &rows, hold, layout, &[]).await.map(drop),
        false => B::insert_claims(connection, &rows, hold, layout).await.map(drop),
    }
}
