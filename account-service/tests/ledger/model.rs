//! The ledger as a child would keep it: a list of what happened, and every question answered by going through all of it.
//!
//! It shares no code and no idea with the core: no running balances, no states that are stored, no batches.

use account_service::ledger::{Command, Refusal};
use time::OffsetDateTime;

/// The most that an account may hold, in units of 10^-4.
const MOST: i128 = 9_000_000_000_000_000_000;

#[derive(Debug, Default)]
pub(crate) struct Model {
    facts: Vec<Fact>,
}

/// What a command is answered: the balance after it, unless there is no account, and whether it was a replay.
pub(crate) type Answer = Result<(Option<i128>, bool), Refusal>;

#[derive(Debug, Clone)]
enum Fact {
    Opened { account: i64, currency: String, sum: i128 },
    Deposited { account: i64, id: String, sum: i128 },
    Reserved { hold: Hold, order: String, sum: i128, until: OffsetDateTime },
    Declined { hold: Hold, order: String, sum: i128, why: Refusal },
    Captured { hold: Hold, sum: i128, at: OffsetDateTime },
    Released { hold: Hold, at: OffsetDateTime },
    Refunded { hold: Hold, id: String, sum: i128 },
}

/// Account and reserve_id.
type Hold = (i64, String);

/// What the facts say of a hold.
enum Standing {
    Unseen,
    Held { sum: i128 },
    Captured { sum: i128 },
    Released,
    Expired,
    Declined(Refusal),
}

impl Model {
    pub(crate) fn answer(&mut self, command: &Command, now: OffsetDateTime) -> Answer {
        match command {
            Command::Open(c) => {
                let (currency, sum) = (c.currency.code(), c.opening_balance.units().into());
                self.open(c.account_id.get(), currency, sum)
            }
            Command::Deposit(c) => {
                self.deposit(c.account_id.get(), c.deposit_id.as_str(), c.amount.units().into())
            }
            Command::Reserve(c) => {
                let hold = (c.account_id.get(), c.reserve_id.to_string());
                let currency = c.currency.map(|currency| currency.code());
                let asked = (c.order_id.to_string(), c.amount.units().into());
                self.reserve(hold, asked, currency, now, now + c.ttl)
            }
            Command::Capture(c) => {
                let hold = (c.account_id.get(), c.reserve_id.to_string());
                self.capture(hold, c.amount.map(|sum| sum.units().into()), now)
            }
            Command::Release(c) => {
                self.release((c.account_id.get(), c.reserve_id.to_string()), now)
            }
            Command::Refund(c) => {
                let hold = (c.account_id.get(), c.reserve_id.to_string());
                self.refund(
                    hold,
                    c.refund_id.to_string(),
                    c.amount.map(|sum| sum.units().into()),
                    now,
                )
            }
        }
    }

    fn open(&mut self, account: i64, currency: &str, opening: i128) -> Answer {
        if let Some(first) = self.opening(account) {
            return if first == (currency.to_owned(), opening) {
                Ok((self.balance(account), true))
            } else {
                Err(Refusal::AccountAlreadyExists)
            };
        }
        if !is_whole(currency, opening) {
            return Err(Refusal::OpeningBalancePrecision);
        }
        self.facts.push(Fact::Opened { account, currency: currency.into(), sum: opening });
        Ok((self.balance(account), false))
    }

    fn deposit(&mut self, account: i64, id: &str, sum: i128) -> Answer {
        let balance = self.balance(account).ok_or(Refusal::AccountNotFound)?;
        let before = self.facts.iter().find_map(|fact| match fact {
            Fact::Deposited { account: a, id: i, sum } if *a == account && i == id => Some(*sum),
            _ => None,
        });
        match before {
            Some(before) if before != sum => Err(Refusal::DepositMismatch),
            Some(_) => Ok((Some(balance), true)),
            None if !self.fits(account, sum) => Err(Refusal::AmountPrecision),
            None if balance + sum > MOST => Err(Refusal::BalanceLimitExceeded),
            None => {
                self.facts.push(Fact::Deposited { account, id: id.into(), sum });
                Ok((self.balance(account), false))
            }
        }
    }

