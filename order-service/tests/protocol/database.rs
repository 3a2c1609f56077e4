//! The order service's database: key rows, orders, stock and outbox. Each function is one transaction.
//!
//! What is decided, the service's own functions decide ([`KeyRow::judge`], [`decide`], [`Settled::of`]); what the
//! statements of `storage/{postgres,sqlite}/{claim,keys,decide}.rs` match and write is mirrored here.

use order_service::order::{
    decision::{Decision, Earlier, Settled, Settlement, Stock, Verdict, decide},
    key::KeyRow,
};

use super::{
    Guards,
    real::{Claim, Fate, NOW, Placed, Told, product, uuid},
    world::Landing,
};

/// How key rows are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Keys {
    /// By day, as PostgreSQL does: a claim names its day, and old days are not looked at.
    Partitioned,
    /// One table, as SQLite does: old rows are deleted.
    OneTable,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Database {
    keys: Keys,
    pub(crate) rows: [Option<Key>; 2],
    /// Never more than one, but the model must be able to say so.
    pub(crate) orders: Vec<Placed>,
    pub(crate) outbox: Vec<Told>,
    pub(crate) stock: u8,
    /// Somebody wrote by a claim that the row no longer had.
    pub(crate) stale_write: bool,
}

/// A key row, decided or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) claim: Claim,
    pub(crate) fate: Option<Fate>,
}

/// A unique violation: the transaction is rolled back and run again.
struct Conflict;

impl Database {
    pub(crate) fn new(keys: Keys, stock: u8) -> Self {
        let (orders, outbox) = Default::default();
        Self { keys, rows: [None; 2], orders, outbox, stock, stale_write: false }
    }

    /// The row that a request of this day finds.
    pub(crate) fn visible(&self, today: u8) -> Option<Key> {
        self.rows[self.slot(today)]
    }

    /// D: the row, or where there is none, what the key's order says.
    pub(crate) fn read(&self, today: u8, guards: &Guards) -> Option<Key> {
        let speaks = |order: &Placed| {
            let Placed { order_id, payment, asked } = *order;
            let claim = Claim { asked, order_id, fence: 0, day: today };
            Key { claim, fate: Some(Fate::Placed { payment }) }
        };
        let orders = self.orders.iter().filter(|_| guards.orders_speak_for_their_keys);
        self.visible(today).or_else(|| orders.map(speaks).next())
    }

    /// T0: `CLAIM`. False: there is a row, or an order.
    pub(crate) fn claim(&mut self, claim: Claim, guards: &Guards) -> bool {
        let placed = guards.orders_speak_for_their_keys && !self.orders.is_empty();
        let row = &mut self.rows[self.slot(claim.day)];
        let free = row.is_none() && !placed;
        if free {
            *row = Some(Key { claim, fate: None });
        }
        free
    }

    /// T1: `TAKE_OVER`. `fresh_id` is what a service would use that did not keep the reservation's id.
    pub(crate) fn take_over(
        &mut self,
        seen: Claim,
        fresh_id: u8,
        guards: &Guards,
    ) -> Option<Claim> {
        let key = self.writable(seen, guards)?;
        key.claim.fence += 1;
        if !guards.takeovers_keep_the_reservation {
            key.claim.order_id = fresh_id;
            return Some(key.claim);
        }
        Some(Claim { fence: key.claim.fence, ..seen })
    }

    /// Lets old keys go: PostgreSQL no longer looks at their day, SQLite deletes them.
    pub(crate) fn forget(&mut self) {
        if self.keys == Keys::OneTable {
            self.rows[0] = None;
        }
    }

    /// T3, T3' and T4: `work/decide.rs`, with its second run after a conflict.
    pub(crate) fn decide(
        &mut self,
        claim: Claim,
        verdict: Verdict,
        payment: u8,
        guards: &Guards,
    ) -> Settled {
        let settlement = Settlement { claim: claim.real(), verdict, payment_id: uuid(payment) };
        for earlier in [Earlier::new(), self.earlier()] {
            let mut after = self.clone();
            if let Ok(settled) = after.decide_once(claim, &settlement, &earlier, guards) {
                *self = after;
                return settled;
            }
        }
        Settled::default()
    }

