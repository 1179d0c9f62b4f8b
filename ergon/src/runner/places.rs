//! Where the slots of a task lead, as far as its connectors say.

use super::Built;
use crate::connector::Place;

/// The places behind the slots of a task.
#[derive(Debug, Default)]
pub(crate) struct Places {
    origins: Vec<(&'static str, Vec<Place>)>,
    destinations: Vec<(&'static str, Vec<Place>)>,
}

impl Built {
    /// Asks the connectors; nothing needs to be open.
    pub(crate) fn places(&self) -> Places {
        let inputs = self.parts.inputs.iter();
        let outputs = self.parts.outputs.iter();
        Places {
            origins: inputs.map(|(slot, input)| (*slot, input.origins())).collect(),
            destinations: outputs.map(|(slot, output)| (*slot, output.destinations())).collect(),
        }
    }
}

impl Places {
    /// What is fetched from through a slot.
    pub(crate) fn origins(&self, slot: &str) -> &[Place] {
        of(&self.origins, slot)
    }

    /// What is dispatched to through a slot.
    pub(crate) fn destinations(&self, slot: &str) -> &[Place] {
        of(&self.destinations, slot)
    }
}

fn of<'a>(all: &'a [(&'static str, Vec<Place>)], slot: &str) -> &'a [Place] {
    all.iter().find(|(name, _)| *name == slot).map_or(&[], |(_, places)| places)
}
