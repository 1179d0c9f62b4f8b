//! The connectors and services of a task one by one, without a run: tried, looked into, asked for one transaction.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::build::{End, OPEN_WITHIN, Reach, service_error};
use super::{Built, Opened};
use crate::connector::{AnyConnector, ConnectorError, Delivery, Disposition, Input, Settlement};
use crate::error::{Error, ErrorKind};
use crate::task::{Monitor, Slot, Stop, connector_error};
use crate::telemetry::SingleReport;

/// What one connector or service said when it was tried.
#[derive(Debug)]
pub(crate) struct Checked {
    /// `connector` or `service`.
    pub(crate) what: &'static str,
    pub(crate) name: &'static str,
    pub(crate) elapsed: Duration,
    pub(crate) error: Option<Error>,
}

impl Built {
    /// Tries all connectors and services at once, each within its deadline; in the order of their declaration.
    pub(crate) async fn check(self) -> Vec<Checked> {
        let ends = self.ends(Reach::Whole);
        let mut checked = join_all(ends.iter().map(check)).await;
        let slots: Vec<&str> = self.parts.connectors.iter().map(|(slot, _)| *slot).collect();
        let declared = |name: &str| slots.iter().position(|slot| *slot == name).unwrap_or(usize::MAX);
        checked.sort_by_key(|checked| (checked.what, declared(checked.name)));
        checked
    }

    /// Fetches one transaction by its id, runs it through the task, settles it, then closes everything. No report: it
    /// was stopped. A dry run gives it back untouched.
    ///
    /// # Errors
    /// What cannot be opened; a source that cannot find one by its id, or has none of this id.
    pub(crate) async fn process_by_id(
        self,
        id: &str,
        dry_run: bool,
        stop: Stop,
    ) -> Result<(Option<SingleReport>, Vec<Error>), Vec<Error>> {
        let reach = if dry_run { Reach::SourceAndProcess } else { Reach::Whole };
        let opened = self.open(reach).await?;
        let work = async {
            let (input, delivery) = find(&opened, id).await?;
            let (transaction, receipt) = delivery.into_parts();
            let setup = opened.setup(stop.clone(), Monitor::default());
            let report = opened.task.process(setup, transaction, dry_run).await;
            let settlement = Settlement::new(receipt, told(&report));
            let settled = input.settle(vec![settlement]).await;
            Ok((report, settled.map_err(|error| unsettled(id, &input, error)).err()))
        };
        let done = tokio::select! {
            done = work => Some(done),
            () = stop.drain.cancelled() => None,
        };
        let mut errors = opened.close().await;
        match done {
            None => Ok((None, errors)),
            Some(Ok((report, unsettled))) => {
                errors.extend(unsettled);
                Ok((Some(report), errors))
            }
            Some(Err(error)) => {
                errors.insert(0, error);
                Err(errors)
            }
        }
    }

    /// The connector that rejected transactions are dispatched to; of a consumer, else of a producer.
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

async fn find(opened: &Opened, id: &str) -> Result<(Input, Delivery), Error> {
    let (Some(input), Some(slot)) = (opened.input(), opened.slots.source) else {
        let what = format!("task `{}` fetches nothing, so there is nothing to find by its id", opened.name);
        return Err(Error::new(ErrorKind::Connector, what));
    };
    let failed = |what: &str| {
        Error::new(ErrorKind::Connector, format!("connector `{}` ({}) {what}", slot.name, slot.kind))
    };
    let found = input.fetch_by_id(id).await;
    match found.map_err(|error| failed(&format!("cannot look for `{id}`")).with_source(error))? {
        Some(Some(delivery)) => Ok((input.clone(), delivery)),
        Some(None) => Err(failed(&format!("has no transaction `{id}`"))),
        None => Err(failed("cannot find a transaction by its id")
            .with_hint("give the payload instead: `process-transaction <TASK> --payload-file <FILE>`")),
    }
}

/// What the source is told of a transaction that was run by hand.
fn told(report: &SingleReport) -> Disposition {
    match report.disposition {
        Some("ack" | "dead_letter") => Disposition::Ack,
        Some("reject") => Disposition::Reject,
        _ => Disposition::Requeue,
    }
}

fn unsettled(id: &str, input: &Input, error: ConnectorError) -> Error {
    let what = format!("connector {input}: nobody knows whether `{id}` was settled");
    Error::new(ErrorKind::Connector, what).with_source(error)
}

async fn check(end: &End) -> Checked {
    let began = Instant::now();
    let (what, name) = match end {
        End::Connector(slot, _) => ("connector", *slot),
        End::Service(name, _) => ("service", *name),
    };
    let tried = tokio::time::timeout(OPEN_WITHIN, tried(end)).await;
    let error = tried.unwrap_or_else(|_| Err(end.late("open", OPEN_WITHIN))).err();
    Checked { what, name, elapsed: began.elapsed(), error }
}

async fn tried(end: &End) -> Result<(), Error> {
    match end {
        End::Connector(slot, connector) => {
            connector.check().await.map_err(|error| connector_error(slot, connector.kind(), &error))
        }
        End::Service(name, service) => {
            let opened = service.open().await;
            let closed = if opened.is_ok() { service.close().await } else { Ok(()) };
            opened.and(closed).map_err(|error| service_error(name, &error))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::future::BoxFuture;

    use super::*;
    use crate::connector::{
        Abilities, Connector, ConnectorConfig, Context, FetchById, FetchRequest, Receipt, Shard, Source,
    };
    use crate::policy::{ConsumerPolicy, Policies};
    use crate::runner::Plan;
    use crate::runner::fake::price_orders;
    use crate::task::{Assembly, Form, Parts, Program, Runnable, Setup, Task, TaskConfig};
    use crate::telemetry::RunReport;
    use crate::transaction::Transaction;

    /// A source of one transaction, called `here`; remembers what became of it.
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

        fn abilities(&self) -> Abilities<'_> {
            Abilities::none().fetch_by_id(self)
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

    /// A task that says of each transaction that this became of it.
    struct Says(Shelf, Option<&'static str>);

    impl Task for Says {
        const NAME: &'static str = "says";
    }

    impl Program for Says {
        fn assemble(&self, mut parts: Parts) -> Result<Assembly, Error> {
            parts.source("input", &self.0)?;
            Ok(Assembly { parts, task: Box::new(Self(self.0.clone(), self.1)) })
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

    async fn by_id(shelf: &Shelf, says: &'static str, id: &str, dry_run: bool) -> Result<(), Vec<Error>> {
        let policies = Policies { consumer: Some(ConsumerPolicy::DEFAULT), producer: None };
        let program = Arc::new(Says(shelf.clone(), Some(says)));
        let config =
            TaskConfig::new::<Says>(Form::Async, policies.clone(), program).__source::<Shelf>("input");
        let built = Plan { config, policies }.build(Shard::default()).unwrap();
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

    #[tokio::test(start_paused = true)]
    async fn what_never_answers_is_late_beside_what_does() {
        let config = price_orders("never-opens", ConsumerPolicy::DEFAULT);
        let policies = config.outline.policies.clone();
        let built = Plan { config, policies }.build(Shard::default()).unwrap();
        let checked = built.check().await;
        let said: Vec<_> = checked.iter().map(|end| (end.name, end.error.is_none())).collect();
        assert_eq!(said, [("input", true), ("output", true), ("dlq", false)], "in the order of the task");
        let late = checked[2].error.as_ref().unwrap().to_string();
        assert_eq!(late, "connector `dlq` (stubborn): did not open within 30 seconds");
    }
}
