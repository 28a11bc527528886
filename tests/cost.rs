//! Prices, money and sums. All fixtures are made by hand.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agentvitals::Usage;
use agentvitals::cost::{
    CostReport, ModelCall, ModelPrice, Nanodollars, Price, PriceTable, PriceTier, Prices, Pricing,
    UnknownReason,
};
use proptest::prelude::*;

/// 2026-05-28.
fn at() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_780_000_000)
}

fn call(model: &str, usage: Usage) -> ModelCall<'_> {
    ModelCall::new(usage, at()).request_model(model)
}

fn usd(price: Price) -> Result<String, UnknownReason> {
    match price {
        Price::Known(cost) => Ok(cost.to_string()),
        Price::Unknown(reason) => Err(reason),
    }
}

fn million(price: &impl Pricing, mut call: ModelCall<'_>) -> Result<String, UnknownReason> {
    call.usage = Usage::new(1_000_000, 0);
    usd(price.price(&call))
}

const TABLE: &str = r#"
[[models]]
provider = "openai"
model = "gpt-4.1"
input = 2.0
output = 8
cache_read = 0.5
cache_write = 2.5
reasoning = 9.0
request = 0.001

[[models]]
model = "gpt-4.1*"
input = 1.0
output = 4.0

[[models]]
model = "gpt-4.1*"
input = 0.9
output = 4.0
valid_from = "2026-05-28"

[[models]]
model = "gpt-4.1*"
input = 0.8
output = 4.0
valid_from = 2027-01-01

[[models]]
model = "long"
input = 1.0
output = 10.0
cache_read = 0.1
tiers = [{ above = 2_000, input = 4.0, output = 40.0 }, { above = 1_000, input = 2.0, output = 20.0, cache_read = 0.2 }]

[[models]]
model = "free-*"
input = 0
output = 0
"#;

/// Feature: E5
/// Behaviour: P18
#[test]
fn each_kind_of_token_has_its_price_and_subsets_are_billed_once() {
    let table = PriceTable::from_toml_str(TABLE).unwrap();
    let usage = Usage::new(1_000, 500).cache_read(600).cache_write(100).reasoning(200);
    // 300 x 2 + 600 x 0.5 + 100 x 2.5 + 300 x 8 + 200 x 9 = 5,350 millionths, and 0.001 for the call.
    assert_eq!(usd(table.price(&call("gpt-4.1", usage).provider("openai"))), Ok("$0.00635".into()));
    // Without a price of their own, cached tokens cost what input costs and reasoning what output costs.
    assert_eq!(usd(table.price(&call("gpt-4.1-mini", usage))), Ok("$0.0029".into()));
}

/// Feature: E5
#[test]
fn the_closest_entry_that_is_valid_at_the_time_is_the_price() {
    let table = PriceTable::from_toml_str(TABLE).unwrap();
    let openai = call("gpt-4.1", Usage::default()).provider("openai");
    assert_eq!(million(&table, openai), Ok("$2.001".into()));
    assert_eq!(million(&table, openai.provider("groq")), Ok("$0.9".into()));
    // Provider names stand for each other; a prefix tells one where the call does not.
    let prefixed = call("azure/gpt-4.1", Usage::default());
    assert_eq!(million(&table, prefixed), Ok("$0.9".into()));
    assert_eq!(million(&table, call("openai/GPT-4.1", Usage::default())), Ok("$2.001".into()));
    assert_eq!(million(&table, call("gpt-4.1", Usage::default())), Ok("$2.001".into()));
    // By date: the day before, and once the next price holds.
    let mini = call("gpt-4.1-mini", Usage::default());
    let on = |days: u64| {
        let mut call = mini;
        call.at = UNIX_EPOCH + Duration::from_secs(days * 86_400);
        call
    };
    assert_eq!(million(&table, on(20_600)), Ok("$1".into()));
    assert_eq!(million(&table, on(20_601)), Ok("$0.9".into()));
    assert_eq!(million(&table, on(20_818)), Ok("$0.9".into()));
    assert_eq!(million(&table, on(20_819)), Ok("$0.8".into()));
    // The model that answered goes first; the one that was asked for is the second choice.
    let answered = call("gpt-4.1", Usage::default()).response_model("free-llama");
    assert_eq!(million(&table, answered), Ok("$0".into()));
    assert_eq!(million(&table, answered.response_model("new")), Ok("$2.001".into()));
}

