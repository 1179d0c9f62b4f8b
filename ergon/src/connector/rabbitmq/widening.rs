//! Further consumers, for as long as dead letters wait.
//!
//! The broker bounds the unsettled messages of each consumer. Messages whose dead letter waits stay unsettled for long:
//! with a prefetch of one, a single one of them would stop the queue. So each queue is consumed once more, by consumers
//! with a prefetch of their own, until no dead letter waits.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Context;

use futures_util::task::AtomicWaker;
use lapin::Consumer;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;

use super::consuming::{Consuming, lock};
use super::error;

/// The least prefetch of a further consumer.
const LEAST: usize = 16;

/// The further consumers of one session.
#[derive(Default)]
pub(super) struct Widening {
    /// How many messages wait, as was said last.
    waiting: AtomicUsize,
    /// By how many messages of each queue the bound is raised; held while that changes.
    room: tokio::sync::Mutex<usize>,
    state: Mutex<State>,
    /// Wakes whoever fetches: there is a further consumer.
    fetcher: AtomicWaker,
}

#[derive(Default)]
struct State {
    /// Opened, and not yet with those that are fetched from.
    opened: Vec<(Arc<str>, Consumer)>,
    /// The tags of all further consumers.
    tags: Vec<Arc<str>>,
}

impl Widening {
    /// The consumers that were opened since the last call; whoever fetches is woken when there is another.
    pub(super) fn take_opened(&self, cx: &Context<'_>) -> Vec<(Arc<str>, Consumer)> {
        self.fetcher.register(cx.waker());
        std::mem::take(&mut lock(&self.state).opened)
    }

    /// Whether a consumer is one of these: when it ends, the queue is consumed all the same.
    pub(super) fn is_further(&self, consumer: &Consumer) -> bool {
        lock(&self.state).tags.iter().any(|tag| **tag == *consumer.tag().as_str())
    }
}

impl Consuming {
    /// Takes in that so many messages wait for their dead letter to be taken.
    pub(super) fn widen(self: &Arc<Self>, waiting: usize) {
        self.widening.waiting.store(waiting, Ordering::Relaxed);
        if self.prefetch > 0 {
            let session = Arc::clone(self);
            // On its own: one that is cancelled on the way would leave a consumer that nobody fetches from.
            tokio::spawn(async move { session.make_room().await });
        }
    }

    async fn make_room(&self) {
        let mut room = self.widening.room.lock().await;
        let waiting = self.widening.waiting.load(Ordering::Relaxed);
        if waiting == 0 {
            self.narrow().await;
            *room = 0;
        }
        // What is left of the bound suffices while less than half of it is taken.
        while waiting * 2 > usize::from(self.prefetch) + *room && self.is_up() {
            let more = u16::try_from((*room).max(LEAST)).unwrap_or(u16::MAX);
            if let Err(error) = self.consume_once_more(more).await {
                tracing::warn!(
                    error = error::words(&error),
                    waiting,
                    "the queue cannot be consumed once more, so messages whose dead letter waits hold up others"
                );
                return;
            }
            *room += usize::from(more);
        }
    }

    async fn consume_once_more(&self, prefetch: u16) -> Result<(), lapin::Error> {
        self.channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        for queue in &self.queues {
            let options = BasicConsumeOptions::default();
            let opening =
                self.channel.basic_consume((&**queue).into(), "".into(), options, FieldTable::default());
            let consumer = opening.await?;
            let mut state = lock(&self.widening.state);
            state.tags.push(Arc::from(consumer.tag().as_str()));
            state.opened.push((Arc::clone(queue), consumer));
            drop(state);
            self.widening.fetcher.wake();
        }
        Ok(())
    }

    /// Ends the further consumers. What they have received is fetched all the same.
    async fn narrow(&self) {
        let tags = lock(&self.widening.state).tags.clone();
        for tag in tags {
            // Of a session that is lost, nothing is left to end.
            let _ = self.channel.basic_cancel((&*tag).into(), BasicCancelOptions::default()).await;
        }
    }
}
