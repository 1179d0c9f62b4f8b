//! Reads the variables of OpenTelemetry, which configure the same exports as `[telemetry]`: <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>.
//!
//! A variable wins over the file. Other programs read the same variables, so an invalid variable is ignored with a warning.
//! An invalid address of the collector is an error, because nothing would be exported. In a list, only the invalid parts are
//! ignored. A warning names the variable and the part, and never shows a value.

use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::framework::Framework;
use super::origin::Origin;
use super::plan::{Endpoint, Endpoints, ExportPlan, LogHandler, Protocol, Queueing, SamplerPlan, Target};
use super::setting::Setting;

impl Framework {
    /// The planned exports, and warnings about ignored variables.
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
        self.report_unreadable();
        let telemetry = &self.framework.telemetry;
        // The order of OpenTelemetry. The file comes after the variables, as everywhere.
        let (named, attributes): (Vec<_>, Vec<_>) = self
            .pairs("OTEL_RESOURCE_ATTRIBUTES", is_attribute)
            .into_iter()
            .partition(|(key, _)| key == "service.name");
        let of_attributes = named.into_iter().map(|(_, name)| name).find(|name| !name.is_empty());
        let service =
            self.text("OTEL_SERVICE_NAME").or(of_attributes).or_else(|| telemetry.service_name.clone());
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
            delta: self.is("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", ("delta", "cumulative")),
            service: service.unwrap_or_else(|| package.to_owned()),
            attributes,
            propagates: self.propagates(),
        };
        if self.is("OTEL_SDK_DISABLED", ("true", "false")) {
            (plan.traces, plan.metrics, plan.logs) = (Target::Off, Target::Off, Target::Off);
        }
        (plan, self.ignored)
    }

    /// The target of a signal: switched on or off, set, or the collector if one is named.
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
        let of_exporter = |name: &str| match name {
            "none" => Some(Target::Off),
            "otlp" => Some(Target::Otlp),
            "console" => Some(Target::Console),
            _ => None,
        };
        let exporter = format!("OTEL_{signal}_EXPORTER");
        let mut targets = self.words(&exporter, "otlp, console or none", of_exporter).into_iter();
        if let Some((_, target)) = targets.next() {
            for (part, _) in targets {
                self.ignore_part(&exporter, part, "a single exporter");
            }
            return target;
        }
        if self.of_signal(signal, "ENDPOINT").is_some() { Target::Otlp } else { Target::Off }
    }

    /// Whether trace contexts propagate. `tracecontext` is the only supported format.
    fn propagates(&mut self) -> bool {
        let of_name = |name: &str| match name {
            "tracecontext" => Some(true),
            "none" => Some(false),
            _ => None,
        };
        let named = self.words("OTEL_PROPAGATORS", "tracecontext or none", of_name);
        named.is_empty() || named.iter().any(|(_, propagates)| *propagates)
    }

    /// The collector of a signal. An address without a scheme means plain HTTP.
    fn endpoint(&mut self, signal: &str) -> Endpoint {
        let protocol = self.protocol(signal);
        let (own_name, shared_name) =
            (format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"), "OTEL_EXPORTER_OTLP_ENDPOINT");
        let own = self.text(&own_name);
        let set_by = self.place(if own.is_some() { &own_name } else { shared_name });
        let default = if protocol == Protocol::Grpc { "localhost:4317" } else { "localhost:4318" };
        let shared = self.text(shared_name);
        let mut url = own.clone().or(shared).unwrap_or_else(|| default.to_owned());
        if !url.contains("://") {
            url.insert_str(0, "http://");
        }
        if protocol == Protocol::Http && own.is_none() {
            url = format!("{}/v1/{}", url.trim_end_matches('/'), signal.to_ascii_lowercase());
        }
        let mut headers = self.headers("OTEL_EXPORTER_OTLP_HEADERS");
        for (name, value) in self.headers(&format!("OTEL_EXPORTER_OTLP_{signal}_HEADERS")) {
            headers.retain(|(general, _)| *general != name);
            headers.push((name, value));
        }
        let own = self.millis(&format!("OTEL_EXPORTER_OTLP_{signal}_TIMEOUT"));
        let timeout = own.or_else(|| self.millis("OTEL_EXPORTER_OTLP_TIMEOUT"));
        Endpoint { url, set_by, protocol, headers, timeout: timeout.unwrap_or(Endpoint::default().timeout) }
    }

    /// The headers that a variable names, in lower case.
    fn headers(&mut self, name: &str) -> Vec<(String, String)> {
        let headers = self.pairs(name, is_header).into_iter();
        headers.map(|(name, value)| (name.to_ascii_lowercase(), value)).collect()
    }

    fn protocol(&mut self, signal: &str) -> Protocol {
        // An invalid variable leaves the choice to the next one.
        for name in
            [format!("OTEL_EXPORTER_OTLP_{signal}_PROTOCOL"), "OTEL_EXPORTER_OTLP_PROTOCOL".to_owned()]
        {
            match self.text(&name).as_deref() {
                None => {}
                Some("grpc") => return Protocol::Grpc,
                Some("http/protobuf") => return Protocol::Http,
                Some(_) => self.ignore(&name, "grpc or http/protobuf"),
            }
        }
        Protocol::Grpc
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

    /// Whether a variable has the first of two values. Any other value than the two is ignored.
    fn is(&mut self, name: &str, (value, other): (&str, &str)) -> bool {
        let Some(text) = self.text(name) else { return false };
        let is = text.eq_ignore_ascii_case(value);
        if !is && !text.eq_ignore_ascii_case(other) {
            self.ignore(name, &format!("{value} or {other}"));
        }
        is
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

    /// Parses `key=value,key=value` with percent-encoded values. `fits` checks a part and returns what is expected.
    fn pairs(
        &mut self,
        name: &str,
        fits: fn(&str, &str) -> Result<(), &'static str>,
    ) -> Vec<(String, String)> {
        let text = self.text(name).unwrap_or_default();
        let mut pairs: Vec<(usize, String, String)> = Vec::new();
        // An empty part has no meaning.
        for (at, part) in text.split(',').enumerate().filter(|(_, part)| !part.trim().is_empty()) {
            let part_number = at + 1;
            let Some((key, value)) = part.split_once('=') else {
                self.ignore_part(name, part_number, "name=value");
                continue;
            };
            let Ok(value) = percent_decode_str(value.trim()).decode_utf8() else {
                self.ignore_part(name, part_number, "a percent-encoded value that is UTF-8");
                continue;
            };
            let key = key.trim();
            match fits(key, &value) {
                Ok(()) => pairs.push((part_number, key.to_owned(), value.into_owned())),
                Err(expected) => self.ignore_part(name, part_number, expected),
            }
        }
        // The last value of a repeated key counts.
        let is_last = |at: usize, key: &str| {
            !pairs.iter().skip(at + 1).any(|(_, later, _)| later.eq_ignore_ascii_case(key))
        };
        let last: Vec<bool> = pairs.iter().enumerate().map(|(at, (_, key, _))| is_last(at, key)).collect();
        let mut kept = Vec::new();
        for ((part, key, value), last) in pairs.into_iter().zip(last) {
            if last {
                kept.push((key, value));
            } else {
                self.ignore_part(name, part, "each name once: a later part sets it again");
            }
        }
        kept
    }

    /// The parts of a list of words that have a meaning, each with its number from 1.
    fn words<T>(
        &mut self,
        name: &str,
        expected: &str,
        meaning: impl Fn(&str) -> Option<T>,
    ) -> Vec<(usize, T)> {
        let text = self.text(name).unwrap_or_default();
        let mut words = Vec::new();
        for (at, word) in text.split(',').map(str::trim).enumerate().filter(|(_, word)| !word.is_empty()) {
            match meaning(&word.to_ascii_lowercase()) {
                Some(meaning) => words.push((at + 1, meaning)),
                None => self.ignore_part(name, at + 1, expected),
            }
        }
        words
    }

    /// Warns of unreadable variables of OpenTelemetry in a file.
    fn report_unreadable(&mut self) {
        let variables = &self.framework.variables;
        let is_in_force = |setting: &&Setting| {
            variables
                .iter()
                .rfind(|other| other.name == setting.name)
                .is_some_and(|last| last.problem.is_some())
        };
        let unreadable = variables.iter().filter(|setting| setting.name.starts_with("OTEL_"));
        for setting in unreadable.filter(is_in_force) {
            if let Some(problem) = &setting.problem {
                let warning = format!("{} is ignored: {}", self.place(&setting.name), problem.what);
                self.warn(warning);
            }
        }
    }

    fn ignore(&mut self, name: &str, expected: &str) {
        let warning = format!("{} is ignored: expected {expected}", self.place(name));
        self.warn(warning);
    }

    fn ignore_part(&mut self, name: &str, part: usize, expected: &str) {
        let warning = format!("{}: part {part} is ignored: expected {expected}", self.place(name));
        self.warn(warning);
    }

    /// Adds a warning once.
    fn warn(&mut self, warning: String) {
        if !self.ignored.contains(&warning) {
            self.ignored.push(warning);
        }
    }

    /// The origin of a variable.
    fn place(&self, name: &str) -> String {
        let setting = self.framework.variables.iter().rfind(|setting| setting.name == name);
        let origin = setting.map(|setting| match &setting.problem {
            Some(problem) => &problem.place,
            None => &setting.origin,
        });
        match origin {
            Some(origin @ (Origin::Span(..) | Origin::File(_))) => {
                format!("{}: {name}", origin.at().unwrap_or_default())
            }
            _ => format!("environment variable {name}"),
        }
    }
}

/// Checks that a pair can be an attribute of the resource.
fn is_attribute(key: &str, _: &str) -> Result<(), &'static str> {
    if key.is_empty() { Err("a name before the `=`") } else { Ok(()) }
}

/// Checks that a pair can be a header, for both gRPC and HTTP.
fn is_header(name: &str, value: &str) -> Result<(), &'static str> {
    /// The headers that the protocols set themselves.
    const OWN: [&str; 9] = [
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "te",
        "trailer",
        "transfer-encoding",
        "user-agent",
    ];
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let lower = name.to_ascii_lowercase();
    if name.is_empty() || !name.bytes().all(token) {
        return Err("the name of a header before the `=`");
    }
    if OWN.contains(&lower.as_str()) || lower.starts_with("grpc-") || lower.ends_with("-bin") {
        return Err("a header that the protocol does not set itself");
    }
    let visible = value.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte));
    if visible { Ok(()) } else { Err("a value of ASCII characters without line breaks") }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::settings::{Options, load};

    #[derive(Deserialize)]
    struct Nothing {}

    /// The plan of these variables, and the warnings.
    fn planned(variables: &[(&str, &str)]) -> (ExportPlan, Vec<String>) {
        planned_with(variables, "")
    }

    /// The same with a settings file.
    fn planned_with(variables: &[(&str, &str)], toml: &str) -> (ExportPlan, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ergon.toml"), toml).unwrap();
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
    fn the_programs_name_is_that_of_the_variables_in_their_order_then_that_of_the_file() {
        let name = |variables: &[(&str, &str)], toml: &str| planned_with(variables, toml).0.service;
        let (own, attributes) =
            (("OTEL_SERVICE_NAME", "own"), ("OTEL_RESOURCE_ATTRIBUTES", "a=b,service.name=of%20all,c=d"));
        let toml = "[telemetry]\nservice_name = 'of the file'\n";
        assert_eq!(name(&[own, attributes], toml), "own");
        assert_eq!(name(&[attributes], toml), "of all");
        assert_eq!(name(&[("OTEL_RESOURCE_ATTRIBUTES", "service.name=")], toml), "of the file");
        assert_eq!((name(&[], toml), name(&[], "")), ("of the file".to_owned(), "shop".to_owned()));
        let (plan, ignored) = planned(&[attributes]);
        let rest = [("a".to_owned(), "b".to_owned()), ("c".to_owned(), "d".to_owned())];
        assert_eq!((plan.attributes, ignored), (rest.to_vec(), Vec::new()));
    }

    #[test]
    fn each_part_of_a_list_that_cannot_be_used_is_reported_once_without_its_value() {
        let (plan, ignored) = planned(&[
            ("OTEL_RESOURCE_ATTRIBUTES", "a=1,S3cr3t,,=S3cr3t,b=%FFS3cr3t,c=2,a=3,"),
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                "x=1,S3cr3t,S3 cr3t=S3cr3t,y=S3cr3t%0a,z=S3cr3t\u{fc},Host=S3cr3t",
            ),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "X=2,x=3"),
            ("OTEL_PROPAGATORS", "tracecontext,baggage,S3cr3t"),
            ("OTEL_TRACES_EXPORTER", "S3cr3t,console,otlp"),
            ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "http/S3cr3t"),
            ("OTEL_SDK_DISABLED", "S3cr3t"),
        ]);
        let all = ignored.join("\n");
        for warning in [
            "OTEL_RESOURCE_ATTRIBUTES: part 2 is ignored: expected name=value",
            "OTEL_RESOURCE_ATTRIBUTES: part 4 is",
            "OTEL_RESOURCE_ATTRIBUTES: part 5 is",
            "OTEL_RESOURCE_ATTRIBUTES: part 1 is ignored: expected each name once: a later part sets it again",
            "OTEL_EXPORTER_OTLP_HEADERS: part 2 is",
            "OTEL_EXPORTER_OTLP_HEADERS: part 3 is",
            "OTEL_EXPORTER_OTLP_HEADERS: part 4 is",
            "OTEL_EXPORTER_OTLP_HEADERS: part 5 is",
            "OTEL_EXPORTER_OTLP_HEADERS: part 6 is",
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS: part 1 is",
            "OTEL_PROPAGATORS: part 2 is ignored: expected tracecontext or none",
            "OTEL_PROPAGATORS: part 3 is",
            "OTEL_TRACES_EXPORTER: part 1 is",
            "OTEL_TRACES_EXPORTER: part 3 is ignored: expected a single exporter",
            "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL is ignored: expected grpc or http/protobuf",
            "OTEL_SDK_DISABLED is ignored: expected true or false",
        ] {
            assert_eq!(all.matches(warning).count(), 1, "{warning} in:\n{all}");
        }
        assert_eq!(ignored.len(), 16, "{all}");
        assert!(!all.contains("S3") && !format!("{plan:?}").contains("S3"), "{all}");
        assert_eq!((plan.traces, plan.propagates), (Target::Console, true));
        assert_eq!(plan.endpoints.traces.headers, [("x".to_owned(), "3".to_owned())]);
        assert_eq!(plan.endpoints.logs.headers, [("x".to_owned(), "1".to_owned())]);
        assert!(!planned(&[("OTEL_PROPAGATORS", "none")]).0.propagates);
    }

    #[test]
    fn a_line_of_opentelemetry_that_cannot_be_read_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".env"), "OTEL_SERVICE_NAME=my shop\nOTHER=a b\n").unwrap();
        let options = Options { working_folder: folder.path().into(), ..Options::default() };
        let (plan, ignored) = load::<Nothing>(&options).unwrap().framework.exports("shop");
        assert_eq!((plan.service.as_str(), ignored.len()), ("shop", 1), "{ignored:?}");
        let warning = ".env:1:21: OTEL_SERVICE_NAME is ignored: a value without quotes contains a space";
        assert!(ignored.iter().any(|line| line.ends_with(warning)), "{ignored:?}");
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
