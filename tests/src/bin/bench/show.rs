//! The figures for people and for machines.

use std::time::Duration;

use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use holdfast_verify::Report;
use serde_json::{Value, json};
use tests::document_b;
use tests::load::{CpuUse, Figures};

use crate::pair::PIECES;
use crate::pgbench::Rates;

/// What one round found.
pub(crate) struct Round {
    pub(crate) rates: Rates,
    pub(crate) orders: Figures,
    pub(crate) orders_of_many: Figures,
    pub(crate) all_accounts: Figures,
    pub(crate) hot_account: Figures,
    pub(crate) flash_sale: Figures,
    /// Of account-service and order-service, at its end.
    pub(crate) resident_mib: [u64; 2],
}

/// What is measured once.
pub(crate) struct Single {
    pub(crate) seed: Figures,
    pub(crate) orders_of_one: Figures,
    pub(crate) one_by_one: Figures,
    pub(crate) refusals: Figures,
    pub(crate) crowds: document_b::Report,
}

/// What growth did.
pub(crate) struct Growth {
    pub(crate) orders: i64,
    pub(crate) before: Vec<Figures>,
    pub(crate) after: Vec<Figures>,
}

/// True when nothing failed and the sales were exact.
pub(crate) fn show(
    rounds: &[Round],
    single: &Single,
    growth: Option<&Growth>,
    [account_start, order_start]: [Duration; 2],
    books: &Report,
) -> bool {
    let failed = failed(rounds, single, growth);
    let sold_exactly = rounds.iter().all(|round| round.flash_sale.tally.done == u64::from(PIECES));
    let mut line = figures(rounds, single);
    if let Some(growth) = growth {
        line["growth"] = grown(growth);
    }
    line["start_to_ready_ms"] = json!({
        "account": account_start.as_millis(), "order": order_start.as_millis(),
    });
    let [account_mib, order_mib] = [0, 1].map(|service: usize| {
        rounds.iter().map(|round| round.resident_mib[service]).collect::<Vec<_>>()
    });
    line["resident_mib_by_round"] = json!({ "account": account_mib, "order": order_mib });
    line["rounds"] = json!(rounds.len());
    line["failed"] = json!(failed);
    line["flash_sale_sold_exactly"] = json!(sold_exactly);
    line["orders_verified"] = json!(books.orders);
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    for (name, value) in line.as_object().into_iter().flatten() {
        table.add_row([name.replace('_', " "), value.to_string()]);
    }
    println!("{table}");
    println!("{}", document_b::table(&single.crowds));
    println!("{line}");
    failed == 0 && sold_exactly && single.crowds.ok && books.ok
}

fn figures(rounds: &[Round], single: &Single) -> Value {
    let over = |figure: &dyn Fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
    let orders = |round: &Round| round.orders.per_second();
    let us = |part: fn(&CpuUse) -> Option<Duration>| {
        let used = |round: &Round| part(&round.orders.cpu).unwrap_or_default();
        over(&|round| round.orders.cpu_per_thousand(used(round)) * 1000.0).round()
    };
    let cost = |f: &Figures| f.cpu_per_thousand(f.cpu.system());
    let last = |requests| {
        let of_crowd = single.crowds.runs.iter().filter(|run| run.requests == requests);
        of_crowd.map(|run| run.elapsed_ms).fold(0.0, f64::max)
    };
    json!({
        "a_plain_sql_per_s": over(&|r| r.rates.plain).round(),
        "b_batched_sql_per_s": over(&|r| r.rates.batched).round(),
        "c_orders_per_s": over(&orders).round(),
        "c_over_a": two(over(&|r| orders(r) / r.rates.plain)),
        "c_over_b": two(over(&|r| orders(r) / r.rates.batched)),
        "orders_p50_ms": two(over(&|r| r.orders.tally.quantile_ms(0.5))),
        "orders_p99_ms": two(over(&|r| r.orders.tally.quantile_ms(0.99))),
        "orders_stolen_percent": two(over(&|r| r.orders.stolen_percent())),
        "cpu_us_per_order": {
            "load": us(|cpu| Some(cpu.load)), "order": us(|cpu| cpu.order),
            "account": us(|cpu| cpu.account), "postgres": us(|cpu| cpu.postgres),
        },
        "orders_of_1000_clients_per_s": over(&|r| r.orders_of_many.per_second()).round(),
        "orders_of_1000_clients_p99_ms": two(over(&|r| r.orders_of_many.tally.quantile_ms(0.99))),
        "d_reserves_per_s": over(&|r| r.all_accounts.per_second()).round(),
        "hot_account_reserves_per_s": over(&|r| r.hot_account.per_second()).round(),
        "hot_over_uniform": two(over(&|r| r.hot_account.per_second() / r.all_accounts.per_second())),
        "flash_sale_per_s": over(&|r| r.flash_sale.per_second()).round(),
        "flash_sale_over_orders": two(over(&|r| r.flash_sale.per_second() / orders(r))),
        "cost_of_1000_clients_over_1": two(over(&|r| cost(&r.orders_of_many)) / cost(&single.orders_of_one)),
        "seed_per_s": single.seed.per_second().round(),
        "seed_p50_ms": two(single.seed.tally.quantile_ms(0.5)),
        "seed_p99_ms": two(single.seed.tally.quantile_ms(0.99)),
        "seed_p999_ms": two(single.seed.tally.quantile_ms(0.999)),
        "seed_stolen_percent": two(single.seed.stolen_percent()),
        "one_by_one_p50_ms": two(single.one_by_one.tally.quantile_ms(0.5)),
        "refusal_p50_ms": two(single.refusals.tally.quantile_ms(0.5)),
        "crowd_of_10_ms": two(last(10)),
        "crowd_of_100_ms": two(last(100)),
        "crowd_of_1000_ms": two(last(1_000)),
    })
}

fn grown(growth: &Growth) -> Value {
    let rate = |figures: &[Figures]| median(figures.iter().map(Figures::per_second).collect());
    let (before, after) = (rate(&growth.before), rate(&growth.after));
    json!({
        "orders": growth.orders, "before_per_s": before.round(), "after_per_s": after.round(),
        "after_over_before": two(after / before),
    })
}

fn failed(rounds: &[Round], single: &Single, growth: Option<&Growth>) -> u64 {
    let of_round = |r: &Round| {
        [&r.orders, &r.orders_of_many, &r.all_accounts, &r.hot_account, &r.flash_sale]
            .map(|figures| figures.tally.failed())
            .iter()
            .sum::<u64>()
    };
    let Single { seed, orders_of_one, one_by_one, refusals, .. } = single;
    let once = [seed, orders_of_one, one_by_one, refusals];
    let grown = growth.into_iter().flat_map(|growth| growth.before.iter().chain(&growth.after));
    let once = once.into_iter().chain(grown).map(|figures| figures.tally.failed());
    rounds.iter().map(of_round).chain(once).sum()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

fn two(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two() {
        assert!((median(vec![9.0, 1.0, 5.0]) - 5.0).abs() < 1e-9);
        assert!((median(vec![9.0, 1.0, 5.0, 6.0]) - 5.5).abs() < 1e-9);
    }
}