/// Feature: E5
#[test]
fn the_number_of_input_tokens_chooses_the_tier_of_the_whole_call() {
    let table = PriceTable::from_toml_str(TABLE).unwrap();
    let price = |input| table.price(&call("long", Usage::new(input, 100).cache_read(1_000))).known().unwrap();
    // 1,000 cached x 0.1 + 100 x 10; then 1,000 x 0.2 + 1 x 2 + 100 x 20; then all at the highest tier, whose
    // cached tokens cost what its input costs.
    assert_eq!(price(1_000).get(), 1_100_000);
    assert_eq!(price(1_001).get(), 2_202_000);
    assert_eq!(price(2_001).get(), 12_004_000);
    let built = ModelPrice::new("long", 1.0, 10.0)
        .cache_read(0.1)
        .tier(PriceTier::above(2_000, 4.0, 40.0))
        .tier(PriceTier::above(1_000, 2.0, 20.0).cache_read(0.2));
    let built = PriceTable::new().with(built).unwrap();
    let usage = Usage::new(1_001, 100).cache_read(1_000);
    assert_eq!(built.price(&call("long", usage)), table.price(&call("long", usage)));
}

/// Feature: E5, A6
#[test]
fn what_is_unknown_says_why_and_is_never_zero() {
    let table = PriceTable::from_toml_str(TABLE).unwrap();
    let used = Usage::new(10, 10);
    let mut only_output = Usage::default();
    only_output.output_tokens = Some(5);
    let cases = [
        (call("gpt-4.1", Usage::default()), UnknownReason::NoUsage),
        (call("gpt-4.1", only_output), UnknownReason::NoUsage),
        (call("unheard-of", used), UnknownReason::ModelNotFound),
        (call("xgpt-4.1", used), UnknownReason::ModelNotFound),
        (call(" ", used), UnknownReason::NoModel),
        (ModelCall::new(used, at()), UnknownReason::NoModel),
        (call("gpt-4.1", used.cache_read(11)), UnknownReason::InconsistentUsage),
        (call("gpt-4.1", used.cache_read(6).cache_write(5)), UnknownReason::InconsistentUsage),
        (call("gpt-4.1", used.cache_read(u64::MAX).cache_write(1)), UnknownReason::InconsistentUsage),
        (call("gpt-4.1", used.reasoning(11)), UnknownReason::InconsistentUsage),
    ];
    for (call, reason) in cases {
        assert_eq!(table.price(&call), Price::Unknown(reason), "{call:?}");
        // A later list has no say where an earlier one knows the model, and cannot find what nobody knows.
        let chain = Prices::none().then(table.clone()).then(table.clone());
        assert_eq!(chain.price(&call), Price::Unknown(reason), "{call:?}");
    }
    assert_eq!(usd(table.price(&call("free-llama", used))), Ok("$0".into()));
    assert_eq!(Prices::none().price(&call("gpt-4.1", used)), Price::Unknown(UnknownReason::ModelNotFound));
}

