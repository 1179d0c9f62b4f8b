//! Tests the guide to services against the code: its settings can be read, and its tables name every key.

use std::collections::BTreeSet;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::json;

use super::*;

fn guide() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/services.md");
    std::fs::read_to_string(path).unwrap()
}

/// The keys in the first column of the first table below this heading.
fn keys(heading: &str) -> BTreeSet<String> {
    let guide = guide();
    let below = guide.split_once(heading).expect("the heading is there").1;
    let table = below.lines().skip_while(|line| !line.starts_with("| key |")).skip(2);
    let rows = table.take_while(|line| line.starts_with('|'));
    let cells = rows.map(|row| row.split('|').nth(1).unwrap().to_owned());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// The keys of a config, from its error for an unknown key.
fn known<C: DeserializeOwned + std::fmt::Debug>() -> BTreeSet<String> {
    let error = serde_json::from_value::<C>(json!({"no such key": 1})).unwrap_err().to_string();
    error.split('`').skip(3).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_tables_name_every_key() {
    assert_eq!(keys("### Settings"), known::<HttpConfig>());
    assert_eq!(keys("## Language models"), known::<OpenaiConfig>());
    assert!(known::<HttpConfig>().contains("base_url"));
}

#[derive(Service)]
struct Crm {
    #[service(service)]
    http: HttpService,
    #[service(default = "EU".to_owned())]
    region: String,
}

#[test]
fn the_settings_can_be_read() {
    let guide = guide();
    let blocks: Vec<&str> =
        guide.split("```toml\n").skip(1).map(|block| block.split("```").next().unwrap()).collect();
    let [plain, own, openai] = blocks.as_slice() else { panic!("three blocks: {blocks:?}") };
    let read = |text: &str, key: &str| toml::from_str::<toml::Table>(text).unwrap()[key].clone();
    let config: HttpConfig = read(plain, "crm").try_into().unwrap();
    assert_eq!((config.retry.max_attempts, config.timeout), (5, Duration::from_secs(5)));
    let config: CrmConfig = read(own, "crm").try_into().unwrap();
    let crm = config.build().unwrap();
    assert_eq!((crm.region.as_str(), format!("{:?}", crm.http).contains("crm.example")), ("US", true));
    let config: OpenaiConfig = read(openai, "openai").try_into().unwrap();
    assert_eq!(config.model, "gpt-4.1-mini");
}

#[test]
fn what_the_guide_says_of_defaults_holds() {
    let http = HttpConfig::new("http://a");
    assert_eq!((http.timeout, http.connect_timeout), (Duration::from_secs(30), Duration::from_secs(10)));
    let retry = |retry: RetryPolicy| {
        (retry.max_attempts, retry.backoff.as_millis(), retry.backoff_cap, retry.jitter.to_string())
    };
    assert_eq!(retry(http.retry), (3, 250, Some(Duration::from_secs(30)), "0.2".into()));
    let openai = OpenaiConfig::new("k", "m");
    assert_eq!(retry(openai.retry), (5, 1000, Some(Duration::from_secs(60)), "0.2".into()));
    assert_eq!(
        (openai.timeout, http.max_response, openai.max_response),
        (Duration::from_secs(120), "16MiB".parse().unwrap(), "16MiB".parse().unwrap())
    );
}
