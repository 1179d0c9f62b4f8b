//! The session that publishes: one channel with confirms, and one task that pipelines all that is published on it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use lapin::Error;
use lapin::options::ConfirmSelectOptions;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::dial::{Dial, Wire};
use super::link::{Establish, Pulse, Session};
use super::message::Outgoing;
use super::publisher::{Outcome, Publisher, Request};
use super::{RabbitMqConfig, error, topology};
use crate::connector::{ConnectorError, Direction};

/// How many calls may wait for the task to take them.
const CALLS: usize = 1024;

/// How long the broker may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// Makes the sessions that publish.
pub(super) struct Publish {
    pub(super) dial: Dial,
    pub(super) config: Arc<RabbitMqConfig>,
    pub(super) direction: Direction,
}

/// A connection that publishes, and the way to the task that does.
pub(super) struct Publishing {
    pulse: Arc<Pulse>,
    requests: mpsc::Sender<Request>,
    wire: Wire,
}

impl Establish for Publish {
    type Session = Publishing;

    const PURPOSE: &'static str = "publish";

    fn dial(&self) -> &Dial {
        &self.dial
    }

    async fn establish(&self, _epoch: u64) -> Result<Publishing, ConnectorError> {
        let wire = self.dial.connect(Self::PURPOSE).await?;
        let pulse = Arc::new(Pulse::default());
        pulse.watch(wire.connection().events_listener(), &self.dial);
        let preparing = async {
            topology::declare(&self.config, &self.dial, &wire, self.direction).await?;
            let failed = |what: &str, error: Error| error::failed(what, &self.dial.address, &error);
            let channel = wire.channel().await.map_err(|error| failed("open a channel", error))?;
            let confirming = channel.confirm_select(ConfirmSelectOptions::default()).await;
            confirming.map_err(|error| failed("switch confirms on", error))?;
            Ok::<_, ConnectorError>(channel)
        };
        let channel = timeout(self.dial.within, preparing).await.map_err(|_| {
            let (within, address) = (humantime::format_duration(self.dial.within), &self.dial.address);
            ConnectorError::transient(format!("{address} was not ready to take messages within {within}"))
        })??;
        let (requests, calls) = mpsc::channel(CALLS);
        let publisher = Publisher::new(channel, &self.config, Arc::clone(&pulse));
        tokio::spawn(publisher.run(calls));
        Ok(Publishing { pulse, requests, wire })
    }
}

impl Session for Publishing {
    fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    async fn leave(&self) {
        self.wire.leave(GOODBYE).await;
    }
}

impl Publishing {
    /// Publishes messages and waits until each is confirmed; returns those that are not, and why.
    ///
    /// # Errors
    /// The messages, if the session was lost before it took any of them.
    ///
    /// # Cancel safety
    /// When cancelled, any of them may have been published or not.
    pub(super) async fn publish(
        &self,
        messages: Vec<Outgoing>,
        deadline: Instant,
    ) -> Result<Vec<(usize, ConnectorError)>, Vec<Outgoing>> {
        let count = messages.len();
        let (done, outcome) = oneshot::channel();
        let request = Request { messages: VecDeque::from(messages), deadline, done };
        if let Err(unsent) = self.requests.send(request).await {
            return Err(unsent.0.messages.into());
        }
        match outcome.await {
            Ok(Outcome::Settled(failed)) => Ok(failed),
            Ok(Outcome::Untouched(messages)) => Err(messages.into()),
            Err(_) => {
                self.pulse.stop("the task that publishes died");
                let error = || ConnectorError::unknown("nobody knows whether the message was published");
                Ok((0..count).map(|index| (index, error())).collect())
            }
        }
    }
}
