//! Lists the files of the folder `_observability` of a new project.

/// One row for each file of the template.
macro_rules! files {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("template/project/", $path)))),*]
    };
}

/// The files of the collector, the storage and the dashboards.
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
