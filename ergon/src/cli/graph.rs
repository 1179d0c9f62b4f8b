//! The tasks and their connectors as a graph, for Mermaid and Graphviz.

use super::command::Described;
use crate::task::Role;

/// How a graph is written.
pub(super) struct Notation {
    head: &'static str,
    tail: &'static str,
    /// A task and a connector: name, label.
    task: fn(&str, &str) -> String,
    connector: fn(&str, &str) -> String,
    edge: fn(&str, &str, &str) -> String,
}

impl Notation {
    pub(super) const MERMAID: Self = Self {
        head: "flowchart LR\n",
        tail: "",
        task: |id, label| format!("  {id}[\"{label}\"]\n"),
        connector: |id, label| format!("  {id}[(\"{label}\")]\n"),
        edge: |from, to, label| format!("  {from} -->|\"{label}\"| {to}\n"),
    };
    pub(super) const DOT: Self = Self {
        head: "digraph ergon {\n  rankdir=LR;\n",
        tail: "}\n",
        task: |id, label| format!("  {id} [shape=box, label=\"{label}\"];\n"),
        connector: |id, label| format!("  {id} [shape=cylinder, label=\"{label}\"];\n"),
        edge: |from, to, label| format!("  {from} -> {to} [label=\"{label}\"];\n"),
    };
}

/// The tasks as boxes between what they fetch from and what they dispatch to.
pub(super) fn draw(tasks: &[Described<'_>], notation: &Notation) -> String {
    let mut text = notation.head.to_owned();
    for task in tasks {
        let id = task.outline.name.replace('-', "_");
        text.push_str(&(notation.task)(&id, task.outline.name));
        for slot in &task.outline.slots {
            let slot_id = format!("{id}__{}", slot.name);
            text.push_str(&(notation.connector)(&slot_id, &format!("{} ({})", slot.name, slot.kind)));
            let part = task.part(slot.name, slot.role);
            let inward = matches!(slot.role, Role::Source) || part.starts_with("source");
            let (from, to) = if inward { (&slot_id, &id) } else { (&id, &slot_id) };
            text.push_str(&(notation.edge)(from, to, slot.role.as_str()));
        }
    }
    text.push_str(notation.tail);
    text
}
