//! The tasks of a program, found by name, with the policies that the settings give them.

use crate::error::{Error, ErrorKind};
use crate::policy::Flags;
use crate::runner::Plan;
use crate::settings::{Framework, suggest};
use crate::task::TaskConfig;

/// The tasks of a program and what the framework was told.
#[derive(Debug)]
pub(crate) struct Project {
    pub(crate) framework: Framework,
    pub(crate) tasks: Vec<TaskConfig>,
}

impl Project {
    /// Checks that every name is a task's, and that no two tasks share one.
    ///
    /// # Errors
    /// A name used twice, or settings for a task that does not exist, or for a role that it does not have.
    pub(crate) fn new(framework: Framework, tasks: Vec<TaskConfig>) -> Result<Self, Error> {
        let names: Vec<&str> = tasks.iter().map(TaskConfig::name).collect();
        let twice = names
            .iter()
            .enumerate()
            .find(|(at, name)| names.iter().take(*at).any(|earlier| earlier == *name));
        if let Some((_, name)) = twice {
            let error = Error::new(ErrorKind::Usage, format!("two tasks are called `{name}`"));
            return Err(error.with_hint("give one of them another name: `#[ergon::task(name = \"...\")]`"));
        }
        let policies = tasks.iter().map(|task| (task.name(), &task.outline.policies));
        framework.check_tasks(&policies.collect::<Vec<_>>())?;
        Ok(Self { framework, tasks })
    }

    /// The task of this name.
    ///
    /// # Errors
    /// There is none; the closest name is told.
    pub(crate) fn find(&self, name: &str) -> Result<&TaskConfig, Error> {
        let names = self.tasks.iter().map(TaskConfig::name);
        self.tasks.iter().find(|task| task.name() == name).ok_or_else(|| {
            let error = Error::new(ErrorKind::Usage, format!("there is no task `{name}`"));
            error.with_hint_if(suggest::hint(name, names))
        })
    }

    /// A task with its policies in force; what of them cannot be obeyed is blamed on whoever set the value.
    pub(crate) fn plan(&self, task: &TaskConfig, flags: &Flags) -> Plan {
        let own = &task.outline.policies;
        let (policies, wrong) = match self.framework.policies(task.name(), own, flags) {
            Ok(policies) => (policies, Vec::new()),
            Err(wrong) => (own.clone(), wrong),
        };
        Plan { config: task.clone(), policies, wrong }
    }

    /// A task as it is when the command line changes nothing.
    pub(crate) fn plain(&self, task: &TaskConfig) -> Plan {
        self.plan(task, &Flags::default())
    }
}
