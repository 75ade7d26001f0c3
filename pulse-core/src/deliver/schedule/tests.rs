//! Waits to the second, what receivers write into `Retry-After`, and that nothing is early.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn waits(schedule: &Schedule) -> Vec<u64> {
    (1..).map_while(|made| next_delay(schedule, made, None, 0.0)).map(|wait| wait.as_secs()).collect()
}

#[test]
fn the_presets_wait_as_they_are_documented() {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 3_600;
    let default = [5, 5 * MINUTE, 10 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 10 * HOUR];
    assert_eq!(waits(&Schedule::default()), default);
    assert_eq!(Schedule::preset("default"), Some(Schedule::default()));
    assert_eq!(waits(&Schedule::preset("plan").unwrap()), [5 * MINUTE, 10 * MINUTE, 30 * MINUTE]);
    for (name, listed) in PRESETS {
        assert!(Schedule::new(listed).is_ok(), "the preset {name} breaks the rules");
    }
}

#[test]
fn the_first_attempt_is_at_once_and_the_last_wait_is_followed_by_nothing() {
    let plan = Schedule::preset("plan").unwrap();
    assert_eq!(next_delay(&plan, 0, Some(seconds(60)), 0.9), Some(Duration::ZERO));
    assert_eq!(next_delay(&plan, 3, None, 0.0), Some(seconds(1_800)));
    assert_eq!(next_delay(&plan, 4, None, 0.0), None);
    assert_eq!(next_delay(&plan, u32::MAX, Some(seconds(60)), 0.0), None, "Retry-After does not add attempts");
}

#[test]
fn a_receiver_can_ask_for_more_up_to_an_hour_and_never_for_less() {
    let plan = Schedule::preset("plan").unwrap();
    let after = |asked| next_delay(&plan, 1, Some(asked), 0.0);
    assert_eq!(after(seconds(299)), Some(seconds(300)));
    assert_eq!(after(seconds(301)), Some(seconds(301)));
    assert_eq!(after(seconds(999_999_999)), Some(seconds(3_600)));
    assert_eq!(after(Duration::MAX), Some(seconds(3_600)));
    assert_eq!(
        next_delay(&plan, 1, Some(seconds(1_000)), 0.5),
        Some(seconds(1_100)),
        "a tenth on top of what was asked"
    );
}

#[test]
fn setbacks_of_pulse_wait_from_a_second_to_ten_minutes() {
    let waits: Vec<u64> = (0..8).map(|setbacks| backoff(setbacks, 0.0).as_secs()).collect();
    assert_eq!(waits, [1, 1, 5, 30, 120, 600, 600, 600]);
    assert_eq!(backoff(u32::MAX, 0.5), seconds(660));
}

#[test]
fn retry_after_is_seconds_or_a_date_and_anything_else_is_nothing() {
    // 784111777 is the moment of RFC 9110's own examples.
    let now = Timestamp::from_secs(784_111_777);
    let read = |text| parse_retry_after(text, now).map(|wait| wait.as_secs());
    for (text, expected) in [
        ("0", 0),
        ("120", 120),
        ("\t 7 ", 7),
        ("3601", 3_600),
        ("999999999", 3_600),
        ("99999999999999999999999999", 3_600),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60),
        ("Sunday, 06-Nov-94 08:50:37 GMT", 60),
        ("Sun Nov  6 08:50:37 1994", 60),
        ("Sun, 06 Nov 1994 08:49:36 GMT", 0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3_600),
    ] {
        assert_eq!(read(text), Some(expected), "{text:?}");
    }
    for text in
        ["", " ", "-1", "+5", "1.5", "5s", "0x10", "soon", "١٢", "Sun, 06 Nov 1994", "Sun, 99 Nov 1994 08:50:37 GMT"]
    {
        assert_eq!(read(text), None, "{text:?}");
    }
}

#[test]
fn schedules_outside_the_bounds_are_refused() {
    for good in [vec![1], vec![86_400], vec![30_000; 20], vec![86_400; 7]] {
        assert!(Schedule::new(good.clone()).is_ok(), "{good:?} was refused");
    }
    for bad in [vec![], vec![0], vec![86_401], vec![1; 21], vec![86_400; 8]] {
        assert!(Schedule::new(bad.clone()).is_err(), "{bad:?} was taken");
        assert!(serde_json::from_value::<Schedule>(json!(bad)).is_err(), "{bad:?} was taken from JSON");
    }
}

#[test]
fn a_schedule_is_read_from_a_name_or_a_list_and_written_as_a_list() {
    let plan = Schedule::preset("plan").unwrap();
    let read = |value: Value| serde_json::from_value::<Schedule>(value).ok();
    assert_eq!(read(json!("plan")), Some(plan.clone()));
    assert_eq!(read(json!([300, 600, 1_800])), Some(plan.clone()));
    assert_eq!(serde_json::to_value(&plan).unwrap(), json!([300, 600, 1_800]));
    for bad in [json!("weekly"), json!(""), json!(5), json!(null), json!([-1]), json!([1.5]), json!(["5"]), json!({})] {
        assert_eq!(read(bad.clone()), None, "{bad} was taken");
    }
    assert_eq!("plan".parse(), Ok(plan.clone()));
    assert_eq!("300, 600,1800".parse(), Ok(plan.clone()));
    assert_eq!(plan.to_string().parse(), Ok(plan));
    for bad in ["", "5,", "5;6", "0", "weekly"] {
        assert!(bad.parse::<Schedule>().is_err(), "{bad:?} was taken");
    }
}

#[test]
fn the_json_schema_says_the_same_rules() {
    let schema = schemars::schema_for!(Schedule).to_value();
    let rules = jsonschema::validator_for(&schema).unwrap();
    let long = json!(vec![1; 21]);
    for value in [
        json!("default"),
        json!("plan"),
        json!([5]),
        json!([]),
        json!([0]),
        json!([86_401]),
        json!("x"),
        json!(5),
        long,
    ] {
        let read = serde_json::from_value::<Schedule>(value.clone()).is_ok();
        assert_eq!(rules.is_valid(&value), read, "the schema and the type differ about {value}");
    }
}

proptest! {
    #[test]
    fn no_attempt_is_early_and_none_is_later_than_a_fifth(
        list in proptest::collection::vec(1..=30_000_u32, 1..=MAX_RETRIES),
        made in 1..=25_u32,
        asked in proptest::option::of(0..10_000_u64),
        random in 0.0..1.0_f64,
    ) {
        let schedule = Schedule::new(list.clone()).unwrap();
        let delay = next_delay(&schedule, made, asked.map(seconds), random);
        let base = list.get(made as usize - 1).map(|wait| u64::from(*wait).max(asked.unwrap_or(0).min(3_600)));
        prop_assert_eq!(delay.is_some(), base.is_some());
        if let (Some(delay), Some(base)) = (delay, base) {
            prop_assert!(delay >= seconds(base) && delay <= seconds(base).mul_f64(1.2), "{delay:?} for {base} s");
        }
    }

    #[test]
    fn no_header_makes_retry_after_panic_or_ask_for_more_than_an_hour(text in "\\PC{0,40}", now in any::<i64>()) {
        let read = parse_retry_after(&text, Timestamp::from_millis(now));
        prop_assert!(read.is_none_or(|wait| wait <= MAX_RETRY_AFTER));
    }
}
