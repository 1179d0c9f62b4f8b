//! Finds variables that have one underscore in a place that needs two: `ERGON_ORDERS_PATH`.

use serde::de::DeserializeOwned;

use super::framework;
use super::problem::Problem;
use super::reader::{RESERVED, is_asked_for};
use super::setting::Setting;
use super::sources::{keys_of, variable_of};

/// The maximum number of single underscores in a name that is searched for a fix.
const TRIED: usize = 10;

/// Finds the variables that set nothing, but would set a key of `S` or of the framework with two underscores.
pub(super) fn find<S: DeserializeOwned>(variables: &[Setting]) -> Vec<Problem> {
    let wrong = variables.iter().filter_map(|setting| {
        let keys = keys_of(&setting.name)?;
        let meant = if is_key::<S>(&keys) { None } else { meant::<S>(&keys) }?;
        let problem = Problem::new(
            setting.origin.clone(),
            "",
            format!("there is no key `{}`", keys.join(".").to_lowercase()),
        );
        Some(problem.with_hint(format!("hint: two underscores separate keys: did you mean {meant}?")))
    });
    wrong.collect()
}

/// The name with the fewest double underscores that sets a key.
fn meant<S: DeserializeOwned>(keys: &[&str]) -> Option<String> {
    let words: Vec<Vec<&str>> = keys.iter().map(|key| key.split('_').collect()).collect();
    let singles: usize = words.iter().map(|words| words.len() - 1).sum();
    if singles == 0 || singles > TRIED {
        return None;
    }
    let mut splits: Vec<u32> = (1..1 << singles).collect();
    splits.sort_by_key(|split| split.count_ones());
    splits.into_iter().find_map(|split| {
        let mut bit = 0;
        let mut split_keys: Vec<String> = Vec::new();
        for words in &words {
            for (at, word) in words.iter().enumerate() {
                let separates = at == 0 || {
                    bit += 1;
                    split & (1 << (bit - 1)) != 0
                };
                match split_keys.last_mut() {
                    Some(last) if !separates => *last = format!("{last}_{word}"),
                    _ => split_keys.push((*word).to_owned()),
                }
            }
        }
        let split_keys: Vec<&str> = split_keys.iter().map(String::as_str).collect();
        is_key::<S>(&split_keys).then(|| variable_of(split_keys.iter().copied()))
    })
}

/// Whether the settings or the framework read the value under this path of keys.
fn is_key<S: DeserializeOwned>(keys: &[&str]) -> bool {
    let Some((first, below)) = keys.split_first() else { return false };
    if keys.iter().any(|key| key.is_empty()) {
        return false;
    }
    match RESERVED.iter().find(|reserved| first.eq_ignore_ascii_case(reserved)) {
        Some(table) => framework::has_key(table, below),
        None => is_asked_for::<S>(keys),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its keys matter here")]
    struct Settings {
        orders: Orders,
        mq_in: Orders,
        #[serde(default)]
        rates: BTreeMap<String, f64>,
        name: String,
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its keys matter here")]
    struct Orders {
        path: String,
        header_row: Option<u32>,
        #[serde(default)]
        inner: Option<Box<Orders>>,
    }

    fn meant_by(name: &str) -> Option<String> {
        let keys = keys_of(name).unwrap();
        if is_key::<Settings>(&keys) { None } else { meant::<Settings>(&keys) }
    }

    #[test]
    fn one_underscore_where_two_belong_is_found_at_any_depth() {
        for (written, meant) in [
            ("ERGON_ORDERS_PATH", "ERGON_ORDERS__PATH"),
            ("ERGON_ORDERS_HEADER_ROW", "ERGON_ORDERS__HEADER_ROW"),
            ("ERGON_MQ_IN_PATH", "ERGON_MQ_IN__PATH"),
            ("ERGON_MQ_IN_INNER__HEADER_ROW", "ERGON_MQ_IN__INNER__HEADER_ROW"),
            ("ERGON_RATES_USD", "ERGON_RATES__USD"),
            ("ERGON_RUNNER_HEALTH", "ERGON_RUNNER__HEALTH"),
            ("ERGON_TELEMETRY_SERVICE_NAME", "ERGON_TELEMETRY__SERVICE_NAME"),
            (
                "ERGON_TASKS_PRICE_ORDERS_CONSUMER_BATCH_SIZE",
                "ERGON_TASKS__PRICE_ORDERS__CONSUMER__BATCH_SIZE",
            ),
            ("ERGON_TASKS__PRICE_ORDERS_WORKERS", "ERGON_TASKS__PRICE_ORDERS__WORKERS"),
        ] {
            assert_eq!(meant_by(written).as_deref(), Some(meant), "{written}");
        }
    }

    #[test]
    fn what_is_right_or_belongs_to_others_is_left_alone() {
        for name in [
            "ERGON_ORDERS__PATH",
            "ERGON_NAME",
            "ERGON_PORT",
            "ERGON_HOME_DIR",
            "ERGON_ORDERS_COLOUR",
            "ERGON_RATES__A_B",
            "ERGON_A_B_C_D_E_F_G_H_I_J_K_L_M",
        ] {
            assert_eq!(meant_by(name), None, "{name}");
        }
    }
}
