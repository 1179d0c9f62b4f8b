//! Checks the connectors and services of a task one by one, and processes one transaction by its id. Both work without
//! a run of the task.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::build::Reach;
use super::conflicts::conflicts;
use super::resource::{OPEN_WITHIN, Resource};
use super::{Built, Opened, Plan, Slots};
use crate::connector::kit::Lease;
use crate::connector::{
    AnyConnector, ConnectorError, Delivery, Disposition, Input, Receipt, Settlement, Shard,
};
use crate::error::{Error, ErrorKind};
use crate::task::{Ask, Parts, Slot, Stop, Unbuilt, connector_error, service_error};
use crate::telemetry::{GIVEN_BACK, SingleReport};
use crate::transaction::TransactionError;

/// The result of checking one connector or service, or an error of the policies.
#[derive(Debug)]
pub(crate) struct Checked {
    /// `connector`, `service`, `task` or `policy`.
    pub(crate) what: &'static str,
    pub(crate) name: &'static str,
    /// The duration of the check; `None` if it could not be made.
    pub(crate) elapsed: Option<Duration>,
    pub(crate) error: Option<Error>,
}

impl Plan {
    /// Checks all connectors and services concurrently, each within its time limit. Those that cannot be built are
    /// reported with the others. The results are in the order of their declaration, followed by errors of the policies.
    pub(crate) async fn check(self) -> Vec<Checked> {
        let Self { config, policies, wrong } = self;
        let mut parts = Parts::new(config.name(), Shard::default(), policies.clone());
        // Parts that were built are checked, even if others could not be built.
        drop(parts.task(config.program.as_ref()));
        let conflicts = conflicts(&parts);
        let mut inner = std::mem::take(&mut parts.inner);
        let resources = Resource::connectors(&parts).chain(Resource::services(&parts)).map(|resource| {
            let of_end =
                inner.iter().position(|(what, name, _)| (*what, *name) == (resource.what(), resource.name()));
            let ask = of_end.map(|at| inner.swap_remove(at)).map(|(_, _, ask)| ask);
            check(resource, ask)
        });
        let resources: Vec<_> = resources.collect();
        let mut checked = join_all(resources).await;
        checked.extend(parts.unbuilt.into_iter().map(Checked::from));
        for (slot, error) in conflicts {
            let sink =
                checked.iter_mut().find(|resource| resource.what == "connector" && resource.name == slot);
            // A connector that could not be opened has its error already.
            if let Some(sink) = sink {
                sink.error.get_or_insert(error);
            }
        }
        let slots = config.outline.slots.iter().map(|slot| ("connector", slot.name));
        let declared: Vec<_> =
            slots.chain(config.outline.services.iter().map(|(name, _)| ("service", *name))).collect();
        let place = |checked: &Checked| {
            declared.iter().position(|resource| *resource == (checked.what, checked.name))
        };
        // The task comes after its parts.
        checked.sort_by_key(|checked| place(checked).unwrap_or(declared.len()));
        checked
            .extend(wrong.into_iter().chain(Slots::wrong(&config.outline, &policies)).map(Checked::policy));
        checked
    }
}

impl Checked {
    fn policy(error: Error) -> Self {
        Self { what: "policy", name: "policy", elapsed: None, error: Some(error) }
    }
}

impl From<Unbuilt> for Checked {
    fn from(Unbuilt { what, name, error }: Unbuilt) -> Self {
        Self { what, name, elapsed: None, error: Some(error) }
    }
}

impl Built {
    /// Fetches one transaction by its id, runs it through the task, settles it, and closes everything. The report is
    /// `None` if the process was stopped before the transaction started. A dry run gives the transaction back.
    ///
    /// # Errors
    /// Returns an error if something cannot be opened, or if the source cannot find transactions by id or has none with
    /// this id.
    pub(crate) async fn process_by_id(
        self,
        id: &str,
        dry_run: bool,
        stop: Stop,
    ) -> Result<(Option<SingleReport>, Vec<Error>), Vec<Error>> {
        // Checked before opening, so that the user does not wait for a broker first.
        if let Some((slot, source)) = self.origin()
            && source.offers().fetch_by_id.is_none()
        {
            return Err(vec![finds_none(slot)]);
        }
        let reach = if dry_run { Reach::SourceAndProcess } else { Reach::Whole };
        let Some(opened) = self.open_unless_stopped(reach, &stop).await? else {
            return Ok((None, Vec::new()));
        };
        let work = async {
            let (input, delivery) = tokio::select! {
                biased;
                found = find(&opened, id) => found?,
                () = stop.abort.cancelled() => return Err(Error::new(ErrorKind::Task, GIVEN_BACK)),
            };
            let (report, receipt) = opened.process_delivery(delivery, dry_run, stop.clone()).await;
            // The source would refuse a settlement whose lease is lost.
            let Some(receipt) = receipt else { return Ok((report, None)) };
            let settlement = Settlement::new(receipt, disposition(&report));
            let settled = input.settle(vec![settlement]).await;
            Ok((report, settled.map_err(|error| unsettled(id, &input, error)).err()))
        };
        let done = work.await;
        let mut errors = opened.close().await;
        match done {
            Ok((report, unsettled)) => {
                errors.extend(unsettled);
                Ok((Some(report), errors))
            }
            Err(error) => {
                errors.insert(0, error);
                Err(errors)
            }
        }
    }

