//! Texts that callers choose, as nobody would choose them.

use fuzz::Fuzz;
use proto::id::{AccountId, IdempotencyKey, MAX_LENGTH};
use proto::{Currency, Money};

#[test]
fn every_text_is_money_that_reads_back_as_itself_or_is_refused() {
    let corpus =
        ["0", "1", "10000", "12.50", "0.0001", "100000000000000", "000.1", "1e3", "-1", ""];
    Fuzz::new("money", corpus).run_text(|text| {
        let money = match Money::parse_or_zero(text) {
            Ok(money) => money,
            Err(error) => return format!("{error}"),
        };
        let shown = money.to_string();
        assert!(money <= Money::MAX_AMOUNT, "{shown}");
        assert!(text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'), "{text:?}");
        assert_eq!(Money::parse_or_zero(&shown), Ok(money));
        assert_eq!(Money::from_units(money.units()), Ok(money));
        assert_eq!(Money::parse(text).is_ok(), !money.is_zero(), "{text:?}");
        // Shapes of text, not amounts, are worth remembering.
        format!("{} {}", text.len().min(24), shown.len())
    });
}

#[test]
fn every_text_is_an_id_as_it_stands_or_is_refused() {
    let longest = "x".repeat(MAX_LENGTH);
    Fuzz::new("id", ["k1", "a key ~!", "é", "a\nb", &longest]).run_text(|text| {
        match IdempotencyKey::new(text) {
            Ok(key) => {
                assert_eq!(key.as_str(), text);
                assert!((1..=MAX_LENGTH).contains(&text.len()));
                assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text:?}");
                format!("{}", text.len())
            }
            Err(error) => format!("{error}"),
        }
    });
}

#[test]
fn every_number_names_an_account_if_it_is_positive() {
    Fuzz::new("account", [1_i64, 0, -1, i64::MAX, i64::MIN].map(i64::to_be_bytes)).run(|input| {
        let mut bytes = [0; 8];
        let length = input.len().min(8);
        bytes[..length].copy_from_slice(&input[..length]);
        let number = i64::from_be_bytes(bytes);
        assert_eq!(
            AccountId::new(number).map(AccountId::get).ok(),
            Some(number).filter(|it| *it > 0)
        );
    });
}

#[test]
fn every_text_is_a_currency_by_its_code_or_is_refused() {
    Fuzz::new("currency", ["USD", "KRW", "BHD", "usd", "XXX", "US", ""]).run_text(|text| {
        text.parse::<Currency>().map(|currency| assert_eq!(currency.to_string(), text)).is_ok()
    });
}
