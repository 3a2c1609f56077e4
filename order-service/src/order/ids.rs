//! Ids of orders: derived from their keys, not drawn.
//!
//! A caller whose order was lost with the commits of a fail-over, or with a restored backup, sends the same key again.
//! Its order must then meet the reservation that the lost one left, be paid by it, and get the id that the caller was
//! told. So the id of an order, which is its reservation's too, is a function of the orders' database, the account, the
//! key and what is asked for: another request under a lost key must not be paid by the reservation of the first.
//!
//! The ledger remembers refusals for ever, a key only for its lifetime. A key that is free again must not meet the
//! refusal of its earlier life: each life has a *generation*, and the id depends on it. Generation 0 is asked first; a
//! refusal that is older than the claim leads to the next.

use sha2::{Digest as _, Sha256};
use uuid::{Builder, Uuid};

use super::request::Request;

/// Lives that a key may have: at one refusal per day, decades.
pub const GENERATIONS: u32 = 10_000;

/// Derives the ids of one database's orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderIds {
    database_id: String,
}

impl OrderIds {
    /// The ids of the database with this id. A copy that goes on by itself must be given another.
    pub fn of_database(database_id: impl Into<String>) -> Self {
        Self { database_id: database_id.into() }
    }

    /// The id of a request's order: a UUID of version 8 (RFC 9562).
    pub fn derive(&self, request: &Request, generation: u32) -> Uuid {
        // What precedes the key has a fixed length or ends in a zero, so that no two inputs are alike.
        let hash = Sha256::new()
            .chain_update(b"holdfast order\0")
            .chain_update(&self.database_id)
            .chain_update([0])
            .chain_update(request.account.get().to_be_bytes())
            .chain_update(request.digest().as_bytes())
            .chain_update(generation.to_be_bytes())
            .chain_update(request.key.as_str())
            .finalize();

        let (bytes, _) = hash.as_chunks::<16>();
        Builder::from_custom_bytes(bytes[0]).into_uuid()
    }

    /// Which generation has this id. `None`: it was drawn, by a version before ids were derived.
    pub fn generation_of(&self, request: &Request, order_id: Uuid) -> Option<u32> {
        (0..GENERATIONS).find(|generation| self.derive(request, *generation) == order_id)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proto::{
        Money,
        id::{AccountId, IdempotencyKey},
    };

    use super::*;
    use crate::order::request::Basket;

    /// What [`id`] must answer in every version.
    const KNOWN: &str = "d2564217-e1b7-889d-ad66-7bf25d185e4b";

    fn request(account: i64, key: &str, amount: &str) -> Request {
        Request {
            account: AccountId::new(account).unwrap(),
            key: IdempotencyKey::new(key).unwrap(),
            basket: Basket::Amount(Money::parse(amount).unwrap()),
            currency: None,
        }
    }

    fn id(database: &str, request: &Request, generation: u32) -> Uuid {
        OrderIds::of_database(database).derive(request, generation)
    }

    #[test]
    fn ids_never_change_from_one_version_to_the_next() {
        let known = id("0f0e0d0c-0b0a-4908-a706-050403020100", &request(7, "k1", "10"), 0);
        assert_eq!(known.to_string(), KNOWN);
        assert_eq!(known.get_version_num(), 8);
    }

    #[test]
    fn a_generation_is_found_by_its_id_and_a_drawn_id_has_none() {
        let (ids, request) = (OrderIds::of_database("a"), request(1, "k", "10"));
        assert_eq!(ids.generation_of(&request, ids.derive(&request, 3)), Some(3));
        assert_eq!(ids.generation_of(&request, Uuid::from_u128(7)), None);
    }

    proptest! {
        #[test]
        fn requests_that_differ_anywhere_have_ids_that_differ(
            one in ("[a-c]{1,2}", 1..3_i64, "[a-c0-9]{1,3}", "[1-3]", 0..3_u32),
            other in ("[a-c]{1,2}", 1..3_i64, "[a-c0-9]{1,3}", "[1-3]", 0..3_u32),
        ) {
            let of = |(database, account, key, amount, generation): &(String, i64, String, String, u32)| {
                id(database, &request(*account, key, amount), *generation)
            };
            prop_assert_eq!(of(&one) == of(&other), one == other);
        }
    }
}
