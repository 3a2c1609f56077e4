//! The contract of Holdfast: what travels between callers and services, and the rules it follows.
//!
//! - [`account`] and [`order`]: messages, service traits and stubs, generated from `proto/proto/**` and committed.
//! - [`Money`]: amounts on the wire and in the ledger.
//! - [`Currency`]: what they are counted in, and how finely.
//! - [`id`]: the ids of accounts, products, reservations, …, each its own type.
//! - [`Reason`] and [`Failure`]: every error a caller can see, with its gRPC code and details.
//! - [`right`]: what callers may be allowed to do, by name.
//! - [`field`] and [`page`]: request checks that both services share.
//!
//! Nothing here does I/O. What a service may refuse, and how it says so, is decided here alone.

pub mod account {
    //! `account.v1`: balances and reservations.
    pub mod v1 {
        //! Messages, server traits and stubs of `account.v1`.
        #![expect(
            clippy::allow_attributes,
            clippy::allow_attributes_without_reason,
            reason = "generated; the .proto file documents it"
        )]
        include!("gen/account.v1.rs");
    }
}

pub mod order {
    //! `order.v1`: orders, payments and the catalogue.
    pub mod v1 {
        //! Messages, server traits and stubs of `order.v1`.
        #![expect(
            clippy::allow_attributes,
            clippy::allow_attributes_without_reason,
            clippy::doc_lazy_continuation,
            reason = "generated; the .proto file documents it"
        )]
        include!("gen/order.v1.rs");
    }
}

pub mod currency;
pub mod failure;
pub mod field;
pub mod id;
pub mod money;
pub mod page;
pub mod reason;
pub mod right;

pub use currency::Currency;
pub use failure::Failure;
pub use field::Fields;
pub use money::Money;
pub use reason::Reason;

/// The encoded `FileDescriptorSet` of the whole contract, for server reflection.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!("gen/descriptor.bin");
