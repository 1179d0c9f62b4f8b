//! The rules of `consumer(…)`, `producer(…)` and the steps in them.

use std::collections::HashSet;
use std::time::Duration;

use syn::spanned::Spanned;
use syn::{Expr, ExprLit, Ident, Lit};

use super::keys::{CONSUMER, EMPTY_QUEUE, Kind, Need, PRODUCER, RETRY, elsewhere};
use crate::diagnostics::{Problems, suggestion};
use crate::model::{Connector, Policy, Role, Setting, SettingValue};
use crate::parse::{Entry, Value};

/// The connector that `from` names, before anything is checked.
pub(super) fn from(section: &Entry) -> Option<Ident> {
    let Value::List(entries, _) = &section.value else { return None };
    let from = entries.iter().find(|entry| entry.key == "from")?;
    match &from.value {
        Value::Is(Expr::Path(path)) => path.path.get_ident().cloned(),
        _ => None,
    }
}

/// The policy of `consumer(…)`.
pub(super) fn consumer(section: &Entry, connectors: &[Connector], problems: &mut Problems) -> Policy {
    Policy { role: "consumer", settings: role(section, CONSUMER, connectors, problems) }
}

/// The policy of `producer(…)`.
pub(super) fn producer(section: &Entry, connectors: &[Connector], problems: &mut Problems) -> Policy {
    Policy { role: "producer", settings: role(section, PRODUCER, connectors, problems) }
}

/// The settings of a step's keys, outside of any task.
pub(super) fn retry(entries: &[Entry], section: &str, problems: &mut Problems) -> Vec<Setting> {
    Checker { connectors: &[], problems }.settings(entries, section, RETRY)
}

/// A whole number of at least 1.
pub(super) fn at_least_one(entry: &Entry, problems: &mut Problems) -> Option<u64> {
    Checker { connectors: &[], problems }.count(entry, 1)
}

/// A section that stands alone: `blocking`.
pub(super) fn stands_alone(entry: &Entry, problems: &mut Problems) -> bool {
    Checker { connectors: &[], problems }.flag(entry).unwrap_or(true)
}

fn role(
    section: &Entry,
    keys: &[(&str, Kind)],
    connectors: &[Connector],
    problems: &mut Problems,
) -> Vec<Setting> {
    let name = section.key.to_string();
    match &section.value {
        Value::List(entries, _) => Checker { connectors, problems }.settings(entries, &name, keys),
        Value::Nothing | Value::Unreadable => Vec::new(),
        Value::Is(_) | Value::Typed(_) => {
            problems.at(&section.key, format!("`{name}` is a list; write `{name}(concurrency = 8)`"));
            Vec::new()
        }
    }
}

struct Checker<'a> {
    connectors: &'a [Connector],
    problems: &'a mut Problems,
}