    /// The dead-letter connector of the consumer, or else of the producer.
    pub(crate) fn dead_letter(&self) -> Option<(Slot, Arc<dyn AnyConnector>)> {
        let slot = self.slots.dead_letter.or(self.slots.undeliverable)?;
        Some((slot, self.connector(slot)?))
    }

    /// The connector that the consumer fetches from.
    pub(crate) fn origin(&self) -> Option<(Slot, Arc<dyn AnyConnector>)> {
        let slot = self.slots.source?;
        Some((slot, self.connector(slot)?))
    }

    fn connector(&self, slot: Slot) -> Option<Arc<dyn AnyConnector>> {
        let found = self.parts.connectors.iter().find(|(name, _)| *name == slot.name);
        found.map(|(_, connector)| Arc::clone(connector))
    }
}

impl Opened {
    /// Runs the transaction of a delivery through the task, and returns its receipt, to be settled. If the lease of the
    /// delivery is lost, the handler is cancelled and no receipt is returned, because another worker may have the
    /// transaction by then.
    async fn process_delivery(
        &self,
        delivery: Delivery,
        dry_run: bool,
        stop: Stop,
    ) -> (SingleReport, Option<Receipt>) {
        let (transaction, receipt) = delivery.into_parts();
        let stop = Stop { abort: stop.abort.child_token(), ..stop };
        let abort = stop.abort.clone();
        let mut processed = pin!(self.process_one(transaction, dry_run, stop));
        tokio::select! {
            biased;
            report = processed.as_mut() => return (report, Some(receipt)),
            () = lease_lost(&receipt) => abort.cancel(),
        }
        let mut report = processed.await;
        // A lost lease wins over a handler that ends at the same moment, because another worker may have the
        // transaction by then.
        report.disposition = None;
        report.error = Some(TransactionError::system(LEASE_LOST));
        (report, None)
    }
}

/// The error of a transaction whose lease was lost while it was processed.
const LEASE_LOST: &str = "its lease was lost while it was processed; the source delivers it again";

/// Waits until the lease of a delivery is lost; forever if its source has no leases.
async fn lease_lost(receipt: &Receipt) {
    match Lease::of(receipt) {
        Some(lease) => poll_fn(|context| lease.poll_lost(context.waker())).await,
        None => std::future::pending().await,
    }
}

async fn find(opened: &Opened, id: &str) -> Result<(Input, Delivery), Error> {
    let (Some(input), Some(slot)) = (opened.input(), opened.slots.source) else {
        let what = format!("task `{}` fetches nothing, so there is nothing to find by its id", opened.name);
        return Err(Error::new(ErrorKind::Connector, what));
    };
    let failed = |what: &str| failed(slot, what);
    let found = input.fetch_by_id(id).await;
    match found.map_err(|error| failed(&format!("cannot look for `{id}`")).with_source(error))? {
        Some(Some(delivery)) => Ok((input.clone(), delivery)),
        Some(None) => Err(failed(&format!("has no transaction `{id}`"))),
        None => Err(finds_none(slot)),
    }
}

fn failed(slot: Slot, what: &str) -> Error {
    Error::new(ErrorKind::Connector, format!("connector `{}` ({}) {what}", slot.name, slot.kind))
}

fn finds_none(slot: Slot) -> Error {
    failed(slot, "cannot find a transaction by its id")
        .with_hint("give the payload instead: `process-transaction <TASK> --payload-file <FILE>`")
}

/// The settlement of a transaction that was processed by hand.
fn disposition(report: &SingleReport) -> Disposition {
    match report.disposition {
        Some("ack" | "dead_letter") => Disposition::Ack,
        Some("reject") => Disposition::Reject,
        _ => Disposition::Requeue,
    }
}

fn unsettled(id: &str, input: &Input, error: ConnectorError) -> Error {
    let what = format!("connector {input}: it is unknown whether `{id}` was settled");
    Error::new(ErrorKind::Connector, what).with_source(error)
}

