//! Shows the output of a task's first step for `process-transaction`, also if its type has no `Serialize`.

use std::fmt::Debug;

use serde::Serialize;
use serde_json::Value;

/// Shows a task's output as JSON where it can be serialized, else as its `Debug` text, else not at all.
///
/// The generated code calls `(&&&Shown(output)).show()`. The compiler takes the method of the first impl that fits.
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
