//! What lives on a connection, and is made anew when the connection is lost: for ever, with growing waits.

use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use lapin::Event;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::dial::Dial;
use super::error;
use crate::connector::{ConnectorError, Health};
use crate::policy::RetryPolicy;
use crate::telemetry::link::{LinkBlocked, LinkLost, LinkRefused, LinkRestored};

/// How a lost connection is tried again.
const AGAIN: RetryPolicy = RetryPolicy {
    backoff: Duration::from_millis(200),
    backoff_cap: Some(Duration::from_secs(5)),
    jitter: 0.3,
    ..RetryPolicy::DEFAULT
};

/// A session that lived this long was a good one: the waits begin anew after it.
const GOOD: Duration = Duration::from_secs(5);

/// A broker that restarts may refuse what it will grant in a moment; so a refusal ends a link that has been up only
/// when it comes this often in a row.
const REFUSALS: u32 = 5;

/// What lives on one connection, and dies with it.
pub(super) trait Session: Send + Sync + 'static {
    /// How the session is known to be.
    fn pulse(&self) -> &Pulse;

    /// Says goodbye to the broker.
    fn leave(&self) -> impl Future<Output = ()> + Send;
}

/// Makes sessions.
pub(super) trait Establish: Send + Sync + 'static {
    type Session: Session;

    /// What the connection is for, as it is shown: `consume`, `publish`.
    const PURPOSE: &'static str;

    /// Where the broker is, and whose connection it is.
    fn dial(&self) -> &Dial;

    /// Connects and makes a session.
    fn establish(&self, epoch: u64) -> impl Future<Output = Result<Self::Session, ConnectorError>> + Send;
}

/// Whether a session lives, and whether the broker holds it up.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    over: CancellationToken,
    why: OnceLock<String>,
    /// Why the broker takes no messages at present.
    blocked: watch::Sender<Option<String>>,
}

impl Pulse {
    /// Declares the session lost; the first reason stays.
    pub(super) fn stop(&self, why: impl Into<String>) {
        let _ = self.why.set(why.into());
        self.over.cancel();
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    pub(super) async fn over(&self) {
        self.over.cancelled().await;
    }

    pub(super) fn why(&self) -> String {
        self.why.get().cloned().unwrap_or_else(|| "the connection was closed".to_owned())
    }

    /// Why the broker takes no messages at present; none if it does.
    pub(super) fn blocked(&self) -> Option<String> {
        self.blocked.borrow().clone()
    }

    /// Lets somebody see when the broker begins and ends to take no messages.
    pub(super) fn blockages(&self) -> watch::Receiver<Option<String>> {
        self.blocked.subscribe()
    }

    /// Listens to what the client says of the connection; returns when it is lost.
    async fn listen(&self, mut events: impl Stream<Item = Event> + Unpin, connector: &str) {
        loop {
            match events.next().await {
                Some(Event::Error(error)) => return self.stop(error::words(&error)),
                Some(Event::ConnectionBlocked(reason)) => self.block(connector, Some(reason)),
                Some(Event::ConnectionUnblocked) => self.block(connector, None),
                Some(_) => (),
                None => return self.stop("the connection was closed"),
            }
        }
    }

    fn block(&self, connector: &str, reason: Option<String>) {
        LinkBlocked { connector, reason: reason.as_deref() }.emit();
        self.blocked.send_replace(reason);
    }

    /// Has a task listen for as long as the session lives.
    pub(super) fn watch(self: &Arc<Self>, events: impl Stream<Item = Event> + Send + 'static, dial: &Dial) {
        let (pulse, connector) = (Arc::clone(self), dial.name.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = pulse.listen(Box::pin(events), &connector) => (),
                () = pulse.over.cancelled() => (),
            }
        });
    }
}

/// Why there is no session: what went wrong, and what to do about it.
#[derive(Debug, Clone)]
struct Reason {
    message: String,
    hint: Option<String>,
}

enum State<S> {
    Up(Arc<S>),
    Down(Reason),
    /// For good.
    Refused(Reason),
    Left,
}

/// A session that is made anew whenever it is lost.
pub(super) struct Link<S> {
    state: watch::Receiver<State<S>>,
    stop: CancellationToken,
    supervisor: Mutex<Option<JoinHandle<()>>>,
}

impl<S: Session> Link<S> {
    /// Makes the first session; returns when it is there.
    ///
    /// # Errors
    /// What the broker refuses for good, or why it cannot be reached within this time.
    pub(super) async fn open<E>(maker: E, within: Duration) -> Result<Self, ConnectorError>
    where
        E: Establish<Session = S>,
    {
        let (sender, state) = watch::channel(State::Down(Reason::new("not connected yet")));
        let stop = CancellationToken::new();
        let supervisor = Supervisor { maker, state: sender, stop: stop.clone() };
        let supervisor = Mutex::new(Some(tokio::spawn(supervisor.run())));
        let link = Self { state, stop, supervisor };
        match link.session(within).await {
            Ok(_) => Ok(link),
            Err(error) => {
                link.close().await;
                Err(error)
            }
        }
    }

