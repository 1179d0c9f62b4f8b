//! Supervises a connection: reconnects each time it is lost, without limit, with growing waits. Callers wait for the
//! next session instead of handling the loss.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::connector::{ConnectorError, Health};
use crate::policy::RetryPolicy;
use crate::telemetry::link::{LinkLost, LinkRefused, LinkRestored};

/// The default waits between two attempts to connect: 200 ms, doubled after each failure up to 5 s, with 30 % jitter.
pub const BACKOFF: RetryPolicy = RetryPolicy {
    backoff: Duration::from_millis(200),
    backoff_cap: Some(Duration::from_secs(5)),
    jitter: 0.3,
    ..RetryPolicy::DEFAULT
};

/// The age above which a session counts as healthy: after its loss, the waits start again with the shortest one. A
/// session that is lost sooner is likely to be lost again, so its loss counts as a failure and the waits grow.
const GOOD: Duration = Duration::from_secs(5);

/// The number of permanent errors in a row that end a link that was connected before. A single error does not, because
/// a server that restarts may refuse a connection that it accepts a moment later.
const REFUSALS: u32 = 5;

/// One connection with everything that ends with it: channels, subscriptions, unacknowledged deliveries.
pub trait Session: Send + Sync + 'static {
    /// Returns the pulse of the session, which records whether it is alive.
    fn pulse(&self) -> &Pulse;

    /// Closes the session gracefully. Called once, when the link is closed. The implementation limits its own time.
    fn leave(&self) -> impl Future<Output = ()> + Send;
}

/// Makes the sessions of a [`Link`].
pub trait Connect: Send + Sync + 'static {
    /// The type of the sessions.
    type Session: Session;

    /// The purpose of the connection, for example `consume` or `publish`: a label of log lines and of the metric
    /// `ergon.connector.reconnects`.
    const PURPOSE: &'static str;

    /// The waits between two attempts. Only the backoff fields are used, because the number of attempts is not limited.
    /// Default: [`BACKOFF`].
    const BACKOFF: RetryPolicy = BACKOFF;

    /// Returns the name of the connector for log lines and the metric:
    /// [`Context::label`](crate::connector::Context::label).
    fn connector(&self) -> &str;

    /// Returns the address of the server, without credentials.
    fn address(&self) -> String;

    /// Connects, and makes everything that a session needs. `epoch` numbers the attempts, starting with 1, so that no
    /// two sessions of a link have the same epoch. Put it into the [receipts](crate::connector::Receipt::with_epoch) of
    /// the session: a receipt of a lost session is recognised by its old epoch.
    ///
    /// # Errors
    /// Return a permanent error if the server refuses the connection, and a transient error if a later attempt may
    /// succeed. The implementation limits its own time.
    ///
    /// # Cancel safety
    /// The future is dropped when the link is closed.
    fn connect(&self, epoch: u64) -> impl Future<Output = Result<Self::Session, ConnectorError>> + Send;
}

/// The state of a session: whether it is alive, and whether the server accepts data at present.
///
/// ```
/// use ergon::connector::kit::Pulse;
///
/// let pulse = Pulse::default();
/// pulse.stop("the server closed the connection");
/// pulse.stop("the socket is closed");
/// assert!(pulse.is_over());
/// assert_eq!(pulse.reason(), "the server closed the connection");
/// ```
#[derive(Debug, Default)]
pub struct Pulse {
    over: CancellationToken,
    reason: OnceLock<String>,
    blocked: watch::Sender<Option<String>>,
}

impl Pulse {
    /// Marks the session as lost, so that the link makes another one. The first reason stays.
    pub fn stop(&self, reason: impl Into<String>) {
        let _ = self.reason.set(reason.into());
        self.over.cancel();
    }

    /// Returns whether the session is lost.
    pub fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Waits until the session is lost.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn over(&self) {
        self.over.cancelled().await;
    }

    /// Returns why the session is lost. Default: `the connection was closed`.
    pub fn reason(&self) -> String {
        self.reason.get().cloned().unwrap_or_else(|| "the connection was closed".to_owned())
    }

    /// Records that the server accepts no data at present, and why; `None` records that it accepts data again. While a
    /// session is blocked, its link is unhealthy for this reason.
    pub fn block(&self, reason: Option<String>) {
        self.blocked.send_replace(reason);
    }

