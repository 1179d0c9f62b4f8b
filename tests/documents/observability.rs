//! Tests the observability stack of a new project: every file can be read, every image is pinned, and every metric that
//! a panel or an alert names exists, with the labels of the query.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ergon::telemetry::{METRICS, Metric, MetricKind};
use serde_json::Value;

/// Labels that every series has: they name its origin.
const ORIGIN: [&str; 4] = ["job", "instance", "service_instance_id", "ergon_worker_index"];

fn stack() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .join("ergon/src/bin/ergon/template/project/_observability")
}

/// All files of the stack with this ending.
fn files(ending: &str) -> Vec<PathBuf> {
    let mut folders = vec![stack()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn yaml(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn dashboard() -> Value {
    serde_json::from_str(&fs::read_to_string(stack().join("grafana/dashboards/ergon.json")).unwrap()).unwrap()
}

/// Every text under this key, at any depth.
fn texts(value: &Value, key: &str) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().flat_map(|item| texts(item, key)).collect(),
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, field)| match field {
                Value::String(text) if name == key => vec![text.clone()],
                other => texts(other, key),
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// The queries of panels, variables and alerts to Prometheus.
fn questions() -> Vec<String> {
    let dashboard = dashboard();
    let alerts = yaml(&stack().join("prometheus/alerts.yaml"));
    let variables = texts(&dashboard["templating"], "query");
    let panels = texts(&dashboard["panels"], "expr");
    let all: Vec<_> = [variables, panels, texts(&alerts, "expr")].concat();
    all.into_iter().filter(|question| question.contains("ergon_")).collect()
}

/// The metric of a series in Prometheus, and the label that only the series has.
fn metric(series: &str) -> Option<(&'static Metric, Option<&'static str>)> {
    METRICS.iter().find_map(|metric| {
        let name = metric.prometheus_name();
        match (metric.kind, series.strip_prefix(&name)?) {
            (MetricKind::Histogram, "_bucket") => Some((metric, Some("le"))),
            (MetricKind::Histogram, "_sum" | "_count")
            | (MetricKind::Counter | MetricKind::UpDownCounter, "") => Some((metric, None)),
            _ => None,
        }
    })
}

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

/// The names in a list: `job, task`, or `job=~"x", task="y"`.
fn names(list: &str) -> Vec<&str> {
    list.split(',').map(|item| item.trim().split(['=', '!']).next().unwrap().trim()).collect()
}

/// The series of a query, each with the labels that select it.
fn series(question: &str) -> Vec<(&str, Vec<&str>)> {
    let places = question.match_indices("ergon_").map(|(at, _)| question.split_at(at));
    let starts = places.filter(|(before, _)| !before.ends_with(is_word));
    starts
        .map(|(_, rest)| {
            let (name, after) = rest.split_at(rest.find(|letter| !is_word(letter)).unwrap_or(rest.len()));
            let selector = after.strip_prefix('{').and_then(|after| after.split('}').next());
            (name, selector.map(names).unwrap_or_default())
        })
        // A label may also start in this way.
        .filter(|(name, _)| !ORIGIN.contains(name))
        .collect()
}

/// The labels by which a query groups.
fn groups(question: &str) -> Vec<&str> {
    let lists = question.split("by (").skip(1).filter_map(|rest| rest.split(')').next());
    lists.flat_map(names).collect()
}

/// The problem of a query, if there is one.
fn problems(question: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let mut known: BTreeSet<_> = ORIGIN.into();
    for (name, selected) in series(question) {
        let Some((metric, of_series)) = metric(name) else {
            problems.push(format!("there is no series `{name}`"));
            continue;
        };
        let own: BTreeSet<_> =
            ORIGIN.into_iter().chain(metric.labels.iter().copied()).chain(of_series).collect();
        let wrong = selected.into_iter().filter(|label| !own.contains(label));
        problems.extend(wrong.map(|label| format!("`{name}` has no label `{label}`")));
        known.extend(own);
    }
    let wrong = groups(question).into_iter().filter(|label| !known.contains(label));
    problems.extend(wrong.map(|label| format!("nothing in it has the label `{label}`")));
    problems
}

#[test]
fn every_file_can_be_read() {
    let (yaml_files, json_files) = (files("yaml"), files("json"));
    assert!(yaml_files.len() >= 8 && json_files.len() == 1, "{yaml_files:?} {json_files:?}");
    for file in yaml_files {
        assert!(yaml(&file).is_object(), "{}", file.display());
    }
    assert_eq!(dashboard()["uid"], "ergon");
}

#[test]
fn every_image_is_pinned_to_a_release() {
    let images = texts(&yaml(&stack().join("compose.yaml")), "image");
    assert_eq!(images.len(), 5, "{images:?}");
    for image in images {
        let (_, tag) = image.split_once(':').unwrap_or_else(|| panic!("{image} has no version"));
        let numbers: Vec<_> = tag.trim_start_matches('v').split('.').collect();
        let is_release = numbers.len() == 3 && numbers.iter().all(|number| number.parse::<u32>().is_ok());
        assert!(is_release, "{image} is not pinned to a release");
    }
}

#[test]
fn every_file_that_a_container_is_given_exists() {
    let compose = yaml(&stack().join("compose.yaml"));
    let mut given = 0;
    for service in compose["services"].as_object().unwrap().values() {
        for volume in service["volumes"].as_array().unwrap() {
            let from = volume.as_str().unwrap().split(':').next().unwrap();
            if let Some(file) = from.strip_prefix("./") {
                given += 1;
                assert!(stack().join(file).exists(), "{file}");
            } else {
                assert!(compose["volumes"].as_object().unwrap().contains_key(from), "{from}");
            }
        }
    }
    assert!(given >= 7, "{given}");
}

#[test]
fn panels_and_alerts_ask_for_what_there_is() {
    let questions = questions();
    assert!(questions.len() > 30, "{}", questions.len());
    for question in questions {
        assert!(problems(&question).is_empty(), "{question}\n{:?}", problems(&question));
    }
}

#[test]
fn every_metric_is_in_a_panel() {
    let panels = texts(&dashboard()["panels"], "expr");
    let shown: BTreeSet<_> = panels
        .iter()
        .flat_map(|question| series(question))
        .filter_map(|(name, _)| metric(name))
        .map(|(metric, _)| metric.name)
        .collect();
    let all: BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(shown, all);
}

#[test]
fn every_panel_asks_a_source_that_is_provisioned() {
    let sources = yaml(&stack().join("grafana/provisioning/datasources/datasources.yaml"));
    let provisioned: BTreeSet<_> = texts(&sources["datasources"], "uid").into_iter().collect();
    let asked: BTreeSet<_> = texts(&dashboard()["panels"], "uid").into_iter().collect();
    assert!(asked.is_subset(&provisioned), "{asked:?} {provisioned:?}");
    let linked = texts(&sources, "datasourceUid");
    assert_eq!(linked.len(), 2, "a line leads to its trace, and a span to its lines");
    assert!(linked.iter().all(|uid| provisioned.contains(uid)), "{linked:?}");
}

#[test]
fn what_there_is_not_is_found() {
    for (question, problem) in [
        ("rate(ergon_transactions[1m])", "there is no series `ergon_transactions`"),
        ("rate(ergon_step_duration_seconds[1m])", "there is no series `ergon_step_duration_seconds`"),
        (r#"ergon_in_flight{step="x"}"#, "`ergon_in_flight` has no label `step`"),
        ("sum by (le) (ergon_in_flight)", "nothing in it has the label `le`"),
        ("sum by (transaction_id) (ergon_in_flight)", "nothing in it has the label `transaction_id`"),
    ] {
        assert_eq!(problems(question), [problem], "{question}");
    }
    assert!(
        problems(r#"sum by (le, step) (rate(ergon_step_duration_seconds_bucket{task=~"$task"}[1m]))"#)
            .is_empty()
    );
}
