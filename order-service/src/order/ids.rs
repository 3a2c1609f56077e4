//! Ids of orders: derived from their keys, not drawn.
//!
//! A caller whose order was lost with the commits of a fail-over, or with a restored backup, sends the same key again.
//! Its order must then meet the reservation that the lost one left, be paid by it, and get the id that the caller was
//! told. So the id of an order, which is its reservation's too, is a function of the orders' database, the account and
//! the key.
//!
//! The ledger remembers refusals for ever, a key only for its lifetime. A key that is free again must not meet the
//! refusal of its earlier life: each life has a *generation*, and the id depends on it. Generation 0 is asked first; a
//! refusal that is older than a key lives leads to the next.

use proto::id::{AccountId, IdempotencyKey};
use sha2::{Digest as _, Sha256};
use uuid::{Builder, Uuid};

/// Lives that a key may have: at one refusal per lifetime of a key, decades.
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

    /// The id of a key's order: a UUID of version 8 (RFC 9562).
    pub fn derive(&self, account: AccountId, key: &IdempotencyKey, generation: u32) -> Uuid {
        // The parts before the key have fixed lengths or end in a zero, so that no two inputs are alike.
        let hash = Sha256::new()
            .chain_update(b"holdfast order\0")
            .chain_update(&self.database_id)
            .chain_update([0])
            .chain_update(account.get().to_be_bytes())
            .chain_update(generation.to_be_bytes())
            .chain_update(key.as_str())
            .finalize();

        let (bytes, _) = hash.as_chunks::<16>();
        Builder::from_custom_bytes(bytes[0]).into_uuid()
    }

    /// Which generation of the key has this id. `None`: it was drawn, by a version before ids were derived.
    pub fn generation_of(
        &self,
        account: AccountId,
        key: &IdempotencyKey,
        order_id: Uuid,
    ) -> Option<u32> {
        (0..GENERATIONS).find(|generation| self.derive(account, key, *generation) == order_id)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(database: &str, account: i64, key: &str, generation: u32) -> Uuid {
        let account = AccountId::new(account).unwrap();
        OrderIds::of_database(database).derive(
            account,
            &IdempotencyKey::new(key).unwrap(),
            generation,
        )
    }

    #[test]
    fn ids_never_change_from_one_version_to_the_next() {
        let known = id("0f0e0d0c-0b0a-4908-a706-050403020100", 7, "k1", 0);
        assert_eq!(known.to_string(), KNOWN);
        assert_eq!(known.get_version_num(), 8);
    }

    const KNOWN: &str = "0f8c8f97-2bbf-8bbf-8f49-debba84f4cda";

    #[test]
    fn a_generation_is_found_by_its_id_and_a_drawn_id_has_none() {
        let ids = OrderIds::of_database("a");
        let (account, key) = (AccountId::new(1).unwrap(), IdempotencyKey::new("k").unwrap());
        assert_eq!(ids.generation_of(account, &key, ids.derive(account, &key, 3)), Some(3));
        assert_eq!(ids.generation_of(account, &key, Uuid::from_u128(7)), None);
    }

    proptest! {
        #[test]
        fn keys_that_differ_anywhere_have_ids_that_differ(
            one in ("[a-c]{1,2}", 1..4_i64, "[a-c0-9]{1,3}", 0..3_u32),
            other in ("[a-c]{1,2}", 1..4_i64, "[a-c0-9]{1,3}", 0..3_u32),
        ) {
            let of = |(database, account, key, generation): &(String, i64, String, u32)| {
                id(database, *account, key, *generation)
            };
            prop_assert_eq!(of(&one) == of(&other), one == other);
        }
    }
}