async fn check(resource: Resource, ask_inner: Option<Ask>) -> Checked {
    let began = Instant::now();
    let all = async {
        if let Some(ask) = ask_inner {
            ask().await?;
        }
        tried(&resource).await
    };
    let tried = tokio::time::timeout(OPEN_WITHIN, resource.caught(all)).await;
    let late = || resource.late(if resource.what() == "service" { "answer" } else { "open" }, OPEN_WITHIN);
    let error = tried.unwrap_or_else(|_| Err(late())).err();
    Checked { what: resource.what(), name: resource.name(), elapsed: Some(began.elapsed()), error }
}

async fn tried(resource: &Resource) -> Result<(), Error> {
    match resource {
        Resource::Connector(slot, connector) => {
            connector.check().await.map_err(|error| connector_error(slot, connector.kind(), &error))
        }
        Resource::Service(name, service) => {
            service.check().await.map_err(|error| service_error(name, &error))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, OnceLock};

    use futures_util::future::BoxFuture;

    use super::*;
    use crate::connector::kit::{Extend, Leases};
    use crate::connector::{
        Capabilities, Connector, ConnectorConfig, Context, FetchById, FetchRequest, Source,
    };
    use crate::policy::{ConsumerPolicy, Policies};
    use crate::runner::fake::{price_orders, ship_orders};
    use crate::task::{Consumer, Form, Program, Runnable, Setup, Task, TaskConfig};
    use crate::telemetry::RunReport;
    use crate::transaction::{Payload, Transaction};

    /// A source of one transaction with the id `here`, which records its settlements.
    #[derive(Clone, Default)]
    struct Shelf(Arc<Mutex<Vec<Disposition>>>);

    impl ConnectorConfig for Shelf {
        type Connector = Self;

        fn build(&self, _: &Context) -> Result<Self, ConnectorError> {
            Ok(self.clone())
        }
    }

    impl Connector for Shelf {
        const KIND: &'static str = "shelf";

        fn capabilities(&self) -> Capabilities<'_> {
            Capabilities::none().fetch_by_id(self)
        }
    }

    impl FetchById for Shelf {
        async fn fetch_by_id(&self, id: &str) -> Result<Option<Delivery>, ConnectorError> {
            let made = || Delivery::new(Transaction::builder().id("here").build(), Receipt::new(1));
            Ok((id == "here").then(made))
        }
    }

    impl Source for Shelf {
        async fn fetch(&self, _: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
            Ok(Vec::new())
        }

        async fn settle(&self, settlements: Vec<Settlement>) -> Result<(), ConnectorError> {
            self.0.lock().unwrap().extend(settlements.iter().map(Settlement::disposition));
            Ok(())
        }
    }

    /// A task that reports this disposition for each transaction.
    struct Says(Shelf, Option<&'static str>);

    impl Task for Says {
        const NAME: &'static str = "says";
    }

    impl Program for Says {
        fn assemble(&self, parts: &mut Parts) -> Option<Box<dyn Runnable>> {
            parts.source("input", &self.0)?;
            Some(Box::new(Self(self.0.clone(), self.1)))
        }
    }

    impl Runnable for Says {
        fn run(&self, _: Setup) -> BoxFuture<'_, RunReport> {
            Box::pin(std::future::pending())
        }

        fn process(&self, _: Setup, transaction: Transaction, dry_run: bool) -> BoxFuture<'_, SingleReport> {
            let mut report = SingleReport::new(transaction.id());
            report.disposition = self.1.filter(|_| !dry_run);
            Box::pin(std::future::ready(report))
        }
    }

    /// A source whose other side takes back its only delivery at the first attempt to extend the lease.
    #[derive(Clone)]
    struct Leased {
        settled: Arc<Mutex<Vec<Disposition>>>,
        leases: Arc<OnceLock<Leases<u32>>>,
    }

    struct TakenBack;

    impl Extend<u32> for TakenBack {
        async fn extend(&self, tokens: Vec<u32>) -> Result<Vec<usize>, ConnectorError> {
            Ok((0..tokens.len()).collect())
        }
    }

    impl ConnectorConfig for Leased {
        type Connector = Self;

        fn build(&self, _: &Context) -> Result<Self, ConnectorError> {
            Ok(self.clone())
        }
    }

    impl Connector for Leased {
        const KIND: &'static str = "leased";

        fn capabilities(&self) -> Capabilities<'_> {
            Capabilities::none().fetch_by_id(self)
        }
    }

    impl FetchById for Leased {
        async fn fetch_by_id(&self, id: &str) -> Result<Option<Delivery>, ConnectorError> {
            let length = Duration::from_secs(30);
            let leases = self.leases.get_or_init(|| Leases::start("says.input", length, TakenBack));
            let receipt = leases.hold(1, Instant::now());
            let transaction = Transaction::builder().id(id.to_owned()).payload(Payload::value(7.into()));
            Ok(Some(Delivery::new(transaction.build(), receipt)))
        }
    }

    impl Source for Leased {
        async fn fetch(&self, _: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
            Ok(Vec::new())
        }

        async fn settle(&self, settlements: Vec<Settlement>) -> Result<(), ConnectorError> {
            self.settled.lock().unwrap().extend(settlements.iter().map(Settlement::disposition));
            Ok(())
        }
    }

    #[crate::task(connectors(input), consumer(transaction_timeout = "1h"))]
    struct TakesAnHour;

    impl Consumer for TakesAnHour {
        type Payload = u32;
        type Output = ();

        async fn process_transaction(&self, _: &Transaction<u32>) -> crate::transaction::Result<()> {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_lost_cancels_what_is_processed_by_hand() {
        let input = Leased { settled: Arc::default(), leases: Arc::default() };
        let config = TakesAnHour::config(TakesAnHourWiring { input: input.clone() });
        let (built, began) = (Plan::new(config).build(Shard::default()).unwrap(), Instant::now());
        let (report, errors) = built.process_by_id("here", false, Stop::default()).await.unwrap();
        let report = report.unwrap();
        assert_eq!(report.error.unwrap().message(), LEASE_LOST);
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
        assert_eq!((report.disposition, errors.len()), (None, 0));
        assert!(input.settled.lock().unwrap().is_empty(), "the source would refuse it");
    }

    async fn by_id(shelf: &Shelf, says: &'static str, id: &str, dry_run: bool) -> Result<(), Vec<Error>> {
        let policies = Policies { consumer: Some(ConsumerPolicy::DEFAULT), producer: None };
        let program = Arc::new(Says(shelf.clone(), Some(says)));
        let config = TaskConfig::new::<Says>(Form::Async, policies, program).__source::<Shelf>("input");
        let built = Plan::new(config).build(Shard::default()).unwrap();
        built.process_by_id(id, dry_run, Stop::default()).await.map(drop)
    }

    #[tokio::test]
    async fn the_source_is_told_what_became_of_the_one_it_found() {
        let shelf = Shelf::default();
        for says in ["ack", "dead_letter", "reject", "requeue"] {
            by_id(&shelf, says, "here", false).await.unwrap();
        }
        by_id(&shelf, "ack", "here", true).await.unwrap();
        let told = std::mem::take(&mut *shelf.0.lock().unwrap());
        let [ack, reject, requeue] = [Disposition::Ack, Disposition::Reject, Disposition::Requeue];
        assert_eq!(told, [ack, ack, reject, requeue, requeue], "a rehearsal gives it back");
    }

    #[tokio::test]
    async fn an_id_that_is_not_there_is_told_and_nothing_is_settled() {
        let shelf = Shelf::default();
        let errors = by_id(&shelf, "ack", "gone", false).await.unwrap_err();
        assert_eq!(errors[0].to_string(), "connector `input` (shelf) has no transaction `gone`");
        assert!(shelf.0.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_cannot_be_built_is_told_beside_what_is_tried() {
        let policy = ConsumerPolicy { dead_letter: Some("dql".into()), ..ConsumerPolicy::DEFAULT };
        let plan = || Plan::new(ship_orders("unbuilt", policy.clone()));
        let checked = plan().check().await;
        let said: Vec<_> = checked
            .iter()
            .map(|resource| (resource.name, resource.error.is_none(), resource.elapsed.is_some()))
            .collect();
        let (well, unbuilt) = ((true, true), (false, false));
        let names =
            [("input", well), ("output", unbuilt), ("dlq", unbuilt), ("carrier", well), ("rival", unbuilt)];
        let expected: Vec<_> = names
            .into_iter()
            .chain([("policy", unbuilt)])
            .map(|(name, (ok, tried))| (name, ok, tried))
            .collect();
        assert_eq!(said, expected);
        let told: Vec<_> =
            plan().build(Shard::default()).err().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "task `ship-orders`: `dead_letter` names `dql`, which is no connector of the task",
                "connector `output` (stubborn): there is no `region`",
                "connector `dlq` (stubborn): there is no `bucket`",
                "service `rival`: the means cannot be read",
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_answers_is_late_beside_what_does() {
        let config = price_orders("never-opens", ConsumerPolicy::DEFAULT);
        let checked = Plan::new(config).check().await;
        let said: Vec<_> = checked.iter().map(|resource| (resource.name, resource.error.is_none())).collect();
        assert_eq!(said, [("input", true), ("output", true), ("dlq", false)], "in the order of the task");
        let late = checked[2].error.as_ref().unwrap().to_string();
        assert_eq!(late, "connector `dlq` (stubborn): did not open within 30 seconds");
    }
}
