//! A service that records the messages of a task.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ergon::service::{Service, ServiceConfig, ServiceError};

/// Makes a [`LogService`], and reads what it was told.
#[derive(Debug, Clone, Default)]
pub struct LogConfig(Arc<Mutex<Vec<String>>>);

/// Remembers what a task says.
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
    /// All that was said so far.
    pub fn all(&self) -> Vec<String> {
        self.lines().clone()
    }

    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogService {
    /// Remembers a line, and says how often it was said, this time included.
    pub fn say(&self, line: impl Into<String>) -> usize {
        let line = line.into();
        let mut lines = self.0.lines();
        lines.push(line);
        lines.iter().filter(|said| Some(*said) == lines.last()).count()
    }
}
