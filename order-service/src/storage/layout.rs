//! Where claims go, and how an installation is moved from one place to the other.

use std::{cmp::Ordering, time::Duration};

use serde::Serialize;

/// Where claims go: into a table of keys, as in the version before, or into the rows of their orders
/// (docs/decisions/0020-one-row-an-order.md). In the steps between, claims of both lock their keys first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Into the table of keys.
    Keys,
    /// There, each key locked.
    KeysLocked,
    /// Into orders, each key locked.
    OrdersLocked,
    /// Into orders.
    Orders,
}

/// What programs of the version before cannot read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LeftInOrders {
    /// Orders without a decision.
    pub undecided: u64,
    /// Notices in batches.
    pub untold: u64,
    /// Refusals among the orders.
    pub refused: u64,
}

/// Between two steps: longer than a transaction that claims may live, so that every claim of before has ended.
pub const STEP: Duration = Duration::from_secs(30);

impl Layout {
    /// Every one, in the order in which an installation moves through them, forward or back.
    pub const ALL: [Self; 4] = [Self::Keys, Self::KeysLocked, Self::OrdersLocked, Self::Orders];

    /// Its name in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::KeysLocked => "keys locked",
            Self::OrdersLocked => "orders locked",
            Self::Orders => "orders",
        }
    }

    /// Reads it back.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|layout| layout.as_str() == name)
    }

    /// Whether claims go into orders.
    pub const fn is_in_orders(self) -> bool {
        matches!(self, Self::Orders | Self::OrdersLocked)
    }

    /// Whether claims lock their keys.
    pub const fn is_locked(self) -> bool {
        matches!(self, Self::KeysLocked | Self::OrdersLocked)
    }

    /// The next one on the way to a goal. `None`: it is the goal.
    pub fn next_to(self, goal: Self) -> Option<Self> {
        let place = |layout| Self::ALL.iter().position(|one| *one == layout).unwrap_or_default();
        let next = match place(self).cmp(&place(goal)) {
            Ordering::Less => place(self) + 1,
            Ordering::Equal => return None,
            Ordering::Greater => place(self) - 1,
        };
        Self::ALL.get(next).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installation_moves_one_step_at_a_time_and_back_the_same_way() {
        let way = |from: Layout, goal| {
            std::iter::successors(Some(from), |at| at.next_to(goal)).collect::<Vec<_>>()
        };
        assert_eq!(way(Layout::Keys, Layout::Orders), Layout::ALL);
        let mut back = way(Layout::Orders, Layout::Keys);
        back.reverse();
        assert_eq!(back, Layout::ALL);
        assert_eq!(Layout::Keys.next_to(Layout::Keys), None);
    }

    #[test]
    fn names_read_back() {
        for layout in Layout::ALL {
            assert_eq!(Layout::parse(layout.as_str()), Some(layout));
        }
        assert_eq!(Layout::parse("rows"), None);
    }
}
