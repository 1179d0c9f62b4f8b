//! Checks the rules of `consumer(…)`, `producer(…)` and their steps. They are the rules of `ergon-schema`, which also
//! hold for the settings at run time.

use std::collections::HashSet;
use std::time::Duration;

use ergon_schema::{Bound, CONSUMER, Key, Kind, PRODUCER, RETRY, SlotUse, Value as Plain, Word};
use quote::ToTokens;
use syn::spanned::Spanned;
use syn::{Expr, ExprLit, Ident, Lit};

use super::duration::parse_duration;
use super::keys::{elsewhere, names};
use crate::diagnostics::{Problems, suggestion};
use crate::model::{Connector, Policy, Role, Setting, SettingValue};
use crate::parse::{Entry, Value};

/// Returns the connector that `from` names, before the checks.
pub(super) fn from(section: &Entry) -> Option<Ident> {
    let Value::List(entries, _) = &section.value else { return None };
    let from = entries.iter().find(|entry| entry.key == "from")?;
    match &from.value {
        Value::Is(Expr::Path(path)) => path.path.get_ident().cloned(),
        _ => None,
    }
}

/// Makes the policy of `consumer(…)`.
pub(super) fn consumer(section: &Entry, connectors: &[Connector], problems: &mut Problems) -> Policy {
    Policy { role: "consumer", settings: role(section, CONSUMER, connectors, problems) }
}

/// Makes the policy of `producer(…)`.
pub(super) fn producer(section: &Entry, connectors: &[Connector], problems: &mut Problems) -> Policy {
    Policy { role: "producer", settings: role(section, PRODUCER, connectors, problems) }
}

/// Makes the settings of a step's keys, without a task.
pub(super) fn retry(entries: &[Entry], section: &str, problems: &mut Problems) -> Vec<Setting> {
    Checker { connectors: &[], problems }.settings(entries, section, RETRY)
}

/// Returns the number of worker processes.
pub(super) fn workers(entry: &Entry, problems: &mut Problems) -> Option<u64> {
    const KIND: Kind = Kind::Count {
        least: Some(Bound { value: 1, rule: "must be at least 1" }),
        most: Some(Bound { value: u32::MAX as u64, rule: "must be at most 4294967295" }),
        maybe: false,
    };
    let plain = Checker { connectors: &[], problems }.plain(entry, KIND)?;
    match plain {
        Plain::Count(workers) => Some(workers),
        _ => None,
    }
}

/// Returns the value of a section that needs no value: `blocking`.
pub(super) fn stands_alone(entry: &Entry, problems: &mut Problems) -> bool {
    Checker { connectors: &[], problems }.flag(entry).unwrap_or(true)
}

fn role(
    section: &Entry,
    keys: &'static [Key],
    connectors: &[Connector],
    problems: &mut Problems,
) -> Vec<Setting> {
    let name = section.key.to_string();
    match &section.value {
        Value::List(entries, _) => Checker { connectors, problems }.settings(entries, &name, keys),
        Value::Nothing | Value::Unreadable => Vec::new(),
        Value::Is(_) | Value::Typed(_) => {
            problems.at(
                &section.key,
                format!("`{name}` takes keys in parentheses; write `{name}(concurrency = 8)`"),
            );
            Vec::new()
        }
    }
}

struct Checker<'a> {
    connectors: &'a [Connector],
    problems: &'a mut Problems,
}

