//! `list`: lists the tasks with their connectors and services.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::cli::args::Format;
use crate::cli::output::Output;
use crate::cli::project::Project;
use crate::error::Error;
use crate::policy::Policies;
use crate::runner::Exit;
use crate::task::{Form, TaskConfig};

/// Lists the tasks.
///
/// # Errors
/// The output cannot be written.
pub(crate) fn list(project: &Project, format: Format, output: &Output) -> Result<Exit, Error> {
    let text = match format {
        Format::Json => format!("{:#}\n", project.tasks.iter().map(json).collect::<Value>()),
        _ => project.tasks.iter().map(text).collect(),
    };
    output.data(&text)?;
    Ok(Exit::Success)
}

fn roles(task: &TaskConfig) -> Vec<&'static str> {
    let Policies { consumer, producer } = &task.outline.policies;
    let consumer = consumer.iter().map(|_| "consumer");
    let form = match task.outline.form {
        Form::Async => None,
        Form::Blocking => Some("blocking"),
        Form::Execute => Some("execute"),
    };
    consumer.chain(producer.iter().map(|_| "producer")).chain(form).collect()
}

fn text(task: &TaskConfig) -> String {
    let mut text = format!("{} ({})\n", task.name(), roles(task).join(", "));
    let width = task.outline.slots.iter().map(|slot| slot.name.len()).max().unwrap_or_default();
    for slot in &task.outline.slots {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {:<width$}  {} {}", slot.name, slot.kind, slot.role.as_str());
    }
    for (name, kind) in &task.outline.services {
        let _ = writeln!(text, "  {name:<width$}  service {}", short_type(kind));
    }
    text
}

fn json(task: &TaskConfig) -> Value {
    let outline = &task.outline;
    let slots = outline.slots.iter();
    let connectors: Value =
        slots.map(|slot| json!({"slot": slot.name, "kind": slot.kind, "role": slot.role.as_str()})).collect();
    let services = outline.services.iter();
    let services: Value =
        services.map(|(name, kind)| json!({"name": name, "type": short_type(kind)})).collect();
    json!({"name": task.name(), "roles": roles(task), "connectors": connectors, "services": services, "workers": outline.workers})
}

/// The name of a type without its modules.
pub(super) fn short_type(name: &str) -> &str {
    name.rsplit("::").next().unwrap_or(name)
}
