//! Who made a reservation. The account service has other callers too, and their money is not ours to judge or to move.

use uuid::Uuid;

/// Who made a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// This pair's order service.
    Ours,
    /// It looks as the order service's reservations do; another caller may have made it so.
    Perhaps,
    /// Another caller.
    Foreign,
}

/// The seam: what a reservation's ids say about its maker.
///
/// The order service reserves under the order's id, in its usual form, as both `reserve_id` and `order_id`, and its ids
/// are of version 7 (or 8, once they are derived from account and key). Nothing in them names the order service's
/// database yet, so that the best answer is [`Origin::Perhaps`]. A tombstone, which has no `order_id`, holds nothing.
#[must_use]
pub fn is_ours(reserve_id: &str, order_id: Option<&str>) -> Origin {
    let Some(id) = order_id_of(reserve_id) else { return Origin::Foreign };
    let same = order_id.is_none_or(|order_id| order_id == reserve_id);
    match id.get_version_num() {
        7 | 8 if same => Origin::Perhaps,
        _ => Origin::Foreign,
    }
}

/// The order whose reservation has this id, if it is written as the order service writes ids.
pub(crate) fn order_id_of(reserve_id: &str) -> Option<Uuid> {
    let id = Uuid::parse_str(reserve_id).ok()?;
    let mut usual = Uuid::encode_buffer();
    (id.hyphenated().encode_lower(&mut usual) == reserve_id).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01932c07-209c-7000-8000-000000000001";

    #[test]
    fn only_an_orders_id_in_its_usual_form_may_be_ours() {
        assert_eq!(is_ours(ID, Some(ID)), Origin::Perhaps);
        assert_eq!(is_ours(ID, None), Origin::Perhaps);
        for (reserve_id, order_id) in [
            ("hotel-17", "hotel-17"),
            (ID, "hotel-17"),
            (&ID.to_uppercase(), &ID.to_uppercase()),
            (&ID.replace('-', ""), &ID.replace('-', "")),
            // Of version 4, as most callers make theirs.
            ("7d444840-9dc0-41d1-b245-5ffdce74fad2", "7d444840-9dc0-41d1-b245-5ffdce74fad2"),
        ] {
            assert_eq!(is_ours(reserve_id, Some(order_id)), Origin::Foreign, "{reserve_id}");
        }
    }
}
