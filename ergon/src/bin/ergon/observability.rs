//! The folder `_observability` of a new project: each file, and where it stands in the project.

/// One row for each file, read from where the template has it.
macro_rules! files {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("template/project/", $path)))),*]
    };
}

/// The collector, and what looks at what it is sent.
pub(crate) const FILES: &[(&str, &str)] = files![
    "_observability/README.md",
    "_observability/collector/config.yaml",
    "_observability/compose.yaml",
    "_observability/grafana/dashboards/ergon.json",
    "_observability/grafana/provisioning/dashboards/dashboards.yaml",
    "_observability/grafana/provisioning/datasources/datasources.yaml",
    "_observability/loki/config.yaml",
    "_observability/prometheus/alerts.yaml",
    "_observability/prometheus/config.yaml",
    "_observability/tempo/config.yaml",
];
