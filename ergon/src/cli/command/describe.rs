//! `describe`: shows the connectors, services and effective policies of tasks.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::list::short_type;
use super::run::{no_threads, refused};
use crate::cli::args::Format;
use crate::cli::graph::{self, Notation};
use crate::cli::output::Output;
use crate::cli::policies::{self, Setting};
use crate::cli::project::Project;
use crate::connector::Shard;
use crate::error::Error;
use crate::runner::{Endpoints, Exit, Plan, Slots, runtime};
use crate::settings::{Framework, Origin};
use crate::task::{Outline, Role, Slot, TaskConfig};

/// Describes one task, or all.
///
/// # Errors
/// The task does not exist, the output cannot be written, or the runtime does not start.
pub(crate) fn describe(
    project: &Project,
    task: Option<&str>,
    format: Format,
    output: &Output,
) -> Result<Exit, Error> {
    let wanted: Vec<&TaskConfig> = match task {
        Some(name) => vec![project.find(name)?],
        None => project.tasks.iter().collect(),
    };
    // Building a connector or a service may need a runtime.
    let runtime = runtime().map_err(no_threads)?;
    let inside = runtime.enter();
    let (mut tasks, mut wrong) = (Vec::new(), Vec::new());
    for task in wanted {
        let mut plan = project.plain(task);
        wrong.append(&mut plan.wrong);
        match Slots::of(&task.outline, &plan.policies) {
            Ok(slots) => tasks.push(described(&task.outline, slots, plan, (&project.framework, output))),
            Err(error) => wrong.push(error),
        }
    }
    drop(inside);
    runtime.shutdown_background();
    if !wrong.is_empty() {
        return Ok(refused(&wrong, output));
    }
    let text = match format {
        Format::Text => tasks.iter().map(text).collect::<Vec<_>>().join("\n"),
        Format::Json => format!("{:#}\n", tasks.iter().map(json).collect::<Value>()),
        Format::Mermaid => graph::draw(&tasks, &Notation::MERMAID),
        Format::Dot => graph::draw(&tasks, &Notation::DOT),
    };
    output.data(&text)?;
    Ok(Exit::Success)
}

fn described<'a>(
    outline: &'a Outline,
    slots: Slots,
    plan: Plan,
    (framework, output): (&Framework, &Output),
) -> Described<'a> {
    let settings = policies::settings(outline, &plan.policies, framework);
    let (workers, workers_layer) = workers(outline, framework);
    let endpoints = endpoints(plan, output);
    Described { outline, slots, endpoints, settings, workers, workers_layer }
}

/// A task with its effective policies.
pub(crate) struct Described<'a> {
    pub(crate) outline: &'a Outline,
    slots: Slots,
    pub(crate) endpoints: Endpoints,
    settings: Vec<(&'static str, Vec<Setting>)>,
    workers: u32,
    workers_layer: String,
}

impl Described<'_> {
    /// The part of a slot in the loop of the task, or its role.
    pub(crate) fn part(&self, name: &str, role: Role) -> &'static str {
        let Slots { source, dead_letter, undeliverable } = self.slots;
        let is = |slot: Option<Slot>| slot.is_some_and(|slot| slot.name == name);
        if is(dead_letter) || is(undeliverable) {
            "dead letter"
        } else if is(source) {
            "source, fetched from"
        } else {
            role.as_str()
        }
    }

    /// The endpoints of a slot, if its connector reports them.
    fn place(&self, slot: &str) -> Option<String> {
        let mut names: Vec<String> = Vec::new();
        for place in self.endpoints.reads_from(slot).iter().chain(self.endpoints.writes_to(slot)) {
            let name = place.to_string();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        (!names.is_empty()).then(|| names.join(", "))
    }
}

