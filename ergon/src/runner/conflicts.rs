//! Finds conflicts between the endpoints of a task's connectors, such as a sink that would empty the source's file.

use super::Built;
use crate::connector::Endpoint;
use crate::error::{Error, ErrorKind};
use crate::task::Parts;

/// The endpoints of the slots of a task.
#[derive(Debug, Default)]
pub(crate) struct Endpoints {
    reads_from: Vec<(&'static str, Vec<Endpoint>)>,
    writes_to: Vec<(&'static str, Vec<Endpoint>)>,
}

impl Built {
    /// Asks the connectors for their endpoints. Nothing has to be open.
    pub(crate) fn endpoints(&self) -> Endpoints {
        let inputs = self.parts.inputs.iter();
        let outputs = self.parts.outputs.iter();
        Endpoints {
            reads_from: inputs.map(|(slot, input)| (*slot, input.reads_from())).collect(),
            writes_to: outputs.map(|(slot, output)| (*slot, output.writes_to())).collect(),
        }
    }
}

impl Endpoints {
    /// The endpoints that are fetched from through a slot.
    pub(crate) fn reads_from(&self, slot: &str) -> &[Endpoint] {
        of(&self.reads_from, slot)
    }

    /// The endpoints that are dispatched to through a slot.
    pub(crate) fn writes_to(&self, slot: &str) -> &[Endpoint] {
        of(&self.writes_to, slot)
    }
}

fn of<'a>(all: &'a [(&'static str, Vec<Endpoint>)], slot: &str) -> &'a [Endpoint] {
    all.iter().find(|(name, _)| *name == slot).map_or(&[], |(_, places)| places)
}

/// Finds each sink that would write to a file that another connector of the task reads. Such a sink would empty the
/// input, or make it grow while it is read. A queue is no conflict, because a dispatched message is new.
pub(super) fn conflicts(parts: &Parts) -> Vec<(&'static str, Error)> {
    let mut found = Vec::new();
    for (slot, output) in &parts.outputs {
        let written = output.writes_to();
        for (input, read) in parts.inputs.iter().filter(|(name, _)| name != slot) {
            let read = read.reads_from();
            let both = written
                .iter()
                .find_map(|written| Some((written, read.iter().find(|read| read.is_same_file(written))?)));
            if let Some((written, read)) = both {
                let same = if written == read { String::new() } else { format!("the same file as {read}, ") };
                let what = format!(
                    "connector `{slot}` ({}): would write to {written}, {same}which `{input}` reads",
                    output.kind()
                );
                let error = Error::new(ErrorKind::Refused, what);
                found.push((*slot, error.with_hint("name another file for one of them")));
            }
        }
    }
    found
}
