//! Declares and reads the queues of the program `worker`, on the test's own broker.

use std::fmt::Write as _;
use std::path::Path;

use lapin::options::BasicGetOptions;
use lapin::types::AMQPValue;

use super::{Broker, Client};
use crate::ledger::{Ledger, Left, Verdict};

/// The roles of the queues.
const ROLES: [&str; 3] = ["input", "output", "dead"];

/// Three durable queues. The input is a quorum queue, because it counts deliveries. The other queues are classic
/// queues, because a quorum queue with little traffic may not answer for a minute after its broker was killed.
#[derive(Debug)]
pub struct Queues {
    client: Client,
}

impl Queues {
    /// Declares them.
    ///
    /// # Panics
    /// Panics when the broker does not do what the method asks, as all methods do.
    pub async fn declare(broker: &Broker) -> Self {
        let client = Client::connect(&broker.url()).await.expect("the broker answers");
        for role in ROLES {
            let kind = if role == "input" { "quorum" } else { "classic" };
            client.declare(role, &[("x-queue-type", kind)]).await.expect("a queue is declared");
        }
        Self { client }
    }

    /// The settings of `worker`; `rest` is added.
    pub fn settings(url: &str, folder: &Path, rest: &str) -> String {
        let mut toml = String::new();
        for role in ROLES {
            writeln!(toml, "[{role}]\nurl = {url:?}\nqueue = {role:?}\npassive = true")
                .expect("a String takes all");
        }
        let folder = folder.display().to_string();
        format!("{rest}\n{toml}[books]\nfolder = {folder:?}\nwork_ms = 5\n")
    }

    /// Publishes messages with these ids.
    pub async fn fill(&self, ids: impl IntoIterator<Item = String>, ledger: &Ledger) {
        self.client.fill("input", ids, ledger).await.expect("messages are confirmed");
    }

    /// The number of messages in the queue of this role.
    pub async fn ready(&self, role: &str) -> u32 {
        self.client.ready(role).await.expect("the broker answers")
    }

    /// Removes all messages from the queue of this role, and returns their ids.
    pub async fn drain(&self, role: &str) -> Vec<String> {
        let messages = self.client.drain(role).await.expect("the broker answers");
        messages.into_iter().map(|message| message.id).collect()
    }

    /// The one message that was dead-lettered: its id and the reason.
    pub async fn dead_letter(&self) -> (String, String) {
        let got = self.client.channel().basic_get("dead".into(), BasicGetOptions { no_ack: true }).await;
        let message = got.expect("the broker answers").expect("one was dead-lettered");
        let properties = &message.delivery.properties;
        let id = properties.message_id().as_ref().map(ToString::to_string).unwrap_or_default();
        let error = properties.headers().as_ref().and_then(|headers| headers.inner().get("ergon-error"));
        let error = error.and_then(AMQPValue::as_long_string).map(ToString::to_string);
        (id, error.unwrap_or_default())
    }

    /// The verdict of the ledger, after all work has ended.
    pub async fn verdict(&self, ledger: &Ledger) -> Verdict {
        let queued = self.drain("input").await;
        let dead_letters = self.drain("dead").await;
        let arrived = Some(self.drain("output").await);
        ledger.check(Left { queued, dead_letters, arrived })
    }
}