    /// Returns why the server accepts no data at present; `None` if it does.
    pub fn blocked(&self) -> Option<String> {
        self.blocked.borrow().clone()
    }

    /// Subscribes to the changes of [`blocked`](Self::blocked).
    pub fn blockages(&self) -> watch::Receiver<Option<String>> {
        self.blocked.subscribe()
    }
}

/// A connection that is made again whenever it is lost.
///
/// [`open`](Self::open) spawns a supervisor. The supervisor connects, waits until the session is lost, and reconnects
/// after the waits of [`Connect::BACKOFF`], without limit. A permanent error ends the link if it comes before the first
/// session, or five times in a row after one. Callers that need a session wait for one in [`session`](Self::session),
/// each within its own time limit.
///
/// ```
/// use std::time::Duration;
///
/// use ergon::connector::kit::{Connect, Link, Pulse, Session};
/// use ergon::connector::{ConnectorError, Health};
///
/// /// A connection to a server; a real one holds the client here.
/// struct Chat { pulse: Pulse, epoch: u64 }
///
/// impl Session for Chat {
///     fn pulse(&self) -> &Pulse { &self.pulse }
///
///     async fn leave(&self) {}
/// }
///
/// struct Dial;
///
/// impl Connect for Dial {
///     type Session = Chat;
///
///     const PURPOSE: &'static str = "chat";
///
///     fn connector(&self) -> &str { "answer-chat.input" }
///
///     fn address(&self) -> String { "chat.example:1234".to_owned() }
///
///     async fn connect(&self, epoch: u64) -> Result<Chat, ConnectorError> {
///         Ok(Chat { pulse: Pulse::default(), epoch })
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// let link = Link::open(Dial, Duration::from_secs(10)).await?;
/// let first = link.session(Duration::from_secs(10)).await?;
/// first.pulse.stop("the server restarts");
///
/// let second = link.session(Duration::from_secs(10)).await?; // waits for the next connection
/// assert_eq!((first.epoch, second.epoch), (1, 2));
/// assert_eq!(link.health(), Health::Healthy);
/// link.close().await;
/// # Ok::<(), ConnectorError>(()) }).unwrap();
/// ```
pub struct Link<S> {
    state: watch::Receiver<State<S>>,
    stop: CancellationToken,
    supervisor: Mutex<Option<JoinHandle<()>>>,
}

/// Why there is no session: the message and the hint of the error.
#[derive(Debug, Clone)]
struct Reason {
    message: String,
    hint: Option<String>,
}

enum State<S> {
    Up(Arc<S>),
    Down(Reason),
    /// No other attempt is made.
    Refused(Reason),
    Closed,
}

impl<S: Session> Link<S> {
    /// Opens the link, and waits for its first session, for at most `within`.
    ///
    /// # Errors
    /// Returns the permanent error of the first attempt, or a transient error if there is no session within the time
    /// limit. The link is closed then.
    ///
    /// # Panics
    /// Panics when called outside of a tokio runtime.
    ///
    /// # Cancel safety
    /// When the future is dropped, the link is closed: its supervisor ends.
    pub async fn open<C>(connect: C, within: Duration) -> Result<Self, ConnectorError>
    where
        C: Connect<Session = S>,
    {
        let (sender, state) = watch::channel(State::Down(Reason::new("not connected yet")));
        let stop = CancellationToken::new();
        let supervisor = Supervisor { connect, state: sender, stop: stop.clone() };
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

    /// Returns the session, and waits for it for at most `within`.
    ///
    /// # Errors
    /// Returns a transient error if there is no session within the time limit or the link is closed, and a permanent
    /// error if no other attempt is made.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn session(&self, within: Duration) -> Result<Arc<S>, ConnectorError> {
        let mut state = self.state.clone();
        let settled = state.wait_for(|state| match state {
            // A lost session stays in the state until the supervisor replaces it, so its pulse decides.
            State::Up(session) => !session.pulse().is_over(),
            State::Down(_) => false,
            State::Refused(_) | State::Closed => true,
        });
        match timeout(within, settled).await {
            Ok(Ok(state)) => found(&state),
            Ok(Err(_)) => Err(ConnectorError::transient("the connector is closed")),
            Err(_) => found(&self.state.borrow()),
        }
    }