    fn decide_once(
        &mut self,
        claim: Claim,
        settlement: &Settlement,
        earlier: &Earlier,
        guards: &Guards,
    ) -> Result<Settled, Conflict> {
        if !guards.claims_come_first && !self.claim(claim, guards) {
            return Ok(Settled::default());
        }
        let Some(key) = self.writable(claim, guards) else { return Ok(Settled::default()) };
        key.fate = Some(Fate::of(&settlement.expected()));
        let mut stock = Stock::from([(product(), self.stock.into())]);
        let decisions = decide([settlement], &mut stock, earlier, NOW);
        self.stock = stock[&product()].try_into().expect("stock is never negative");
        for decision in &decisions {
            self.write(claim, decision, earlier, guards)?;
        }
        let settled = Settled::of(settlement, &decisions[0], NOW);
        for notice in settled.notice.iter().map(Told::of) {
            if self.outbox.contains(&notice) {
                return Err(Conflict);
            }
            self.outbox.push(notice);
            self.outbox.sort();
        }
        Ok(settled)
    }

    /// What is written besides the expected outcome: the order, `CORRECT`, `RESTORE`.
    fn write(
        &mut self,
        claim: Claim,
        decision: &Decision,
        earlier: &Earlier,
        guards: &Guards,
    ) -> Result<(), Conflict> {
        let slot = self.slot(claim.day);
        let key = self.rows[slot].as_mut().expect("the row was written a moment ago");
        match decision {
            Decision::Placed(order) => {
                let order = Placed::of(order);
                let unique = guards.a_key_is_unique_among_orders;
                if self.orders.iter().any(|other| unique || other.order_id == order.order_id) {
                    return Err(Conflict);
                }
                self.orders.push(order);
            }
            Decision::Failed(outcome) => {
                let looked = !earlier.is_empty() || !guards.failures_look_for_orders;
                if !looked && !self.orders.is_empty() {
                    return Err(Conflict);
                }
                key.fate = Some(Fate::of(outcome));
            }
            Decision::Restored(order) => {
                let Placed { order_id, payment, asked } = Placed::of(order);
                key.claim = Claim { order_id, asked, ..key.claim };
                key.fate = Some(Fate::Placed { payment });
            }
        }
        Ok(())
    }

    /// The row that a claim's statements match: `WHERE … day = … AND fence = … AND status = 'PROCESSING'`.
    fn writable(&mut self, claim: Claim, guards: &Guards) -> Option<&mut Key> {
        let slot = self.slot(claim.day);
        let key = self.rows[slot].as_mut()?;
        let matches = (key.claim.fence == claim.fence || !guards.fences_are_checked)
            && (key.fate.is_none() || !guards.decisions_are_final)
            && (key.claim.order_id == claim.order_id || !guards.writes_name_the_order);
        self.stale_write |= matches && (key.claim != claim || key.fate.is_some());
        matches.then_some(key)
    }

    fn earlier(&self) -> Earlier {
        let keyed = |order: &Placed| {
            let order = order.real();
            ((order.account, order.key.clone()), order)
        };
        self.orders.iter().map(keyed).collect()
    }

    fn slot(&self, day: u8) -> usize {
        match self.keys {
            Keys::Partitioned => day.into(),
            Keys::OneTable => 0,
        }
    }
}

impl Key {
    /// As the service reads it.
    pub(crate) fn row(self) -> KeyRow {
        self.claim.row(self.fate)
    }

    /// What is answered once the row is decided.
    pub(crate) fn landing(self) -> Landing {
        let Claim { order_id, asked, .. } = self.claim;
        self.fate.map_or(Landing::Unknown, |fate| Landing::Decided { order_id, asked, fate })
    }
}
