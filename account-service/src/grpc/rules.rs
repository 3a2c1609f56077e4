//! Who may call which method.

use proto::{failure::DOMAIN, right};
use server::{Access, Right, Rules};

const ADMIN: Access = Access::Right(Right::new(right::LEDGER_ADMIN));

/// Ids of reservations and refunds are an account's own, so a stranger could take one that an order will need, or tell
/// of an order that never was. That is why none but the order service has this right.
const SETTLE: Access = Access::Right(Right::new(right::LEDGER_SETTLE));

const READ: Access =
    Access::Owner { own: Right::new(right::LEDGER_OWN), any: Right::new(right::LEDGER_ANY) };

/// The rules of `account.v1`.
pub(crate) const RULES: Rules =
    Rules { domain: DOMAIN, rights: &Right::all(right::ALL), methods: &METHODS };

const METHODS: [(&str, Access); 11] = [
    ("account.v1.AccountService/OpenAccount", ADMIN),
    ("account.v1.AccountService/Deposit", ADMIN),
    ("account.v1.AccountService/GetAccount", READ),
    ("account.v1.AccountService/ListEntries", READ),
    ("account.v1.AccountService/Reserve", SETTLE),
    ("account.v1.AccountService/Capture", SETTLE),
    ("account.v1.AccountService/Release", SETTLE),
    ("account.v1.AccountService/Refund", SETTLE),
    ("account.v1.AccountService/Apply", SETTLE),
    ("account.v1.AccountService/Handshake", SETTLE),
    ("account.v1.AccountService/GetReservation", SETTLE),
];
