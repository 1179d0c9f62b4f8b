//! Translates the errors of RabbitMQ and its client: the message, whether another attempt can help, and a hint.

use std::fmt;

use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::{Error, ErrorKind};

use crate::connector::ConnectorError;

/// Returns the hint for an AMQP code that another attempt cannot fix.
fn hint(kind: &AMQPErrorKind) -> Option<&'static str> {
    match kind {
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED)
        | AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => {
            Some("check the user, the password and the virtual host, and the user's permissions there")
        }
        AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => Some(
            "create it or name another; Ergon declares queues without `passive`, and exchanges with a `kind`",
        ),
        AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) => {
            Some("it exists with other properties: change `declare` to match them, or set `passive = true`")
        }
        AMQPErrorKind::Hard(AMQPHardError::NOTIMPLEMENTED | AMQPHardError::COMMANDINVALID) => {
            Some("the broker does not support this request; check its version and plugins")
        }
        _ => None,
    }
}

/// Makes the error of a request to the broker at `address`.
pub(super) fn failed(what: &str, address: &impl fmt::Display, error: &Error) -> ConnectorError {
    let words = words(error);
    match error.kind() {
        ErrorKind::ProtocolError(amqp) => match hint(amqp.kind()).filter(|_| !passes(&words)) {
            Some(hint) => ConnectorError::permanent(format!("{what} at {address}: {words}")).with_hint(hint),
            None => ConnectorError::transient(format!("{what} at {address}: {words}")),
        },
        ErrorKind::InvalidProtocolVersion(_) | ErrorKind::AuthProviderError(_) => {
            ConnectorError::permanent(format!("{what} at {address}: {words}"))
        }
        _ => ConnectorError::transient(format!("{what} at {address}: {words}")),
    }
}

/// Returns whether a refusal is temporary: a node that is down, a queue without a leader, a broker that is starting.
fn passes(words: &str) -> bool {
    ["home node", "is down", "no leader", "starting", "timeout", "exclusive"]
        .iter()
        .any(|sign| words.contains(sign))
}

/// Renders the error in one line, without details for the client's authors.
pub(super) fn words(error: &Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(amqp) => {
            let text = amqp.get_message().to_string();
            if text.is_empty() { amqp.to_string() } else { text }
        }
        ErrorKind::IOError(error) => error.to_string(),
        ErrorKind::MissingHeartbeatError => "the broker has been silent for two heartbeats".to_owned(),
        ErrorKind::ParsingError(_) => {
            "the client cannot read what the broker sends: perhaps a message with a property, \
                                       or with the name of a header, that is not UTF-8"
                .to_owned()
        }
        ErrorKind::InvalidConnectionState(_) => "the connection is lost".to_owned(),
        ErrorKind::InvalidChannelState(..) => "the channel is closed".to_owned(),
        _ => error.to_string(),
    }
}