impl Checker<'_> {
    fn settings(&mut self, entries: &[Entry], section: &str, keys: &'static [Key]) -> Vec<Setting> {
        let mut seen = HashSet::new();
        let mut settings = Vec::new();
        for entry in entries {
            let name = entry.key.to_string();
            let Some(key) = Key::find(keys, &name) else {
                let hint = elsewhere(&name, section).unwrap_or_else(|| suggestion(&name, names(keys)));
                self.problems.at(&entry.key, format!("`{name}` is not a key of `{section}`; {hint}"));
                continue;
            };
            if !seen.insert(name.clone()) {
                self.problems.at(&entry.key, format!("`{name}` is given twice; keep one of them"));
                continue;
            }
            if let Some(value) = self.value(entry, key.kind) {
                settings.push(Setting { key: entry.key.clone(), kind: key.kind, value });
            }
        }
        self.check_together(keys, entries, &settings);
        settings
    }

    fn value(&mut self, entry: &Entry, kind: Kind) -> Option<SettingValue> {
        match (kind, &entry.value) {
            (Kind::Step, Value::Is(path @ Expr::Path(_))) => {
                Some(SettingValue::Constant(Box::new(path.clone())))
            }
            (Kind::Step, _) => {
                let constant = format!(", or `{} = A_CONST` with a `const A_CONST: RetryPolicy`", entry.key);
                self.nested(entry, RETRY, &constant).map(SettingValue::Group)
            }
            (Kind::Group { keys, .. }, _) => self.nested(entry, keys, "").map(SettingValue::Group),
            (Kind::Slot(need), _) => self.slot(entry, need).map(SettingValue::Slot),
            _ => self.plain(entry, kind).map(SettingValue::Plain),
        }
    }

    /// Reads a literal value, and checks it by the same rules as at run time.
    fn plain(&mut self, entry: &Entry, kind: Kind) -> Option<Plain<'static>> {
        let value = match kind {
            Kind::Count { .. } => Plain::Count(self.count(entry)?),
            Kind::Number { .. } => Plain::Number(self.number(entry)?),
            Kind::Flag => Plain::Flag(self.flag(entry)?),
            Kind::Limit { or_none: true } if text(entry).is_some_and(|text| text.value() == "none") => {
                Plain::Absent
            }
            Kind::Time { .. } | Kind::Limit { .. } => Plain::Time(self.time(entry)?),
            Kind::Word { words, .. } => Plain::Word(self.one_of(entry, words)?),
            Kind::Slot(_) | Kind::Step | Kind::Group { .. } => return None,
        };
        let Some(rule) = kind.broken_by(&value) else { return Some(value) };
        let without = match kind {
            Kind::Limit { or_none: true } => "; for no limit, write \"none\"",
            Kind::Limit { or_none: false } => "; for no limit, remove the key",
            _ => "",
        };
        self.problems.at(written(entry), format!("`{}` {rule}{without}", entry.key));
        None
    }

    fn nested(&mut self, entry: &Entry, keys: &'static [Key], or: &str) -> Option<Vec<Setting>> {
        let name = entry.key.to_string();
        if let Value::List(entries, _) = &entry.value {
            return Some(self.settings(entries, &name, keys));
        }
        if matches!(entry.value, Value::Unreadable) {
            return None;
        }
        let example = keys.first().map(|key| format!("{} = {}", key.name, example(key.kind)));
        let example = example.unwrap_or_default();
        self.problems
            .at(&entry.key, format!("`{name}` takes keys in parentheses; write `{name}({example})`{or}"));
        None
    }

    fn count(&mut self, entry: &Entry) -> Option<u64> {
        let Value::Is(Expr::Lit(ExprLit { lit: Lit::Int(number), .. })) = &entry.value else {
            return self.expected(entry, "a whole number", "8");
        };
        match number.base10_parse::<u64>() {
            Ok(count) => Some(count),
            Err(_) => self.expected(entry, "a whole number that fits 64 bits", "8"),
        }
    }

    fn number(&mut self, entry: &Entry) -> Option<f64> {
        let value = match &entry.value {
            Value::Is(Expr::Lit(ExprLit { lit: Lit::Float(number), .. })) => {
                number.base10_parse::<f64>().ok()
            }
            Value::Is(Expr::Lit(ExprLit { lit: Lit::Int(number), .. })) => number.base10_parse::<f64>().ok(),
            _ => None,
        };
        // A literal beyond the greatest number reads as infinity.
        let value = value.filter(|value| value.is_finite());
        value.or_else(|| self.expected(entry, "a number", "2.0"))
    }

    fn flag(&mut self, entry: &Entry) -> Option<bool> {
        match &entry.value {
            Value::Nothing => Some(true),
            Value::Is(Expr::Lit(ExprLit { lit: Lit::Bool(flag), .. })) => Some(flag.value),
            _ => self.expected(entry, "`true`, `false` or no value", "true"),
        }
    }

    fn time(&mut self, entry: &Entry) -> Option<Duration> {
        let Some(text) = text(entry) else { return self.expected(entry, "a duration in quotes", "\"30s\"") };
        let written = text.value();
        let time = parse_duration(&written);
        if time.is_none() {
            let message =
                format!("`{written}` is not a duration; write one such as \"500ms\", \"30s\" or \"1h\"");
            self.problems.at(text, message);
        }
        time
    }

    fn one_of(&mut self, entry: &Entry, words: &'static [Word]) -> Option<&'static str> {
        let Some(text) = text(entry) else {
            let example = words.first().map(|word| format!("\"{}\"", word.word)).unwrap_or_default();
            return self.expected(entry, "a word in quotes", &example);
        };
        let written = text.value();
        let found = words.iter().map(|word| word.word).find(|word| *word == written);
        if found.is_none() {
            let near = suggestion(&written, words.iter().map(|word| word.word));
            self.problems.at(text, format!("`{written}` is not a value of `{}`; {near}", entry.key));
        }
        found
    }

    /// Returns the connector that a key names.
    fn slot(&mut self, entry: &Entry, need: SlotUse) -> Option<String> {
        let name = match &entry.value {
            Value::Is(Expr::Path(path)) => path.path.get_ident().cloned(),
            _ => None,
        };
        let Some(name) = name else { return self.expected(entry, "the name of a connector", "dlq") };
        let Some(index) = self.connectors.iter().position(|connector| connector.name == name) else {
            let names: Vec<_> = self.connectors.iter().map(|connector| connector.name.to_string()).collect();
            let near = suggestion(&name.to_string(), names.iter().map(String::as_str));
            self.problems.at(&name, format!("`{name}` is not a connector of this task; {near}"));
            return None;
        };
        let role = self.connectors.get(index).map(|connector| &connector.role)?;
        let wrong = match (need, role) {
            (SlotUse::Source, Role::Source | Role::Duplex) | (SlotUse::Sink, Role::Sink | Role::Duplex) => {
                None
            }
            (SlotUse::Source, _) => Some(format!("`{name}` is not a source; write `{name}: Source`")),
            (SlotUse::Sink, Role::Source) => {
                let message = "is a source, so it cannot take dead letters; name a sink, such as `dlq: Sink`";
                Some(format!("`{name}` {message}"))
            }
            (SlotUse::Sink, _) => Some(format!("`{name}` is not a sink; write `{name}: Sink`")),
        };
        if let Some(message) = &wrong {
            self.problems.at(&name, message);
        }
        wrong.is_none().then(|| name.to_string())
    }

    /// Checks the rules for several values together: a cap must not be smaller than its backoff.
    fn check_together(&mut self, keys: &'static [Key], entries: &[Entry], settings: &[Setting]) {
        let value = |key: &Key| {
            let setting = settings.iter().find(|setting| setting.key == key.name);
            match setting.map(|setting| &setting.value) {
                Some(SettingValue::Plain(value)) => *value,
                _ => Plain::Absent,
            }
        };
        let values: Vec<_> = keys.iter().map(value).collect();
        for (key, value) in keys.iter().zip(&values) {
            let entry = entries.iter().find(|entry| entry.key == key.name);
            if let (Some(entry), Some(rule)) = (entry, key.broken_among(value, keys, &values)) {
                self.problems.at(written(entry), format!("`{}` {rule}", entry.key));
            }
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
        let why =
            if is_written { "" } else { ", written as a literal because a macro cannot compute a value" };
        self.problems.here(span, format!("`{key}` takes {what}{why}; write `{key} = {example}`"));
        None
    }
}

/// Returns whether the macro cannot know the value of an expression, because the compiler or the program computes it.
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

/// Returns an example of a value.
fn example(kind: Kind) -> &'static str {
    match kind {
        Kind::Count { .. } => "3",
        Kind::Number { .. } => "2.0",
        Kind::Flag => "true",
        Kind::Time { .. } | Kind::Limit { .. } => "\"1s\"",
        Kind::Word { .. } | Kind::Slot(_) | Kind::Step | Kind::Group { .. } => "…",
    }
}

/// Returns the tokens of an entry's value, else its key.
fn written(entry: &Entry) -> &dyn ToTokens {
    match &entry.value {
        Value::Is(expr) => expr,
        _ => &entry.key,
    }
}

fn text(entry: &Entry) -> Option<&syn::LitStr> {
    match &entry.value {
        Value::Is(Expr::Lit(ExprLit { lit: Lit::Str(text), .. })) => Some(text),
        _ => None,
    }
}