/// Feature: E5
#[test]
fn a_wrong_table_is_refused_with_line_key_and_value() {
    let entry = |line: &str| format!("\n[[models]]\nmodel = \"m\"\ninput = 1.0\noutput = 1.0\n{line}\n");
    for (text, parts) in [
        (entry("cache_reed = 1.0"), &["line 6", "cache_reed"][..]),
        (entry("cache_read = \"cheap\""), &["line 6", "cheap", "f64"]),
        (entry("cache_read = -0.5"), &["line 2", "\"m\"", "cache_read", "-0.5"]),
        (entry("reasoning = nan"), &["line 2", "reasoning", "NaN"]),
        (entry("request = inf"), &["line 2", "request", "inf"]),
        (entry("valid_from = \"2026-02-30\""), &["line 6", "valid_from", "2026-02-30", "2026-01-31"]),
        (entry("valid_from = \"May\""), &["line 6", "May"]),
        (entry("valid_from = 5"), &["line 6", "integer"]),
        (
            entry(
                "tiers = [{ above = 5, input = 1.0, output = 1.0 }, { above = 5, input = 1.0, output = 1.0 }]",
            ),
            &["line 2", "two tiers above 5"],
        ),
        (entry("tiers = [{ above = -5, input = 1.0, output = 1.0 }]"), &["line 6", "-5"]),
        (entry("").repeat(2), &["line 8", "\"m\"", "two prices"]),
        ("[[models]]\nmodel = \"a*b\"\ninput = 1\noutput = 1".into(), &["line 1", "a*b", "* at its end"]),
        ("[[models]]\nmodel = \"\"\ninput = 1\noutput = 1".into(), &["line 1", "\"\""]),
        ("[[models]]\nmodel = \"m\"\ninput = 1".into(), &["line 1", "output"]),
        ("[[model]]".into(), &["line 1", "model", "models"]),
        ("[[models".into(), &["line 1"]),
    ] {
        let error = PriceTable::from_toml_str(&text).unwrap_err();
        assert!(error.is_config());
        for part in parts {
            assert!(error.to_string().contains(part), "{part:?} is not in {error}");
        }
    }
    let error = PriceTable::from_toml_file("no/such/prices.toml").unwrap_err().to_string();
    assert!(error.contains("no/such/prices.toml"), "{error}");
}

/// Feature: A6
#[test]
fn money_is_exact_and_refuses_what_is_no_amount() {
    assert_eq!(Nanodollars::from_usd(14.7257).unwrap().get(), 14_725_700_000);
    assert_eq!(Nanodollars::from_usd(4e-10).unwrap(), Nanodollars::ZERO);
    for wrong in [-1.0, f64::NAN, f64::INFINITY, 2e10] {
        let error = Nanodollars::from_usd(wrong).unwrap_err();
        assert!(error.is_config() && error.to_string().contains(&wrong.to_string()), "{error}");
    }
    for (nanodollars, text) in [
        (0, "$0"),
        (1, "$0.000000001"),
        (5_348_000, "$0.005348"),
        (1_000_000_000, "$1"),
        (120_500_000_000, "$120.5"),
    ] {
        assert_eq!(Nanodollars::new(nanodollars).to_string(), text);
    }
    let most = Nanodollars::new(u64::MAX);
    assert_eq!(most + Nanodollars::new(1), most);
    assert_eq!(serde_json::to_string(&Nanodollars::new(7)).unwrap(), "7");
    assert_eq!(serde_json::from_str::<Nanodollars>("7").unwrap(), Nanodollars::new(7));
    let tenth = Nanodollars::from_usd(0.1).unwrap();
    assert_eq!([tenth; 10].into_iter().sum::<Nanodollars>(), Nanodollars::from_usd(1.0).unwrap());
}

/// Feature: E1, A6
#[test]
fn a_report_prints_aligned_and_serialises_with_unknown_as_null() {
    let mut report = CostReport::by(["provider", "model"]);
    let known = Price::Known(Nanodollars::new(2_800_000));
    let unknown = Price::Unknown(UnknownReason::ModelNotFound);
    report.add(&["openai", "gpt-4.1"], &Usage::new(1_000, 100).cache_read(10), known);
    report.add(&["openai", "gpt-4.1"], &Usage::default(), unknown);
    report.add(&["self"], &Usage::new(5, 5), unknown);
    assert_eq!(
        report.to_string(),
        "\
provider  model    calls  input  output     cost
openai    gpt-4.1      2   1000     100  $0.0028 + 1 unpriced call
self                   1      5       5  unknown
total                  3   1005     105  $0.0028 + 2 unpriced calls
"
    );
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["rows"][0]["key"], serde_json::json!({"provider": "openai", "model": "gpt-4.1"}));
    assert_eq!(json["rows"][0]["cost_nanodollars"], 2_800_000);
    assert_eq!(json["rows"][0]["unreported_calls"], 1);
    assert_eq!(json["rows"][1]["cost_usd"], serde_json::Value::Null);
    assert_eq!((&json["total"]["cost_usd"], &json["total"]["partial"]), (&0.0028.into(), &true.into()));
    assert_eq!(json["total"]["cache_read_tokens"], 10);
    assert!(report.partial());
    assert_eq!(
        CostReport::by(["model"]).to_string(),
        "model  calls  input  output  cost\ntotal      0      0       0    $0\n"
    );
}

