//! What the audit trail says of a call: which methods have a line in it, and what their commands were about.

use proto::id::Actor;
use serde_json::{Map, Value, json};
use server::{Audit, Principal};
use tonic::Request;

use crate::ledger::{Capture, Command, OpenAccount, PostDeposit, PostRefund, Release, Reserve};

/// What changes something. A handshake does not: it notes how far a caller's database has come.
pub(crate) const AUDITED: &[&str] = &[
    "account.v1.AccountService/OpenAccount",
    "account.v1.AccountService/Deposit",
    "account.v1.AccountService/Reserve",
    "account.v1.AccountService/Capture",
    "account.v1.AccountService/Release",
    "account.v1.AccountService/Refund",
    "account.v1.AccountService/Apply",
];

/// What makes money: served on the administrators' listener, where there is one.
pub(crate) const ADMINISTRATIVE: &[&str] =
    &["account.v1.AccountService/OpenAccount", "account.v1.AccountService/Deposit"];

/// Where a request comes from.
#[derive(Debug, Default)]
pub(super) struct Origin {
    /// What its call is about, for the trail.
    pub(super) audit: Audit,
    /// Whose it is, where that is known.
    pub(super) actor: Option<Actor>,
}

impl Origin {
    pub(super) fn of<T>(request: &Request<T>) -> Self {
        let (audit, principal) =
            (Audit::of(request.extensions()), request.extensions().get::<Principal>());
        Self { audit, actor: principal.and_then(Principal::name).map(Actor::new) }
    }

    /// Notes what a call's one command is about.
    pub(super) fn note(&self, command: &Command) {
        for (name, value) in facts(command) {
            self.audit.set(name, value);
        }
    }
}

/// One command of many. What comes of it is added as `outcome`.
pub(super) fn entry(command: &Command) -> Value {
    let named = facts(command).into_iter().map(|(name, value)| (name.to_owned(), value));
    let command = [("command".to_owned(), Value::from(command.name()))];
    Value::Object(command.into_iter().chain(named).collect::<Map<_, _>>())
}

/// Ids and amounts. An amount that is left out means all there is, and is left out here.
fn facts(command: &Command) -> Vec<(&'static str, Value)> {
    let mut facts = vec![("account_id", json!(command.account_id()))];
    match command {
        Command::Open(OpenAccount { account_id: _, currency, opening_balance }) => facts.extend([
            ("currency", json!(currency.code())),
            ("amount", json!(opening_balance.to_string())),
        ]),
        Command::Deposit(PostDeposit { account_id: _, deposit_id, amount, by: _ }) => {
            facts
                .extend([("deposit_id", json!(deposit_id)), ("amount", json!(amount.to_string()))]);
        }
        Command::Reserve(Reserve { reserve_id, order_id, amount, .. }) => facts.extend([
            ("reserve_id", json!(reserve_id)),
            ("order_id", json!(order_id)),
            ("amount", json!(amount.to_string())),
        ]),
        Command::Capture(Capture { account_id: _, reserve_id, amount }) => {
            facts.push(("reserve_id", json!(reserve_id)));
            facts.extend(amount.map(|amount| ("amount", json!(amount.to_string()))));
        }
        Command::Release(Release { account_id: _, reserve_id }) => {
            facts.push(("reserve_id", json!(reserve_id)));
        }
        Command::Refund(PostRefund { account_id: _, reserve_id, refund_id, amount, by: _ }) => {
            facts.extend([("reserve_id", json!(reserve_id)), ("refund_id", json!(refund_id))]);
            facts.extend(amount.map(|amount| ("amount", json!(amount.to_string()))));
        }
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::RULES;

    /// What changes nothing that anybody asks about later.
    const READS: [&str; 4] = [
        "account.v1.AccountService/GetAccount",
        "account.v1.AccountService/ListEntries",
        "account.v1.AccountService/GetReservation",
        "account.v1.AccountService/Handshake",
    ];

    #[test]
    fn each_method_is_known_to_read_or_has_a_line() {
        for (method, _) in RULES.methods {
            assert_ne!(AUDITED.contains(method), READS.contains(method), "{method}");
        }
        assert!(ADMINISTRATIVE.iter().all(|method| AUDITED.contains(method)));
    }
}
