//! `[telemetry]`, and the variables of OpenTelemetry that say the same: <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>.
//!
//! A variable wins over the file. One that cannot be understood belongs to other programs as well: it is left aside with
//! a warning, except for the collector's address, without which nothing would be seen.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use serde::Deserialize;

use super::framework::Framework;
use super::plan::{
    Endpoint, Endpoints, ExportPlan, LogFormat, LogHandler, Protocol, Queueing, SamplerPlan, Target,
};
use super::sources::Setting;

/// `[telemetry]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Telemetry {
    /// The name of the program. Default: the package's.
    pub(crate) service_name: Option<String>,
    /// Which log lines are written: a level, or directives such as `warn,my_crate=debug`.
    pub(super) level: Option<String>,
    /// How log lines are written to the console.
    pub(crate) format: LogFormat,
    /// Where log lines are written to. Default: the console, and the collector if there is one.
    pub(crate) logs: Option<Vec<LogHandler>>,
    /// Where spans go. Default: to the collector if the environment names one.
    traces: Option<Target>,
    /// Where metrics go. Default: to the collector if the environment names one.
    metrics: Option<Target>,
    /// Whether the payload of a transaction that failed stands in its log line. Default: false.
    pub(crate) log_payloads: bool,
}

impl Framework {
    /// What is to be exported, and what of the environment is left aside.
    pub(crate) fn exports(&self, package: &str) -> (ExportPlan, Vec<String>) {
        let variables = Variables { framework: self, ignored: Vec::new() };
        variables.plan(package)
    }
}

/// The variables of OpenTelemetry.
struct Variables<'f> {
    framework: &'f Framework,
    ignored: Vec<String>,
}