#[test]
fn a_report_is_bounded_and_still_adds_up() {
    let mut report = CostReport::by(["conversation"]);
    for n in 0..CostReport::MAX_ROWS + 5 {
        report.add(&[&n.to_string()], &Usage::new(1, 0), Price::Known(Nanodollars::new(1)));
    }
    assert_eq!(report.rows().count(), CostReport::MAX_ROWS + 1);
    let (_, other) = report.rows().find(|(values, _)| values[0] == "(other)").unwrap();
    assert_eq!(other.calls, 5);
    assert_eq!(report.total().cost, Nanodollars::new(CostReport::MAX_ROWS as u64 + 5));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// The total is the sum of the rows and of the calls, however they are grouped or merged.
    ///
    /// Feature: E1
    /// Behaviour: P17
    #[test]
    fn sums_are_the_sums_of_their_rows(
        calls in prop::collection::vec(
            (0..4_usize, 0..4_usize, 0..1_u64 << 40, 0..1_u64 << 40, prop::option::of(0..1_u64 << 50)), 0..60),
        split in 0..60_usize,
    ) {
        let names = ["a", "b", "c", "d"];
        let (mut by_two, mut by_one, mut other) =
            (CostReport::by(["x", "y"]), CostReport::by(["x"]), CostReport::by(["x", "y"]));
        for (n, &(x, y, input, output, cost)) in calls.iter().enumerate() {
            let price = cost.map_or(Price::Unknown(UnknownReason::ModelNotFound), |cost| Price::Known(Nanodollars::new(cost)));
            let usage = Usage::new(input, output);
            if n < split { &mut by_two } else { &mut other }.add(&[names[x], names[y]], &usage, price);
            by_one.add(&[names[x]], &usage, price);
        }
        by_two.merge(&other);
        let cost: u64 = calls.iter().filter_map(|call| call.4).sum();
        let tokens: u64 = calls.iter().map(|call| call.2).sum();
        prop_assert_eq!(by_two.total(), by_one.total());
        prop_assert_eq!(by_two.total().cost.get(), cost);
        prop_assert_eq!(by_two.rows().map(|(_, row)| row.cost).sum::<Nanodollars>().get(), cost);
        prop_assert_eq!(by_two.rows().map(|(_, row)| row.input_tokens).sum::<u64>(), tokens);
        prop_assert_eq!(by_two.total().unpriced_calls, calls.iter().filter(|call| call.4.is_none()).count() as u64);
        prop_assert_eq!(by_two.partial(), calls.iter().any(|call| call.4.is_none()));
    }

    /// Whatever the tokens: no panic, and never more than the whole at the dearest rate.
    #[test]
    fn any_usage_has_a_price_or_a_reason(
        input in prop::option::of(any::<u64>()), output in prop::option::of(any::<u64>()),
        read in prop::option::of(any::<u64>()), write in prop::option::of(any::<u64>()),
        reasoning in prop::option::of(any::<u64>()),
    ) {
        let table = PriceTable::from_toml_str(TABLE).unwrap();
        let mut usage = Usage::default();
        (usage.input_tokens, usage.output_tokens) = (input, output);
        (usage.cache_read_tokens, usage.cache_write_tokens, usage.reasoning_tokens) = (read, write, reasoning);
        if let Price::Known(cost) = table.price(&call("long", usage)) {
            let tokens = u128::from(input.unwrap_or(0)) + u128::from(output.unwrap_or(0));
            prop_assert!(u128::from(cost.get()) <= tokens * 40_000 + 1);
            prop_assert!(input.is_some());
        }
    }
}