    /// Returns the session if there is one now. It may have been lost a moment ago.
    pub fn now(&self) -> Option<Arc<S>> {
        match &*self.state.borrow() {
            State::Up(session) => Some(Arc::clone(session)),
            _ => None,
        }
    }

    /// Returns whether [`close`](Self::close) was called.
    pub fn is_closed(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Returns the health of the link: unhealthy while there is no session, or while the server accepts no data.
    pub fn health(&self) -> Health {
        match &*self.state.borrow() {
            State::Up(session) => match session.pulse().blocked() {
                Some(reason) => Health::Unhealthy(reason),
                None => Health::Healthy,
            },
            State::Down(reason) | State::Refused(reason) => Health::Unhealthy(reason.message.clone()),
            State::Closed => Health::Healthy,
        }
    }

    /// Closes the session and the link. Waits for [`Session::leave`]. Does nothing if the link is closed already.
    ///
    /// # Cancel safety
    /// When the future is dropped, the session is still closed, in the background.
    pub async fn close(&self) {
        self.stop.cancel();
        let supervisor = self.supervisor.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(supervisor) = supervisor {
            // The supervisor returns nothing.
            let _ = supervisor.await;
        }
    }
}

impl<S> Drop for Link<S> {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl<S> fmt::Debug for Link<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &*self.state.borrow() {
            State::Up(_) => "up",
            State::Down(_) => "down",
            State::Refused(_) => "refused",
            State::Closed => "closed",
        };
        f.debug_struct("Link").field("state", &state).finish_non_exhaustive()
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
        State::Closed => Err(ConnectorError::transient("the connector is closed")),
        State::Refused(reason) => Err(reason.error(ConnectorError::permanent)),
    }
}

/// Makes one session after the other, for as long as the link is open.
struct Supervisor<C: Connect> {
    connect: C,
    state: watch::Sender<State<C::Session>>,
    stop: CancellationToken,
}

impl<C: Connect> Supervisor<C> {
    async fn run(self) {
        let stop = self.stop.clone();
        // A close also interrupts the wait for a server that does not answer.
        let _ = stop.run_until_cancelled(self.supervise()).await;
        // The state is replaced first, so that no caller gets a session that is about to close.
        let last = self.state.send_replace(State::Closed);
        if let State::Up(session) = last {
            session.leave().await;
            session.pulse().stop("the connector is closed");
        }
    }

    async fn supervise(&self) {
        let (mut epoch, mut failures, mut refusals, mut was_up) = (0, 0_u32, 0, false);
        let mut down_since = Instant::now();
        loop {
            // Each attempt has its own epoch, because an attempt that fails half-way may have used it already.
            epoch += 1;
            let reason = match self.connect.connect(epoch).await {
                Ok(session) => {
                    if was_up {
                        self.restored(down_since.elapsed());
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
                        return self.refused(&error).await;
                    }
                    Reason::of(&error)
                }
            };
            let wait = C::BACKOFF.jittered_wait_after(failures, None, fastrand::f64());
            let connector = self.connect.connector();
            LinkLost { connector, purpose: C::PURPOSE, reason: &reason.message, wait }.emit();
            self.state.send_replace(State::Down(reason));
            sleep(wait).await;
        }
    }

    /// Publishes the session, and waits until it is lost. Returns the reason.
    async fn live(&self, session: C::Session) -> String {
        let session = Arc::new(session);
        self.state.send_replace(State::Up(Arc::clone(&session)));
        session.pulse().over().await;
        session.pulse().reason()
    }

    fn restored(&self, down: Duration) {
        let (connector, place) = (self.connect.connector(), &self.connect.address());
        LinkRestored { connector, purpose: C::PURPOSE, place, down }.emit();
    }