impl Checker<'_> {
    fn settings(&mut self, entries: &[Entry], section: &str, keys: &[(&str, Kind)]) -> Vec<Setting> {
        let mut seen = HashSet::new();
        let mut settings = Vec::new();
        for entry in entries {
            let name = entry.key.to_string();
            let Some((_, kind)) = keys.iter().find(|(key, _)| *key == name) else {
                let hint = elsewhere(&name, section)
                    .unwrap_or_else(|| suggestion(&name, keys.iter().map(|(key, _)| *key)));
                self.problems.at(&entry.key, format!("`{name}` is no key of `{section}`; {hint}"));
                continue;
            };
            if !seen.insert(name.clone()) {
                self.problems.at(&entry.key, format!("`{name}` is given twice; keep one of them"));
                continue;
            }
            if let Some(value) = self.value(entry, *kind) {
                settings.push(Setting { key: entry.key.clone(), value });
            }
        }
        self.check_cap(entries, &settings);
        settings
    }

    fn value(&mut self, entry: &Entry, kind: Kind) -> Option<SettingValue> {
        match kind {
            Kind::Count => self.count(entry, 1).map(SettingValue::Count),
            Kind::Any => self.count(entry, 0).map(SettingValue::Count),
            Kind::Limit => self.count(entry, 0).map(SettingValue::SomeCount),
            Kind::Number(least, most) => self.number(entry, least, most).map(SettingValue::Number),
            Kind::Flag => self.flag(entry).map(SettingValue::Flag),
            Kind::Time => self.time(entry).map(SettingValue::Time),
            Kind::MaybeTime => self.time(entry).map(|time| SettingValue::MaybeTime(Some(time))),
            Kind::TimeLimit => {
                self.limit(entry, "leave it out").map(|time| SettingValue::MaybeTime(Some(time)))
            }
            Kind::TimeLimitOrNone if text(entry).is_some_and(|text| text.value() == "none") => {
                Some(SettingValue::MaybeTime(None))
            }
            Kind::TimeLimitOrNone => {
                self.limit(entry, "write \"none\"").map(|time| SettingValue::MaybeTime(Some(time)))
            }
            Kind::OneOf(name, words) => {
                self.one_of(entry, words).map(|word| SettingValue::Variant(name, word))
            }
            Kind::Slot(need) => self.slot(entry, need).map(SettingValue::Slot),
            Kind::EmptyQueue => self.nested(entry, EMPTY_QUEUE).map(SettingValue::EmptyQueue),
            Kind::Retry => match &entry.value {
                Value::Is(path @ Expr::Path(_)) => Some(SettingValue::RetryConst(Box::new(path.clone()))),
                _ => self.nested(entry, RETRY).map(SettingValue::Retry),
            },
        }
    }

    fn nested(&mut self, entry: &Entry, keys: &[(&str, Kind)]) -> Option<Vec<Setting>> {
        let name = entry.key.to_string();
        if let Value::List(entries, _) = &entry.value {
            return Some(self.settings(entries, &name, keys));
        }
        if matches!(entry.value, Value::Unreadable) {
            return None;
        }
        let hint = if name == "empty_queue" {
            "write `empty_queue(backoff = \"1s\")`".to_owned()
        } else {
            format!("write `{name}(max_attempts = 3)`, or `{name} = A_CONST` of type `RetryPolicy`")
        };
        self.problems.at(&entry.key, format!("`{name}` takes keys; {hint}"));
        None
    }

    fn count(&mut self, entry: &Entry, least: u64) -> Option<u64> {
        let Value::Is(Expr::Lit(ExprLit { lit: Lit::Int(number), .. })) = &entry.value else {
            return self.expected(entry, "a whole number", "8");
        };
        let Ok(count) = number.base10_parse::<u64>() else {
            return self.expected(entry, "a whole number that fits 64 bits", "8");
        };
        if entry.key != "limit" && entry.key != "prefetch" && u32::try_from(count).is_err() {
            self.problems.at(number, format!("`{}` must be at most {}", entry.key, u32::MAX));
            return None;
        }
        if entry.key == "concurrency" && count > MOST_AT_ONCE {
            self.problems.at(number, format!("`concurrency` must be at most {MOST_AT_ONCE}"));
            return None;
        }
        if count < least {
            self.problems.at(number, format!("`{}` must be at least {least}", entry.key));
            return None;
        }
        Some(count)
    }

    fn number(&mut self, entry: &Entry, least: f64, most: f64) -> Option<f64> {
        let value = match &entry.value {
            Value::Is(Expr::Lit(ExprLit { lit: Lit::Float(number), .. })) => {
                number.base10_parse::<f64>().ok()
            }
            Value::Is(Expr::Lit(ExprLit { lit: Lit::Int(number), .. })) => number.base10_parse::<f64>().ok(),
            _ => None,
        };
        let Some(value) = value else { return self.expected(entry, "a number", "2.0") };
        if (least..=most).contains(&value) {
            return Some(value);
        }
        let range =
            if most < f64::MAX { format!("from {least} to {most}") } else { format!("at least {least}") };
        let Value::Is(expr) = &entry.value else { return None };
        self.problems.at(expr, format!("`{}` must be {range}", entry.key));
        None
    }

    fn flag(&mut self, entry: &Entry) -> Option<bool> {
        match &entry.value {
            Value::Nothing => Some(true),
            Value::Is(Expr::Lit(ExprLit { lit: Lit::Bool(flag), .. })) => Some(flag.value),
            _ => self.expected(entry, "`true` or `false`, or stands alone", "true"),
        }
    }

    fn time(&mut self, entry: &Entry) -> Option<Duration> {
        let Some(text) = text(entry) else { return self.expected(entry, "a duration", "\"30s\"") };
        let written = text.value();
        let time = humantime::parse_duration(&written).ok();
        if time.is_none() {
            let message =
                format!("`{written}` is no duration; write one such as \"500ms\", \"30s\" or \"1h\"");
            self.problems.at(text, message);
        }
        time
    }

    /// A time limit: nobody could keep one of nothing.
    fn limit(&mut self, entry: &Entry, without: &str) -> Option<Duration> {
        let limit = self.time(entry)?;
        if limit.is_zero() {
            let message = format!("`{}` must be longer than 0s; for no limit, {without}", entry.key);
            self.problems.at(&text(entry), message);
            return None;
        }
        Some(limit)
    }

    fn one_of(&mut self, entry: &Entry, words: &[(&str, &'static str)]) -> Option<&'static str> {
        let Some(text) = text(entry) else {
            let example = words.first().map(|(word, _)| format!("\"{word}\"")).unwrap_or_default();
            return self.expected(entry, "a word", &example);
        };
        let written = text.value();
        let found = words.iter().find(|(word, _)| *word == written).map(|(_, variant)| *variant);
        if found.is_none() {
            let near = suggestion(&written, words.iter().map(|(word, _)| *word));
            self.problems.at(text, format!("`{written}` is no `{}`; {near}", entry.key));
        }
        found
    }

    /// The connector that a key names.
    fn slot(&mut self, entry: &Entry, need: Need) -> Option<String> {
        let name = match &entry.value {
            Value::Is(Expr::Path(path)) => path.path.get_ident().cloned(),
            _ => None,
        };
        let Some(name) = name else { return self.expected(entry, "the name of a connector", "dlq") };
        let Some(index) = self.connectors.iter().position(|connector| connector.name == name) else {
            let names: Vec<_> = self.connectors.iter().map(|connector| connector.name.to_string()).collect();
            let near = suggestion(&name.to_string(), names.iter().map(String::as_str));
            self.problems.at(&name, format!("`{name}` is no connector of this task; {near}"));
            return None;
        };
        let role = self.connectors.get(index).map(|connector| &connector.role)?;
        let wrong = match (need, role) {
            (Need::Source, Role::Source | Role::Duplex) | (Need::Sink, Role::Sink | Role::Duplex) => None,
            (Need::Source, _) => Some(format!("`{name}` is no source; write `{name}: Source`")),
            (Need::Sink, Role::Source) => {
                let message = "is a source, so it takes no dead letters; name a sink, such as `dlq: Sink`";
                Some(format!("`{name}` {message}"))
            }
            (Need::Sink, _) => Some(format!("`{name}` is no sink; write `{name}: Sink`")),
        };
        if let Some(message) = &wrong {
            self.problems.at(&name, message);
        }
        wrong.is_none().then(|| name.to_string())
    }

    /// A wait never starts above its cap.
    fn check_cap(&mut self, entries: &[Entry], settings: &[Setting]) {
        let time = |key: &str| {
            settings.iter().find(|setting| setting.key == key).and_then(|setting| match setting.value {
                SettingValue::Time(time) | SettingValue::MaybeTime(Some(time)) => Some(time),
                _ => None,
            })
        };
        let (Some(backoff), Some(cap)) = (time("backoff"), time("backoff_cap")) else { return };
        let written = entries.iter().find(|entry| entry.key == "backoff_cap");
        if let (true, Some(Value::Is(expr))) = (cap < backoff, written.map(|entry| &entry.value)) {
            self.problems.at(expr, "`backoff_cap` must not be smaller than `backoff`");
        }
    }

    fn expected<T>(&mut self, entry: &Entry, what: &str, example: &str) -> Option<T> {
        let span = match &entry.value {
            Value::Nothing => entry.key.span(),
            Value::Is(expr) => expr.span(),
            Value::Typed(ty) => ty.span(),
            Value::List(_, span) => *span,
            Value::Unreadable => return None,
        };
        let key = &entry.key;
        let is_written = !matches!(&entry.value, Value::Is(expr) if is_computed(expr));
        let why = if is_written { "" } else { " that is written out, because a macro computes nothing" };
        self.problems.here(span, format!("`{key}` takes {what}{why}; write `{key} = {example}`"));
        None
    }
}

/// Whether the value of an expression is known only when the program is compiled or runs.
fn is_computed(expr: &Expr) -> bool {
    match expr {
        Expr::Group(group) => is_computed(&group.expr),
        Expr::Binary(_) | Expr::Block(_) | Expr::Call(_) | Expr::Macro(_) | Expr::MethodCall(_) => true,
        Expr::Path(path) => {
            path.path.get_ident().is_none_or(|name| name.to_string().contains(char::is_uppercase))
        }
        _ => false,
    }
}

/// The same as at run time.
const MOST_AT_ONCE: u64 = 100_000;

fn text(entry: &Entry) -> Option<&syn::LitStr> {
    match &entry.value {
        Value::Is(Expr::Lit(ExprLit { lit: Lit::Str(text), .. })) => Some(text),
        _ => None,
    }
}