impl Variables<'_> {
    fn plan(mut self, package: &str) -> (ExportPlan, Vec<String>) {
        let telemetry = &self.framework.telemetry;
        let service = self.text("OTEL_SERVICE_NAME").or_else(|| telemetry.service_name.clone());
        let to_collector = telemetry.logs.as_ref().map(|handlers| {
            let otlp = handlers.iter().any(|handler| matches!(handler, LogHandler::Otlp {}));
            if otlp { Target::Otlp } else { Target::Off }
        });
        let (traces, metrics) = (telemetry.traces, telemetry.metrics);
        let mut plan = ExportPlan {
            traces: self.target("TRACES", traces),
            metrics: self.target("METRICS", metrics),
            logs: self.target("LOGS", to_collector),
            endpoints: Endpoints {
                traces: self.endpoint("TRACES"),
                metrics: self.endpoint("METRICS"),
                logs: self.endpoint("LOGS"),
            },
            sampler: self.sampler(),
            spans: self.queueing("BSP"),
            lines: self.queueing("BLRP"),
            scrape: cfg!(feature = "health") && self.framework.runner.health().is_some(),
            interval: self.millis("OTEL_METRIC_EXPORT_INTERVAL"),
            delta: self.is("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta"),
            service: service.unwrap_or_else(|| package.to_owned()),
            attributes: self.pairs("OTEL_RESOURCE_ATTRIBUTES"),
        };
        if self.is("OTEL_SDK_DISABLED", "true") {
            (plan.traces, plan.metrics, plan.logs) = (Target::Off, Target::Off, Target::Off);
        }
        (plan, self.ignored)
    }

    /// Where a signal goes: switched on or off, set, or to the collector if one is named.
    fn target(&mut self, signal: &str, key: Option<Target>) -> Target {
        let switch = self.text(&format!("OTEL_{signal}_ENABLED"));
        match switch.as_deref().map(str::to_ascii_lowercase).as_deref() {
            Some("false" | "0") => return Target::Off,
            Some("true" | "1") => return key.filter(|key| *key == Target::Console).unwrap_or(Target::Otlp),
            Some(_) => self.ignore(&format!("OTEL_{signal}_ENABLED"), "true or false"),
            None => {}
        }
        if let Some(key) = key {
            return key;
        }
        let exporter = format!("OTEL_{signal}_EXPORTER");
        match self.text(&exporter).as_deref() {
            Some("none") => return Target::Off,
            Some("otlp") => return Target::Otlp,
            Some("console") => return Target::Console,
            Some(_) => self.ignore(&exporter, "otlp, console or none"),
            None => {}
        }
        if self.of_signal(signal, "ENDPOINT").is_some() { Target::Otlp } else { Target::Off }
    }

    /// The collector of a signal; an address without a scheme is one of plain HTTP.
    fn endpoint(&mut self, signal: &str) -> Endpoint {
        let protocol = self.protocol(signal);
        let own =
            self.setting(&format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")).map(|found| found.text.clone());
        let shared = self.text("OTEL_EXPORTER_OTLP_ENDPOINT");
        let default = if protocol == Protocol::Grpc { "localhost:4317" } else { "localhost:4318" };
        let mut url = own.clone().or(shared).unwrap_or_else(|| default.to_owned());
        if !url.contains("://") {
            url.insert_str(0, "http://");
        }
        if protocol == Protocol::Http && own.is_none() {
            url = format!("{}/v1/{}", url.trim_end_matches('/'), signal.to_ascii_lowercase());
        }
        let mut headers = self.pairs("OTEL_EXPORTER_OTLP_HEADERS");
        headers.extend(self.pairs(&format!("OTEL_EXPORTER_OTLP_{signal}_HEADERS")));
        let own = self.millis(&format!("OTEL_EXPORTER_OTLP_{signal}_TIMEOUT"));
        let timeout = own.or_else(|| self.millis("OTEL_EXPORTER_OTLP_TIMEOUT"));
        Endpoint { url, protocol, headers, timeout: timeout.unwrap_or(Endpoint::default().timeout) }
    }

    fn protocol(&mut self, signal: &str) -> Protocol {
        match self.of_signal(signal, "PROTOCOL").as_deref() {
            None | Some("grpc") => Protocol::Grpc,
            Some("http/protobuf") => Protocol::Http,
            Some(_) => {
                self.ignore("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc or http/protobuf");
                Protocol::Grpc
            }
        }
    }

    fn sampler(&mut self) -> SamplerPlan {
        let Some(name) = self.text("OTEL_TRACES_SAMPLER") else { return SamplerPlan::default() };
        let (parent_based, own) = match name.strip_prefix("parentbased_") {
            Some(own) => (true, own),
            None => (false, name.as_str()),
        };
        let ratio = match own {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => self.ratio(),
            _ => {
                self.ignore("OTEL_TRACES_SAMPLER", "[parentbased_]always_on, always_off or traceidratio");
                return SamplerPlan::default();
            }
        };
        SamplerPlan { ratio, parent_based }
    }

    fn ratio(&mut self) -> f64 {
        let Some(text) = self.text("OTEL_TRACES_SAMPLER_ARG") else { return 1.0 };
        match text.parse() {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => ratio,
            _ => {
                self.ignore("OTEL_TRACES_SAMPLER_ARG", "a number from 0 to 1");
                1.0
            }
        }
    }

    fn queueing(&mut self, processor: &str) -> Queueing {
        let default = Queueing::default();
        let most = self.number(&format!("OTEL_{processor}_MAX_QUEUE_SIZE")).unwrap_or(default.most);
        let batch = self.number(&format!("OTEL_{processor}_MAX_EXPORT_BATCH_SIZE")).unwrap_or(default.batch);
        let delay = self.millis(&format!("OTEL_{processor}_SCHEDULE_DELAY")).unwrap_or(default.delay);
        Queueing { most: most.max(1), batch: batch.clamp(1, most.max(1)), delay }
    }

    /// A variable of one signal, or else that of all.
    fn of_signal(&self, signal: &str, name: &str) -> Option<String> {
        self.text(&format!("OTEL_EXPORTER_OTLP_{signal}_{name}"))
            .or_else(|| self.text(&format!("OTEL_EXPORTER_OTLP_{name}")))
    }

    fn setting(&self, name: &str) -> Option<&Setting> {
        let mut variables = self.framework.variables.iter();
        variables.rfind(|setting| setting.name == name && !setting.text.trim().is_empty())
    }

    fn text(&self, name: &str) -> Option<String> {
        self.setting(name).map(|setting| setting.text.trim().to_owned())
    }

    fn is(&self, name: &str, value: &str) -> bool {
        self.text(name).is_some_and(|text| text.eq_ignore_ascii_case(value))
    }

    fn number(&mut self, name: &str) -> Option<usize> {
        let text = self.text(name)?;
        let number = text.parse().ok();
        if number.is_none() {
            self.ignore(name, "a whole number");
        }
        number
    }

    fn millis(&mut self, name: &str) -> Option<Duration> {
        let millis = self.number(name)?;
        Some(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
    }

    /// `key=value,key=value`, its values percent-encoded.
    fn pairs(&self, name: &str) -> Vec<(String, String)> {
        let text = self.text(name).unwrap_or_default();
        let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
        pairs
            .map(|(key, value)| {
                (key.trim().to_owned(), percent_decode_str(value.trim()).decode_utf8_lossy().into_owned())
            })
            .collect()
    }

    fn ignore(&mut self, name: &str, expected: &str) {
        let place = self.setting(name).and_then(|setting| setting.origin.at());
        let place = place.unwrap_or_else(|| format!("environment variable {name}"));
        let warning = format!("{place} is left aside: expected {expected}");
        if !self.ignored.contains(&warning) {
            self.ignored.push(warning);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Options, load};

    #[derive(Deserialize)]
    struct Nothing {}

    /// What these variables make, beside what of them is left aside.
    fn planned(variables: &[(&str, &str)]) -> (ExportPlan, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let environment = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let options = Options { working_folder: folder.path().into(), environment, ..Options::default() };
        let Nothing {} = load::<Nothing>(&options).unwrap().settings;
        load::<Nothing>(&options).unwrap().framework.exports("shop")
    }

    #[test]
    fn one_variable_switches_everything_on() {
        let (plan, ignored) = planned(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317")]);
        assert_eq!((plan.traces, plan.metrics, plan.logs), (Target::Otlp, Target::Otlp, Target::Otlp));
        assert_eq!(plan.endpoints.traces.url, "http://collector:4317");
        assert_eq!((plan.endpoints.traces.protocol, plan.service.as_str()), (Protocol::Grpc, "shop"));
        assert_eq!(ignored, [""; 0]);
        assert!(!planned(&[]).0.exports());
    }

    #[test]
    fn a_signal_is_switched_off_by_its_own_variable_and_all_by_one() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317");
        for (name, value) in [("OTEL_METRICS_ENABLED", "false"), ("OTEL_METRICS_EXPORTER", "none")] {
            let (plan, _) = planned(&[endpoint, (name, value)]);
            assert_eq!((plan.traces, plan.metrics), (Target::Otlp, Target::Off), "{name}");
        }
        assert!(!planned(&[endpoint, ("OTEL_SDK_DISABLED", "true")]).0.exports());
    }

    #[test]
    fn over_http_each_signal_has_its_path_unless_it_has_an_address_of_its_own() {
        let (plan, _) = planned(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector/otlp/"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://other:4318/here"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20a,x=1"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
        ]);
        assert_eq!(plan.endpoints.traces.url, "https://collector/otlp/v1/traces");
        assert_eq!(plan.endpoints.logs.url, "http://other:4318/here");
        let headers = [("authorization".to_owned(), "Bearer a".to_owned()), ("x".to_owned(), "1".to_owned())];
        assert_eq!(plan.endpoints.metrics.headers, headers);
        assert_eq!(plan.endpoints.metrics.timeout, Duration::from_millis(250));
    }

    #[test]
    fn samplers_are_those_of_opentelemetry() {
        let sampler = |name: &str, argument: &str| {
            planned(&[("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", argument)]).0.sampler
        };
        assert_eq!(sampler("", ""), SamplerPlan { ratio: 1.0, parent_based: true });
        assert_eq!(sampler("always_off", ""), SamplerPlan { ratio: 0.0, parent_based: false });
        assert_eq!(sampler("traceidratio", "0.01"), SamplerPlan { ratio: 0.01, parent_based: false });
        assert_eq!(
            sampler("parentbased_traceidratio", "0.5"),
            SamplerPlan { ratio: 0.5, parent_based: true }
        );
    }

    #[test]
    fn what_is_not_understood_is_left_aside_and_told() {
        let (plan, ignored) = planned(&[
            ("OTEL_TRACES_SAMPLER", "xray"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
            ("OTEL_LOGS_ENABLED", "perhaps"),
        ]);
        assert_eq!(plan.sampler, SamplerPlan::default());
        assert_eq!(ignored.len(), 3, "{ignored:?}");
        assert!(
            ignored.iter().any(|line| line.contains("OTEL_TRACES_SAMPLER") && line.contains("expected")),
            "{ignored:?}"
        );
    }
}