    async fn refused(&self, error: &ConnectorError) {
        let connector = self.connect.connector();
        LinkRefused { connector, purpose: C::PURPOSE, reason: error.message() }.emit();
        self.state.send_replace(State::Refused(Reason::of(error)));
        // Waits for the close. A return would replace the refusal by `Closed`, and callers would lose its reason.
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    const SOON: Duration = Duration::from_secs(60);

    #[derive(Debug)]
    struct Line {
        pulse: Pulse,
        epoch: u64,
        left: Arc<OnceLock<u64>>,
    }

    impl Session for Line {
        fn pulse(&self) -> &Pulse {
            &self.pulse
        }

        async fn leave(&self) {
            self.left.set(self.epoch).unwrap();
        }
    }

    /// Fails with the given errors, then connects. Records the start of each attempt.
    #[derive(Clone, Default)]
    struct Scripted {
        errors: Arc<Mutex<VecDeque<ConnectorError>>>,
        began: Arc<Mutex<Vec<Instant>>>,
        left: Arc<OnceLock<u64>>,
    }

    impl Scripted {
        fn fails(&self, errors: impl IntoIterator<Item = ConnectorError>) {
            self.errors.lock().unwrap().extend(errors);
        }

        fn attempts(&self) -> usize {
            self.began.lock().unwrap().len()
        }
    }

    impl Connect for Scripted {
        type Session = Line;

        const PURPOSE: &'static str = "test";

        fn connector(&self) -> &'static str {
            "task.slot"
        }

        fn address(&self) -> String {
            "here".to_owned()
        }

        async fn connect(&self, epoch: u64) -> Result<Line, ConnectorError> {
            self.began.lock().unwrap().push(Instant::now());
            match self.errors.lock().unwrap().pop_front() {
                Some(error) => Err(error),
                None => Ok(Line { pulse: Pulse::default(), epoch, left: Arc::clone(&self.left) }),
            }
        }
    }

    fn down() -> ConnectorError {
        ConnectorError::transient("nothing listens")
    }

    fn refusal() -> ConnectorError {
        ConnectorError::permanent("no such user").with_hint("see the password")
    }

    #[tokio::test(start_paused = true)]
    async fn it_connects_again_with_growing_waits_and_a_new_epoch() {
        let scripted = Scripted::default();
        let link = Link::open(scripted.clone(), SOON).await.unwrap();
        let first = link.session(SOON).await.unwrap();
        scripted.fails([down(), down(), down(), down(), down(), down(), down()]);
        first.pulse.stop("cut");
        let second = link.session(SOON).await.unwrap();
        assert_eq!((first.epoch, second.epoch, scripted.attempts()), (1, 9, 9));
        let began = scripted.began.lock().unwrap().clone();
        let waits: Vec<_> = began.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
        let expected = [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0];
        for (wait, expected) in waits.iter().zip(expected) {
            assert!((expected * 0.7 - 0.01..=expected * 1.3 + 0.01).contains(wait), "{waits:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn its_health_says_why_there_is_no_session() {
        let scripted = Scripted::default();
        let link = Link::open(scripted.clone(), SOON).await.unwrap();
        assert_eq!(link.health(), Health::Healthy);
        let session = link.session(SOON).await.unwrap();
        session.pulse.block(Some("low on memory".to_owned()));
        assert_eq!(link.health(), Health::Unhealthy("low on memory".to_owned()));
        session.pulse.block(None);
        assert_eq!(link.health(), Health::Healthy);
        scripted.fails([down()]);
        session.pulse.stop("cut");
        let error = link.session(Duration::from_millis(1)).await.unwrap_err();
        assert_eq!((error.message(), error.is_permanent()), ("cut", false));
        assert_eq!(link.health(), Health::Unhealthy("cut".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_refusal_is_final_and_a_later_one_when_it_is_repeated() {
        let scripted = Scripted::default();
        scripted.fails([refusal()]);
        let error = Link::open(scripted.clone(), SOON).await.unwrap_err();
        assert!(error.is_permanent() && error.hint() == Some("see the password"), "{error:?}");
        assert_eq!(scripted.attempts(), 1);

        let link = Link::open(scripted.clone(), SOON).await.unwrap();
        scripted.fails([refusal(), refusal(), refusal(), refusal()]);
        link.session(SOON).await.unwrap().pulse.stop("restarts");
        let again = link.session(SOON).await.unwrap();
        scripted.fails([refusal(), refusal(), refusal(), refusal(), refusal()]);
        again.pulse.stop("restarts");
        assert!(link.session(SOON).await.unwrap_err().is_permanent());
    }

    #[tokio::test(start_paused = true)]
    async fn closing_leaves_the_session_and_ends_what_waits_for_one() {
        let scripted = Scripted::default();
        let link = Link::open(scripted.clone(), SOON).await.unwrap();
        link.close().await;
        assert!(link.is_closed());
        assert_eq!(scripted.left.get(), Some(&1));
        assert_eq!(link.session(SOON).await.unwrap_err().message(), "the connector is closed");
    }
}
