//! Builds the OpenTelemetry resource: attributes that identify this process.

use opentelemetry::{Array, KeyValue, StringValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;

use crate::settings::plan::ExportPlan;
use crate::telemetry::names::resource;

/// The description of this process.
#[derive(Debug, Clone, Default)]
pub(crate) struct About {
    pub(crate) version: &'static str,
    /// The tasks that the process runs.
    pub(crate) tasks: Vec<String>,
    /// Its index among several workers.
    pub(crate) worker: Option<usize>,
}

impl About {
    pub(super) fn resource(&self, plan: &ExportPlan) -> Resource {
        let given = plan.attributes.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let own = [
            Some(KeyValue::new(resource::SERVICE_VERSION, self.version)),
            Some(KeyValue::new(resource::INSTANCE_ID, execution_id())),
            Some(KeyValue::new(resource::PID, i64::from(std::process::id()))),
            Some(KeyValue::new(resource::HOST, host)),
            self.task().map(|task| KeyValue::new(resource::TASK, task)),
            self.worker
                .map(|worker| KeyValue::new(resource::WORKER, i64::try_from(worker).unwrap_or(i64::MAX))),
        ];
        // Later attributes win: those of the user, then the service name. The library's own reading of the variables is not
        // used, because it does not read `.env` and drops invalid values.
        Resource::builder_empty()
            .with_detector(Box::new(TelemetryResourceDetector))
            .with_attributes(own.into_iter().flatten())
            .with_attributes(given)
            .with_service_name(plan.service.clone())
            .build()
    }

    /// The task, or the list of them.
    fn task(&self) -> Option<Value> {
        match self.tasks.as_slice() {
            [] => None,
            [task] => Some(Value::from(task.clone())),
            tasks => {
                Some(Value::Array(Array::String(tasks.iter().cloned().map(StringValue::from).collect())))
            }
        }
    }
}

/// A unique id of this execution.
fn execution_id() -> String {
    format!("{:032x}", fastrand::u128(..))
}
