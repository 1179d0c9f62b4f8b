//! What generated code may name. Nothing here is part of the public API.
#![doc(hidden)]

use std::fmt::Debug;

use std::process::ExitCode;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use crate::cli::Package;
pub use crate::engine::consumer;
use crate::error::{Error, ErrorKind};
use crate::settings::{self, Loaded};
pub use crate::task::Parts;
use crate::task::TaskConfig;

/// Runs a program: the body of what `ergon::main!` makes.
pub fn main<S: DeserializeOwned>(
    package: Package,
    tasks: fn(&S) -> Result<Vec<TaskConfig>, Error>,
) -> ExitCode {
    crate::cli::main(&package, &|options| {
        let Loaded { settings, framework } = settings::load::<S>(options)?;
        Ok((framework, tasks(&settings)?))
    })
}

/// The error of a task's own `fn(&Settings) -> Result<TaskConfig, _>`.
pub fn task_config_error<E: std::error::Error + Send + Sync + 'static>(error: E) -> Error {
    let error: Box<dyn std::error::Error + Send + Sync> = Box::new(error);
    match error.downcast::<Error>() {
        Ok(error) => *error,
        Err(error) => {
            let made = Error::new(ErrorKind::Settings, error.to_string());
            match error.source() {
                Some(cause) => made.with_source(cause.to_string()),
                None => made,
            }
        }
    }
}

/// Shows a task's output as JSON where it can be serialized, else as its `Debug` text, else not at all.
///
/// The generated code calls `(&&&Shown(output)).show()`; the method of the first impl that fits is taken.
#[derive(Debug)]
pub struct Shown<'a, T: ?Sized>(pub &'a T);

pub trait ShowAsJson {
    fn show(&self) -> Option<Value>;
}

impl<T: Serialize + ?Sized> ShowAsJson for &&Shown<'_, T> {
    fn show(&self) -> Option<Value> {
        serde_json::to_value(self.0).ok()
    }
}

pub trait ShowAsDebug {
    fn show(&self) -> Option<Value>;
}

impl<T: Debug + ?Sized> ShowAsDebug for &Shown<'_, T> {
    fn show(&self) -> Option<Value> {
        Some(Value::String(format!("{:?}", self.0)))
    }
}

pub trait ShowNothing {
    fn show(&self) -> Option<Value>;
}

impl<T: ?Sized> ShowNothing for Shown<'_, T> {
    fn show(&self) -> Option<Value> {
        None
    }
}

/// Compares two names at compile time.
pub const fn same_name(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        #[expect(clippy::indexing_slicing, reason = "`at` is below both lengths, which are equal")]
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}