    /// The session, once there is one.
    ///
    /// # Errors
    /// Why there is none within this time, or for good.
    pub(super) async fn session(&self, within: Duration) -> Result<Arc<S>, ConnectorError> {
        let mut state = self.state.clone();
        let settled = state.wait_for(|state| match state {
            State::Up(session) => !session.pulse().is_over(),
            State::Down(_) => false,
            State::Refused(_) | State::Left => true,
        });
        match timeout(within, settled).await {
            Ok(Ok(state)) => found(&state),
            Ok(Err(_)) => Err(ConnectorError::transient("the connector is closed")),
            Err(_) => found(&self.state.borrow()),
        }
    }

    /// The session, if there is one now.
    pub(super) fn now(&self) -> Option<Arc<S>> {
        match &*self.state.borrow() {
            State::Up(session) => Some(Arc::clone(session)),
            _ => None,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.stop.is_cancelled()
    }

    pub(super) fn health(&self) -> Health {
        match &*self.state.borrow() {
            State::Up(session) => match session.pulse().blocked() {
                Some(reason) => Health::Unhealthy(format!("the broker takes no messages: {reason}")),
                None => Health::Healthy,
            },
            State::Down(reason) | State::Refused(reason) => Health::Unhealthy(reason.message.clone()),
            State::Left => Health::Healthy,
        }
    }

    /// Ends the session and makes no other.
    pub(super) async fn close(&self) {
        self.stop.cancel();
        let supervisor = self.supervisor.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(supervisor) = supervisor {
            // It has nothing to say any more.
            let _ = supervisor.await;
        }
    }
}

impl<S> Drop for Link<S> {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Reason {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    fn of(error: &ConnectorError) -> Self {
        Self { message: error.message().to_owned(), hint: error.hint().map(str::to_owned) }
    }

    fn error(&self, make: fn(String) -> ConnectorError) -> ConnectorError {
        let error = make(self.message.clone());
        match &self.hint {
            Some(hint) => error.with_hint(hint.clone()),
            None => error,
        }
    }
}

fn found<S>(state: &State<S>) -> Result<Arc<S>, ConnectorError> {
    match state {
        State::Up(session) => Ok(Arc::clone(session)),
        State::Down(reason) => Err(reason.error(ConnectorError::transient)),
        State::Left => Err(ConnectorError::transient("the connector is closed")),
        State::Refused(reason) => Err(reason.error(ConnectorError::permanent)),
    }
}

/// Makes sessions one after the other, for as long as the link is open.
struct Supervisor<E: Establish> {
    maker: E,
    state: watch::Sender<State<E::Session>>,
    stop: CancellationToken,
}

impl<E: Establish> Supervisor<E> {
    async fn run(self) {
        let stop = self.stop.clone();
        // Also where the wait for a broker that does not answer is cut short.
        let _ = stop.run_until_cancelled(self.supervise()).await;
        let last = self.state.send_replace(State::Left);
        if let State::Up(session) = last {
            session.leave().await;
            session.pulse().stop("the connector is closed");
        }
    }

    async fn supervise(&self) {
        let (mut epoch, mut failures, mut refusals, mut was_up) = (0, 0_u32, 0, false);
        let mut down_since = Instant::now();
        loop {
            epoch += 1;
            let reason = match self.maker.establish(epoch).await {
                Ok(session) => {
                    if was_up {
                        LinkRestored {
                            connector: &self.maker.dial().name,
                            purpose: E::PURPOSE,
                            place: &self.maker.dial().address,
                            down: down_since.elapsed(),
                        }
                        .emit();
                    }
                    (was_up, refusals) = (true, 0);
                    let up_since = Instant::now();
                    let reason = Reason::new(self.live(session).await);
                    down_since = Instant::now();
                    failures = if up_since.elapsed() > GOOD { 1 } else { failures.saturating_add(1) };
                    reason
                }
                Err(error) => {
                    (failures, refusals) =
                        (failures.saturating_add(1), refusals + u32::from(error.is_permanent()));
                    if error.is_permanent() && (!was_up || refusals >= REFUSALS) {
                        return self.give_up(&error).await;
                    }
                    Reason::of(&error)
                }
            };
            let wait = AGAIN.jittered_wait_after(failures, None, fastrand::f64());
            LinkLost {
                connector: &self.maker.dial().name,
                purpose: E::PURPOSE,
                reason: &reason.message,
                wait,
            }
            .emit();
            self.state.send_replace(State::Down(reason));
            sleep(wait).await;
        }
    }

    /// Lets others use the session until it is lost; says why it was.
    async fn live(&self, session: E::Session) -> String {
        let session = Arc::new(session);
        self.state.send_replace(State::Up(Arc::clone(&session)));
        session.pulse().over().await;
        session.pulse().why()
    }

    async fn give_up(&self, error: &ConnectorError) {
        LinkRefused { connector: &self.maker.dial().name, purpose: E::PURPOSE, reason: error.message() }
            .emit();
        self.state.send_replace(State::Refused(Reason::of(error)));
        std::future::pending::<()>().await;
    }
}