/// The endpoints of the slots of a task; unknown if the task cannot be built.
fn endpoints(plan: Plan, output: &Output) -> Endpoints {
    let name = plan.config.name();
    let Ok(built) = plan.build(Shard::default()) else {
        output.warn(&format!(
            "{name} cannot be built, so its endpoints are not shown; `check {name}` reports the reason"
        ));
        return Endpoints::default();
    };
    built.endpoints()
}

/// The number of worker processes of a task, and the layer that set it.
fn workers(outline: &Outline, framework: &Framework) -> (u32, String) {
    let by_settings = framework.origin(outline.name, "workers").and_then(Origin::at);
    let workers = framework.workers(outline.name).unwrap_or(outline.workers);
    let layer = by_settings.unwrap_or_else(|| {
        let given = if outline.gives("workers") { "#[ergon::task]" } else { "default" };
        if outline.workers == outline.attribute_workers { given } else { "TaskConfig" }.to_owned()
    });
    (workers, layer)
}

fn text(task: &Described<'_>) -> String {
    let outline = task.outline;
    let mut text = format!("{}\n", outline.name);
    let names = outline.slots.iter().map(|slot| slot.name);
    let width =
        names.chain(outline.services.iter().map(|(name, _)| *name)).map(str::len).max().unwrap_or_default();
    // Writing to a String cannot fail, here and below.
    for slot in &outline.slots {
        let part = task.part(slot.name, slot.role);
        let place = task.place(slot.name).map(|place| format!(": {place}")).unwrap_or_default();
        let _ = writeln!(text, "  {:<width$}  {} ({part}){place}", slot.name, slot.kind);
    }
    for (name, kind) in &outline.services {
        let _ = writeln!(text, "  {name:<width$}  {} (service)", short_type(kind));
    }
    let _ = writeln!(text, "  workers = {}  # {}", task.workers, task.workers_layer);
    for (role, settings) in &task.settings {
        let _ = writeln!(text, "  {role}:");
        let line = |setting: &Setting| format!("{} = {}", setting.key, setting.value);
        let width = settings.iter().map(|setting| line(setting).len()).max().unwrap_or_default();
        for setting in settings {
            let _ = writeln!(text, "    {:<width$}  # {}", line(setting), setting.layer);
        }
    }
    text
}

fn json(task: &Described<'_>) -> Value {
    let outline = task.outline;
    let connectors = outline.slots.iter().map(|slot| {
        let place = task.place(slot.name);
        json!({"slot": slot.name, "kind": slot.kind, "role": slot.role.as_str(), "place": place})
    });
    let services =
        outline.services.iter().map(|(name, kind)| json!({"name": name, "type": short_type(kind)}));
    let mut layers = Map::new();
    layers.insert("workers".to_owned(), task.workers_layer.clone().into());
    let mut roles = Map::new();
    for (role, settings) in &task.settings {
        roles.insert((*role).to_owned(), role_json(task, role, settings));
        layers.extend(settings.iter().map(|s| (format!("{role}.{}", s.key), s.layer.clone().into())));
    }
    json!({
        "name": outline.name,
        "connectors": connectors.collect::<Vec<_>>(),
        "services": services.collect::<Vec<_>>(),
        "workers": task.workers,
        "consumer": roles.remove("consumer"),
        "producer": roles.remove("producer"),
        "layers": layers,
    })
}

/// The policy values of one role, and the slots that the role uses.
fn role_json(task: &Described<'_>, role: &str, settings: &[Setting]) -> Value {
    let values = settings.iter().map(|setting| (setting.key.clone(), json_value(&setting.value)));
    let mut object: Map<String, Value> = values.collect();
    let Slots { source, dead_letter, undeliverable } = task.slots;
    let consumes = role == "consumer";
    if let (true, Some(source)) = (consumes, source) {
        object.insert("from".to_owned(), source.name.into());
    }
    let letters = if consumes { dead_letter } else { undeliverable };
    object.insert("dead_letter".to_owned(), letters.map(|slot| slot.name).into());
    object.into()
}

/// Converts a TOML value to JSON.
fn json_value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}