    fn reserve(
        &mut self,
        hold: Hold,
        (order, sum): (String, i128),
        currency: Option<&str>,
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Answer {
        let asked_before = self.facts.iter().find_map(|fact| match fact {
            Fact::Reserved { hold: h, order, sum, .. }
            | Fact::Declined { hold: h, order, sum, .. }
                if *h == hold =>
            {
                Some((order.clone(), *sum))
            }
            _ => None,
        });
        if asked_before.is_some_and(|before| before != (order.clone(), sum)) {
            return Err(Refusal::ReservationMismatch);
        }
        let balance = self.balance(hold.0);
        match self.standing(&hold, now) {
            Standing::Held { .. } | Standing::Captured { .. } => Ok((balance, true)),
            Standing::Released => Err(Refusal::ReservationReleased),
            Standing::Expired => Err(Refusal::ReservationExpired),
            Standing::Declined(why) => Err(why),
            Standing::Unseen => {
                if let Some(why) = self.declines(hold.0, sum, currency, now) {
                    self.facts.push(Fact::Declined { hold, order, sum, why });
                    return Err(why);
                }
                self.facts.push(Fact::Reserved { hold, order, sum, until });
                Ok((balance, false))
            }
        }
    }

    /// Why an account that is asked for the first time says no.
    fn declines(
        &self,
        account: i64,
        sum: i128,
        currency: Option<&str>,
        now: OffsetDateTime,
    ) -> Option<Refusal> {
        let Some((own, _)) = self.opening(account) else { return Some(Refusal::AccountNotFound) };
        if currency.is_some_and(|currency| currency != own) {
            return Some(Refusal::CurrencyMismatch);
        }
        let available = self.balance(account)? - self.held(account, now);
        if !self.fits(account, sum) && sum != available {
            return Some(Refusal::AmountPrecision);
        }
        (available < sum).then_some(Refusal::InsufficientFunds)
    }

    fn capture(&mut self, hold: Hold, sum: Option<i128>, now: OffsetDateTime) -> Answer {
        match self.standing(&hold, now) {
            Standing::Unseen if self.opening(hold.0).is_none() => Err(Refusal::AccountNotFound),
            Standing::Unseen => Err(Refusal::ReservationNotFound),
            Standing::Held { sum: held } if sum.is_some_and(|sum| sum > held) => {
                Err(Refusal::CaptureExceedsReservation)
            }
            Standing::Held { sum: held }
                if sum.is_some_and(|sum| sum != held && !self.fits(hold.0, sum)) =>
            {
                Err(Refusal::AmountPrecision)
            }
            Standing::Held { sum: held } => {
                let account = hold.0;
                self.facts.push(Fact::Captured { hold, sum: sum.unwrap_or(held), at: now });
                Ok((self.balance(account), false))
            }
            Standing::Captured { sum: taken } => {
                let all = self.reserved_sum(&hold);
                if sum.unwrap_or(all) == taken {
                    Ok((self.balance(hold.0), true))
                } else {
                    Err(Refusal::CaptureMismatch)
                }
            }
            Standing::Released => Err(Refusal::ReservationReleased),
            Standing::Expired => Err(Refusal::ReservationExpired),
            Standing::Declined(_) => Err(Refusal::ReservationDeclined),
        }
    }

    fn release(&mut self, hold: Hold, now: OffsetDateTime) -> Answer {
        let balance = self.balance(hold.0);
        match self.standing(&hold, now) {
            Standing::Captured { .. } => Err(Refusal::ReservationCaptured),
            Standing::Released | Standing::Expired | Standing::Declined(_) => Ok((balance, true)),
            Standing::Unseen | Standing::Held { .. } => {
                self.facts.push(Fact::Released { hold, at: now });
                Ok((balance, false))
            }
        }
    }

    fn refund(&mut self, hold: Hold, id: String, sum: Option<i128>, now: OffsetDateTime) -> Answer {
        let balance = self.balance(hold.0).ok_or(Refusal::AccountNotFound)?;
        let refunds: Vec<_> = self
            .facts
            .iter()
            .filter_map(|fact| match fact {
                Fact::Refunded { hold: h, id, sum } if *h == hold => Some((id.clone(), *sum)),
                _ => None,
            })
            .collect();
        if let Some((_, before)) = refunds.iter().find(|(before, _)| *before == id) {
            return if sum.is_none_or(|sum| sum == *before) {
                Ok((Some(balance), true))
            } else {
                Err(Refusal::RefundMismatch)
            };
        }
        let refunded: i128 = refunds.iter().map(|(_, sum)| sum).sum();
        match self.standing(&hold, now) {
            Standing::Unseen => Err(Refusal::ReservationNotFound),
            Standing::Captured { sum: taken } => {
                let sum = sum.unwrap_or(taken - refunded);
                if refunded + sum > taken {
                    return Err(Refusal::RefundExceedsCapture);
                }
                if refunded + sum != taken && !self.fits(hold.0, sum) {
                    return Err(Refusal::AmountPrecision);
                }
                if balance + sum > MOST {
                    return Err(Refusal::BalanceLimitExceeded);
                }
                let account = hold.0;
                if sum > 0 {
                    self.facts.push(Fact::Refunded { hold, id, sum });
                }
                Ok((self.balance(account), false))
            }
            _ => Err(Refusal::ReservationNotCaptured),
        }
    }

    /// The currency and the sum that an account was opened with.
    fn opening(&self, account: i64) -> Option<(String, i128)> {
        self.facts.iter().find_map(|fact| match fact {
            Fact::Opened { account: a, currency, sum } if *a == account => {
                Some((currency.clone(), *sum))
            }
            _ => None,
        })
    }

    /// Whether an amount is a whole number of minor units on this account.
    fn fits(&self, account: i64, sum: i128) -> bool {
        self.opening(account).is_some_and(|(currency, _)| is_whole(&currency, sum))
    }

    fn balance(&self, account: i64) -> Option<i128> {
        let (_, opening) = self.opening(account)?;
        let changes = self.facts.iter().map(|fact| match fact {
            Fact::Deposited { account: a, sum, .. } if *a == account => *sum,
            Fact::Captured { hold, sum, .. } if hold.0 == account => -sum,
            Fact::Refunded { hold, sum, .. } if hold.0 == account => *sum,
            _ => 0,
        });
        Some(opening + changes.sum::<i128>())
    }

    /// What is held on an account at an instant.
    pub(crate) fn held(&self, account: i64, now: OffsetDateTime) -> i128 {
        let holds = self.facts.iter().filter_map(|fact| match fact {
            Fact::Reserved { hold, .. } if hold.0 == account => Some(hold),
            _ => None,
        });
        let held = holds.map(|hold| match self.standing(hold, now) {
            Standing::Held { sum } => sum,
            _ => 0,
        });
        held.sum()
    }

    fn reserved_sum(&self, hold: &Hold) -> i128 {
        let found = self.facts.iter().find_map(|fact| match fact {
            Fact::Reserved { hold: h, sum, .. } if h == hold => Some(*sum),
            _ => None,
        });
        found.expect("only a reservation is captured")
    }

    /// The earliest thing that ended a hold decides.
    fn standing(&self, hold: &Hold, now: OffsetDateTime) -> Standing {
        let mut standing = Standing::Unseen;
        for fact in &self.facts {
            standing = match (standing, fact) {
                (Standing::Unseen, Fact::Reserved { hold: h, sum, until, .. }) if h == hold => {
                    let ended = self.ended_at(hold).is_none_or(|end| end >= *until);
                    if ended && now >= *until {
                        return Standing::Expired;
                    }
                    Standing::Held { sum: *sum }
                }
                (Standing::Unseen, Fact::Declined { hold: h, why, .. }) if h == hold => {
                    return Standing::Declined(*why);
                }
                (Standing::Held { .. }, Fact::Captured { hold: h, sum, .. }) if h == hold => {
                    return Standing::Captured { sum: *sum };
                }
                (_, Fact::Released { hold: h, .. }) if h == hold => return Standing::Released,
                (standing, _) => standing,
            };
        }
        standing
    }

    fn ended_at(&self, hold: &Hold) -> Option<OffsetDateTime> {
        self.facts.iter().find_map(|fact| match fact {
            Fact::Captured { hold: h, at, .. } | Fact::Released { hold: h, at } if h == hold => {
                Some(*at)
            }
            _ => None,
        })
    }
}

/// Minor units as the standard has them, for the currencies that tests use.
fn is_whole(currency: &str, sum: i128) -> bool {
    let unit = match currency {
        "KRW" => 10_000,
        "USD" => 100,
        "BHD" => 10,
        "XAU" => 1,
        other => panic!("no test opens an account in {other}"),
    };
    sum % unit == 0
}
