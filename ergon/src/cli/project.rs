//! Finds the tasks of a program by name, with the policies from the settings.

use crate::error::{Error, ErrorKind};
use crate::policy::Flags;
use crate::runner::Plan;
use crate::settings::{Framework, suggest};
use crate::task::TaskConfig;

/// The tasks of a program and the settings of the framework.
#[derive(Debug)]
pub(crate) struct Project {
    pub(crate) framework: Framework,
    pub(crate) tasks: Vec<TaskConfig>,
}

impl Project {
    /// Checks that the settings name only existing tasks, and that no two tasks share a name.
    ///
    /// # Errors
    /// Two tasks share a name, or there are settings for a task or a role that does not exist.
    pub(crate) fn new(framework: Framework, tasks: Vec<TaskConfig>) -> Result<Self, Error> {
        let names: Vec<&str> = tasks.iter().map(TaskConfig::name).collect();
        let twice = names
            .iter()
            .enumerate()
            .find(|(at, name)| names.iter().take(*at).any(|earlier| earlier == *name));
        if let Some((_, name)) = twice {
            let error = Error::new(ErrorKind::Usage, format!("two tasks have the name `{name}`"));
            return Err(error.with_hint("give one of them another name: `#[ergon::task(name = \"...\")]`"));
        }
        let policies = tasks.iter().map(|task| (task.name(), &task.outline.policies));
        framework.check_tasks(&policies.collect::<Vec<_>>())?;
        Ok(Self { framework, tasks })
    }

    /// The task of this name.
    ///
    /// # Errors
    /// There is no such task. The hint is the closest name.
    pub(crate) fn find(&self, name: &str) -> Result<&TaskConfig, Error> {
        let names = self.tasks.iter().map(TaskConfig::name);
        self.tasks.iter().find(|task| task.name() == name).ok_or_else(|| {
            let error = Error::new(ErrorKind::Usage, format!("there is no task `{name}`"));
            error.with_hint_if(suggest::hint(name, names))
        })
    }

    /// A task with its effective policies. The error of an invalid value names the layer that set it.
    pub(crate) fn plan(&self, task: &TaskConfig, flags: &Flags) -> Plan {
        let own = &task.outline.policies;
        let (policies, wrong) = match self.framework.policies(task.name(), own, flags) {
            Ok(policies) => (policies, Vec::new()),
            Err(wrong) => (own.clone(), wrong),
        };
        Plan { config: task.clone(), policies, wrong }
    }

    /// A task whose policies the command line does not change.
    pub(crate) fn plain(&self, task: &TaskConfig) -> Plan {
        self.plan(task, &Flags::default())
    }
}
