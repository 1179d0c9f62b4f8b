//! Parses the identity of a worker process from its command line: its task, its shard, and its supervisor.

use std::fmt;
use std::str::FromStr;

use crate::connector::Shard;

/// The identity of a worker process, as its supervisor passes it on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WorkerIdentity {
    pub(crate) task: String,
    pub(crate) shard: Shard,
    /// The process id of the supervisor.
    pub(crate) supervisor: u32,
    /// The address of the supervisor.
    pub(crate) address: String,
    /// Whether its output is shown on a terminal with colour.
    pub(crate) colour: bool,
    /// Whether an earlier process of this worker died: its output must be kept.
    pub(crate) is_restart: bool,
}

impl WorkerIdentity {
    /// The index that logs and telemetry show; `None` if the task has a single worker.
    pub(crate) fn worker(&self) -> Option<usize> {
        (self.shard.count > 1).then_some(self.shard.index)
    }
}

impl fmt::Display for WorkerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { task, shard: Shard { index, count }, supervisor, address, colour, is_restart } = self;
        let (colour, is_restart) = (u8::from(*colour), u8::from(*is_restart));
        write!(f, "{task}:{index}:{count}:{supervisor}:{colour}:{is_restart}:{address}")
    }
}

impl FromStr for WorkerIdentity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "only a supervisor writes this option".to_owned();
        let parts: Vec<&str> = text.splitn(7, ':').collect();
        let [task, index, count, supervisor, colour, is_restart, address] = parts[..] else {
            return Err(wrong());
        };
        let number = |text: &str| text.parse::<usize>().map_err(|_| wrong());
        Ok(Self {
            task: task.to_owned(),
            shard: Shard { index: number(index)?, count: number(count)?.max(1) },
            supervisor: supervisor.parse().map_err(|_| wrong())?,
            address: address.to_owned(),
            colour: colour == "1",
            is_restart: is_restart == "1",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(index: usize, count: usize) -> WorkerIdentity {
        let address = "/tmp/a:b/c".to_owned();
        let shard = Shard { index, count };
        let (task, is_restart) = ("orders".into(), index > 0);
        WorkerIdentity { task, shard, supervisor: 7, address, colour: true, is_restart }
    }

    #[test]
    fn a_seat_is_read_as_it_was_written() {
        for identity in [identity(0, 4), identity(3, 4)] {
            assert_eq!(identity.to_string().parse(), Ok(identity));
        }
        assert!("orders:1".parse::<WorkerIdentity>().is_err());
    }
}
