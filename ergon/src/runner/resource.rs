//! Opens and closes a connector or service of a task within a time limit, so that one that hangs does not hold up the
//! process.

use std::sync::Arc;
use std::time::Duration;

use crate::connector::AnyConnector;
use crate::error::{Error, ErrorKind};
use crate::service::AnyService;
use crate::task::{Parts, connector_error, service_error};
use crate::transaction::panic::caught_in;

/// The time limit for opening one connector or service.
pub(super) const OPEN_WITHIN: Duration = Duration::from_secs(30);
/// The time limit for closing a service. A connector has its own limit, `close_timeout`.
const CLOSE_WITHIN: Duration = Duration::from_secs(30);

/// A connector or service of a task.
pub(super) enum Resource {
    Connector(&'static str, Arc<dyn AnyConnector>),
    Service(&'static str, Arc<dyn AnyService>),
}

impl Resource {
    pub(super) fn connectors(parts: &Parts) -> impl Iterator<Item = Self> {
        parts.connectors.iter().map(|(slot, connector)| Self::Connector(slot, Arc::clone(connector)))
    }

    pub(super) fn services(parts: &Parts) -> impl Iterator<Item = Self> {
        parts.services.iter().map(|(name, service)| Self::Service(name, Arc::clone(service)))
    }

    pub(super) fn name(&self) -> &'static str {
        let (Self::Connector(name, _) | Self::Service(name, _)) = self;
        name
    }

    /// `connector` or `service`.
    pub(super) fn what(&self) -> &'static str {
        match self {
            Self::Connector(..) => "connector",
            Self::Service(..) => "service",
        }
    }

    pub(super) async fn open(&self) -> Result<(), Error> {
        let open = async {
            match self {
                Self::Connector(slot, connector) => {
                    connector.open().await.map_err(|error| connector_error(slot, connector.kind(), &error))
                }
                Self::Service(name, service) => {
                    service.open().await.map_err(|error| service_error(name, &error))
                }
            }
        };
        match tokio::time::timeout(OPEN_WITHIN, self.caught(open)).await {
            Ok(result) => result,
            Err(_) => Err(self.late("open", OPEN_WITHIN)),
        }
    }

    pub(super) async fn start(&self) -> Result<(), Error> {
        let Self::Connector(slot, connector) = self else { return Ok(()) };
        let start = async {
            connector.start().await.map_err(|error| connector_error(slot, connector.kind(), &error))
        };
        match tokio::time::timeout(OPEN_WITHIN, self.caught(start)).await {
            Ok(result) => result,
            Err(_) => Err(self.late("start", OPEN_WITHIN)),
        }
    }

    pub(super) async fn close(&self) -> Result<(), Error> {
        let close = async {
            match self {
                Self::Connector(slot, connector) => {
                    connector.close().await.map_err(|error| connector_error(slot, connector.kind(), &error))
                }
                Self::Service(name, service) => {
                    service.close().await.map_err(|error| service_error(name, &error))
                }
            }
        };
        // A panic in one of them does not keep the others from being closed.
        let limit = match self {
            Self::Connector(_, connector) => connector.close_timeout(),
            Self::Service(..) => CLOSE_WITHIN,
        };
        match tokio::time::timeout(limit, self.caught(close)).await {
            Ok(result) => result,
            Err(_) => Err(self.late("close", limit)),
        }
    }

    /// Runs a call of the resource. A panic is an error like any other.
    pub(super) async fn caught(&self, call: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
        caught_in(call).await.unwrap_or_else(|said| Err(self.error(&said)))
    }

    pub(super) fn late(&self, what_for: &str, limit: Duration) -> Error {
        self.error(&format!("did not {what_for} within {} seconds", limit.as_secs()))
            .with_hint("see whether the other side can be reached from here")
    }

    fn error(&self, what: &str) -> Error {
        match self {
            Self::Connector(slot, connector) => {
                let kind = connector.kind();
                Error::new(ErrorKind::Connector, format!("connector `{slot}` ({kind}): {what}"))
            }
            Self::Service(name, _) => Error::new(ErrorKind::Service, format!("service `{name}`: {what}")),
        }
    }
}
