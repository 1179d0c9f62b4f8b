//! Writes `tracing` events as log lines.
//!
//! A line inside a transaction carries the task, the transaction's id, the step and the attempt, and the fields of all spans
//! around it. Handlers need no code for that.

use std::fmt::{self, Write as _};
use std::time::SystemTime;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry};

use super::propagation::TraceContext;
use super::{Scope, traces};
use crate::settings::LogFormat;
use crate::transaction::time;

/// The format of the log lines of one handler.
#[derive(Debug, Clone)]
pub(crate) struct LogOptions {
    pub(crate) format: LogFormat,
    pub(crate) colour: bool,
    /// The name of the program, in each JSON line.
    pub(crate) service: String,
    /// The index of this worker process, in each line; none if there is only one process.
    pub(crate) worker: Option<usize>,
}

/// A target of log lines.
pub(crate) type LogLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// A layer that writes lines. `write` receives whole lines.
pub(crate) fn lines(
    filter: EnvFilter,
    options: LogOptions,
    write: impl Fn(&str) + Send + Sync + 'static,
) -> LogLayer {
    Console { options, write }.with_filter(filter).boxed()
}

/// Starts the logs. A subscriber that the program has already set stays.
pub(crate) fn install(layers: Vec<LogLayer>) {
    let _ = Registry::default().with(layers).try_init();
}

struct Console<W> {
    options: LogOptions,
    write: W,
}

impl<S, W> Layer<S> for Console<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: Fn(&str) + Send + Sync + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut extensions = span.extensions_mut();
        // Another handler may have stored them already.
        if extensions.get_mut::<Fields>().is_none() {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            extensions.insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut own = Fields::default();
        event.record(&mut own);
        let mut fields = Map::new();
        for span in
            context.event_scope(event).into_iter().flat_map(tracing_subscriber::registry::Scope::from_root)
        {
            if let Some(outer) = span.extensions().get::<Fields>() {
                fields.extend(outer.values.clone());
            }
        }
        if let Some(worker) = self.options.worker {
            fields.insert("worker".to_owned(), worker.into());
        }
        fields.extend(own.values);
        let target = own.log_target.as_deref().unwrap_or_else(|| event.metadata().target());
        let message = own.message.unwrap_or_default();
        let line = Scope::with_current(|scope| {
            let level = *event.metadata().level();
            let trace = traces::current(scope.and_then(|scope| scope.trace.as_ref()));
            let line =
                Line { time: SystemTime::now(), trace, level, target, message: &message, scope, fields };
            if self.options.format == LogFormat::Json {
                line.json(&self.options.service)
            } else {
                line.pretty(self.options.colour)
            }
        });
        (self.write)(&line);
    }
}

/// The fields of an event or a span.
#[derive(Default)]
struct Fields {
    message: Option<String>,
    /// The target of a record of the `log` crate; the `tracing` event has only the target `log`.
    log_target: Option<String>,
    values: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        let text = |value: Value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        match field.name() {
            "message" => self.message = Some(text(value)),
            "log.target" => self.log_target = Some(text(value)),
            name if name.starts_with("log.") => {}
            name => {
                self.values.insert(name.trim_start_matches("r#").to_owned(), value);
            }
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let causes = std::iter::successors(Some(value), |error| error.source());
        let chain: Vec<String> = causes.map(ToString::to_string).collect();
        self.put(field, chain.join(": ").into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
}

/// One line of the log.
struct Line<'a> {
    time: SystemTime,
    trace: Option<TraceContext>,
    level: Level,
    target: &'a str,
    message: &'a str,
    scope: Option<&'a Scope>,
    fields: Map<String, Value>,
}

impl Line<'_> {
    /// `2026-01-31T12:00:00.000Z INFO  message key=value`. No value breaks the line.
    fn pretty(self, colour: bool) -> String {
        let (paint, dim, end) =
            if colour { (colour_of(self.level), "\x1b[2m", "\x1b[0m") } else { ("", "", "") };
        let time = time::millis(self.time);
        let message = self.message.chars().flat_map(printable).collect::<String>();
        let mut line = format!("{dim}{time}{end} {paint}{:<5}{end} {message}", self.level);
        for (key, value) in self.all_fields() {
            let text = match value {
                Value::String(text) if is_plain(&text) => text,
                other => other.to_string().chars().flat_map(printable).collect(),
            };
            // Writing to a String cannot fail.
            let _ = write!(line, " {dim}{key}={end}{text}");
        }
        line.push('\n');
        line
    }

    fn json(self, service: &str) -> String {
        let head = [
            ("timestamp", time::micros(self.time).to_string()),
            ("level", self.level.as_str().to_owned()),
            ("service", service.to_owned()),
            ("target", self.target.to_owned()),
            ("message", self.message.to_owned()),
        ];
        let mut object: Map<String, Value> =
            head.into_iter().map(|(key, value)| (key.to_owned(), Value::String(value))).collect();
        for (key, value) in self.all_fields() {
            object.entry(key).or_insert(value);
        }
        let mut line = escaped(Value::Object(object).to_string());
        line.push('\n');
        line
    }

    /// The ids of the transaction first, so that no field of the user with the same name hides them.
    fn all_fields(self) -> Map<String, Value> {
        let mut all = Map::new();
        let mut put = |key: &str, value: Value| drop(all.insert(key.to_owned(), value));
        if let Some(scope) = self.scope {
            put("task", scope.task.into());
            put("transaction_id", scope.transaction_id.as_str().into());
            put("step", scope.step.as_str().into());
            put("attempt", scope.attempt.into());
        }
        if let Some(TraceContext { trace_id, span_id, .. }) = self.trace {
            put("trace_id", format!("{trace_id:032x}").into());
            put("span_id", format!("{span_id:016x}").into());
        }
        for (key, value) in self.fields {
            all.entry(key).or_insert(value);
        }
        all
    }
}

