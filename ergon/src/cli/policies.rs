//! Lists the policy values of a task as settings write them, with the layer that set each value.

use std::fmt::Display;

use ergon_schema::{Key, Kind, Policy, Value};

use crate::policy::Policies;
use crate::policy::duration::display;
use crate::settings::{Framework, Origin};
use crate::task::Outline;

/// One effective value.
#[derive(Debug)]
pub(crate) struct Setting {
    /// With dots: `process.max_attempts`.
    pub(crate) key: String,
    /// As in TOML.
    pub(crate) value: String,
    /// The layer that set it: a line in a file, a variable, `TaskConfig`, `#[ergon::task]`, or `default`.
    pub(crate) layer: String,
}

/// The effective policy values of a task, by role.
pub(crate) fn settings(
    outline: &Outline,
    policies: &Policies,
    framework: &Framework,
) -> Vec<(&'static str, Vec<Setting>)> {
    let roles = policies.roles().map(|(role, policy)| {
        let (config, attribute) = (outline.policies.of(role), outline.attribute.of(role));
        let (config, attribute) = (config.map(written), attribute.map(written));
        let settings = written(policy).into_iter().map(|Written { key, value }| {
            let path = format!("{}.{key}", role.as_str());
            let by_settings = framework.origin(outline.name, &path).and_then(Origin::at);
            let set = |layer: &Option<Vec<Written>>| {
                layer.iter().flatten().find(|other| other.key == key).map(|other| other.value.clone())
            };
            let by_task = match (set(&config) != set(&attribute), outline.gives(&path)) {
                (true, _) => "TaskConfig",
                (false, true) => "#[ergon::task]",
                (false, false) => "default",
            };
            Setting { key, value, layer: by_settings.unwrap_or_else(|| by_task.to_owned()) }
        });
        (role.as_str(), settings.collect())
    });
    roles.collect()
}

/// A key with dots, and its value as in TOML.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Written {
    pub(crate) key: String,
    pub(crate) value: String,
}

/// The values of a policy in the order of a settings table: its own keys first, then those of its steps and groups.
pub(crate) fn written(policy: &dyn Policy) -> Vec<Written> {
    let values = policy.values();
    let all = || policy.keys().iter().zip(&values);
    let own =
        all().filter_map(|(key, value)| Some(Written { key: key.name.to_owned(), value: toml(key, value)? }));
    let groups = all().filter_map(|(key, value)| match value {
        Value::Group(group) => Some((key.name, *group)),
        _ => None,
    });
    let inner = groups.flat_map(|(name, group)| {
        let within = move |inner: Written| Written { key: format!("{name}.{}", inner.key), ..inner };
        written(group).into_iter().map(within)
    });
    own.chain(inner).collect()
}

/// A value in TOML; none where there is nothing to write.
pub(crate) fn toml(key: &Key, value: &Value<'_>) -> Option<String> {
    match (value, key.kind) {
        (Value::Count(count), _) => Some(count.to_string()),
        (Value::Number(number), _) => Some(number.to_string()),
        (Value::Flag(flag), _) => Some(flag.to_string()),
        (Value::Time(time), _) => Some(quoted(display(*time))),
        (Value::Word(word) | Value::Slot(word), _) => Some(quoted(word)),
        (Value::Absent, Kind::Limit { or_none: true }) => Some(quoted("none")),
        (Value::Absent | Value::Group(_), _) => None,
    }
}

fn quoted(text: impl Display) -> String {
    format!("\"{text}\"")
}
