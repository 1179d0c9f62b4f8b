//! The business logic.

use ergon::prelude::*;

use super::errors::Refusal;
use super::helpers::plain;
use super::schemas::{Incoming, Outgoing};

/// Processes one transaction at a time.
#[ergon::task(
    name = "{{task}}",
    connectors(input, output, refused),
    consumer(concurrency = 8, dead_letter = refused)
)]
pub(crate) struct {{type}};

impl Consumer for {{type}} {
    type Payload = Incoming;
    type Output = Outgoing;

    async fn process_transaction(&self, incoming: &Transaction<Incoming>) -> Result<Outgoing> {
        Ok(process(incoming.payload())?)
    }

    async fn handle_process_success(
        &self,
        incoming: &Transaction<Incoming>,
        outgoing: &Outgoing,
    ) -> Result<()> {
        self.output_connector
            .dispatch(incoming.derive(outgoing)?)
            .await
    }
}

fn process(incoming: &Incoming) -> Result<Outgoing, Refusal> {
    match plain(&incoming.id) {
        "" => Err(Refusal::NoId),
        id => Ok(Outgoing { id: id.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use ergon::testing::{self, Script};

    use super::*;

    #[tokio::test]
    async fn what_is_good_goes_out_and_what_is_not_is_refused() {
        let (input, output, refused) = (Script::new(), Script::new(), Script::new());
        input.push_json("good", &serde_json::json!({"id": "a"}));
        input.push_json("bad", &serde_json::json!({"id": " "}));

        let wiring = {{type}}Wiring {
            input,
            output: output.clone(),
            refused: refused.clone(),
        };
        let config = {{type}}::config(wiring);
        let report = testing::run(config).await.unwrap();

        assert_eq!((report.tally.succeeded, report.tally.rejected), (1, 1));
        assert_eq!(output.dispatched_as::<Outgoing>()[0].id, "a");
        assert_eq!(refused.dispatched()[0].id(), "bad");
    }
}