fn colour_of(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    }
}

/// Returns whether a text needs no quotes.
fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && !text.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '"' | '=' | '\\'))
}

/// Returns whether a character controls a terminal, or may be read as the end of a line.
fn is_obeyed(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Escapes characters that JSON does not escape: DEL, the control characters above ASCII, and the separators of Unicode.
/// They occur only inside strings.
fn escaped(json: String) -> String {
    if json.is_ascii() && !json.contains('\x7f') {
        return json;
    }
    let mut line = String::with_capacity(json.len());
    for c in json.chars() {
        if is_obeyed(c) {
            // Writing to a String cannot fail.
            let _ = write!(line, "\\u{:04x}", u32::from(c));
        } else {
            line.push(c);
        }
    }
    line
}

/// Escapes a character that controls a terminal or ends a line, so that content cannot forge a line or control the
/// terminal.
fn printable(c: char) -> impl Iterator<Item = char> {
    let escaped = is_obeyed(c).then(|| c.escape_default());
    let plain = escaped.is_none().then_some(c);
    escaped.into_iter().flatten().chain(plain)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::telemetry::Step;

    fn line<'a>(message: &'a str, scope: Option<&'a Scope>, fields: &[(&str, &str)]) -> Line<'a> {
        let fields = fields.iter().map(|(key, value)| ((*key).to_owned(), Value::from(*value))).collect();
        Line {
            time: SystemTime::UNIX_EPOCH,
            trace: None,
            level: Level::INFO,
            target: "orders",
            message,
            scope,
            fields,
        }
    }

    fn scope() -> Scope {
        Scope {
            task: "price",
            transaction_id: "a.csv:7".into(),
            step: Step::Process,
            attempt: 2,
            trace: None,
        }
    }

    /// DEL, the 8-bit CSI, and three line separators that are not ASCII.
    const OBEYED: &str = "é \u{7f} \u{9b}2J \u{85} \u{2028} \u{2029} \0";

    #[test]
    fn a_pretty_line_carries_the_ids_of_its_transaction() {
        let text = line("looked up", Some(&scope()), &[("sku", "A 1")]).pretty(false);
        assert_eq!(
            text,
            "1970-01-01T00:00:00.000Z INFO  looked up task=price transaction_id=a.csv:7 step=process attempt=2 \
             sku=\"A 1\"\n"
        );
    }

    #[test]
    fn a_json_line_is_one_object_whatever_is_in_it() {
        let text =
            line("two\nlines \"q\"", Some(&scope()), &[("k", "\u{1b}[31m\n"), ("l", OBEYED)]).json("shop");
        assert_eq!(text.matches(is_obeyed).collect::<Vec<_>>(), ["\n"]);
        let object: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(object["message"], "two\nlines \"q\"");
        assert_eq!((&object["transaction_id"], &object["attempt"]), (&"a.csv:7".into(), &2.into()));
        assert_eq!((&object["service"], &object["k"]), (&"shop".into(), &"\u{1b}[31m\n".into()));
        assert_eq!(object["l"], OBEYED);
    }

    #[test]
    fn content_cannot_forge_a_pretty_line() {
        let text = line("a\n1970 ERROR b", None, &[("k", "x\ny\u{1b}[2J"), ("l", OBEYED)]).pretty(false);
        assert_eq!(text.matches(is_obeyed).collect::<Vec<_>>(), ["\n"], "{text:?}");
    }

    #[test]
    fn a_field_of_the_user_cannot_hide_the_id() {
        let text = line("m", Some(&scope()), &[("transaction_id", "mine")]).json("shop");
        let object: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(object["transaction_id"], "a.csv:7");
    }

    #[test]
    fn the_fields_of_all_spans_around_a_line_are_shown() {
        // Two handlers, as a console and a file.
        let lines: [Arc<Mutex<String>>; 2] = Default::default();
        let handler = |lines: &Arc<Mutex<String>>| {
            let written = Arc::clone(lines);
            let options =
                LogOptions { format: LogFormat::Json, colour: false, service: "shop".into(), worker: None };
            Console { options, write: move |line: &str| written.lock().unwrap().push_str(line) }
        };
        let subscriber = Registry::default().with(handler(&lines[0])).with(handler(&lines[1]));
        tracing::subscriber::with_default(subscriber, || {
            let outer = tracing::info_span!("outer", customer = "c-1", late = tracing::field::Empty);
            outer.record("late", 7);
            let _outer = outer.entered();
            let _inner = tracing::info_span!("inner", line = 3).entered();
            tracing::warn!(count = 2, "low {}", "stock");
        });
        let [first, second] = lines.each_ref().map(|lines| lines.lock().unwrap().clone());
        let object: Value = serde_json::from_str(&first).unwrap();
        let same: Value = serde_json::from_str(&second).unwrap();
        assert_eq!((&object["late"], &object["line"]), (&same["late"], &same["line"]));
        let fields = ["customer", "late", "line", "count"].map(|key| object[key].clone());
        assert_eq!(Value::from(fields.to_vec()), serde_json::json!(["c-1", 7, 3, 2]));
        assert_eq!((&object["level"], &object["message"]), (&"WARN".into(), &"low stock".into()));
    }
}
