#![deny(warnings, missing_docs, clippy::pedantic)]
//! Nothing but `execute`.

use ergon::prelude::*;

/// Waits to be stopped.
#[ergon::task(execute)]
pub struct Idle;

impl Execute for Idle {
    async fn execute(&self, run: &Run) -> Result<()> {
        run.stopping().await;
        Ok(())
    }
}

fn main() {
    let _config = Idle::config(IdleWiring {});
}
