//! A service that records the messages of a task.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ergon::service::{Service, ServiceConfig, ServiceError};

/// Makes a [`LogService`], and reads its messages.
#[derive(Debug, Clone, Default)]
pub struct LogConfig(Arc<Mutex<Vec<String>>>);

/// Records the messages of a task.
#[derive(Debug)]
pub struct LogService(LogConfig);

impl Service for LogService {}

impl ServiceConfig for LogConfig {
    type Service = LogService;

    fn build(&self) -> Result<LogService, ServiceError> {
        Ok(LogService(self.clone()))
    }
}

impl LogConfig {
    /// All messages so far.
    pub fn all(&self) -> Vec<String> {
        self.lines().clone()
    }

    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogService {
    /// Records a message. Returns the number of times that it was recorded, including this time.
    pub fn say(&self, line: impl Into<String>) -> usize {
        let line = line.into();
        let mut lines = self.0.lines();
        lines.push(line);
        lines.iter().filter(|said| Some(*said) == lines.last()).count()
    }
}
