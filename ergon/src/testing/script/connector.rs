//! The script as a connector: source and sink, with the faults that the test has planned.

use super::Script;
use super::fault::{Calls, Fault};
use super::state::State;
use crate::connector::{
    Capabilities, Connector, ConnectorConfig, ConnectorError, Context, Count, Delivery, FetchRequest,
    Settlement, Sink, Source,
};
use crate::transaction::Transaction;

impl ConnectorConfig for Script {
    type Connector = Self;

    fn build(&self, _context: &Context) -> Result<Self, ConnectorError> {
        Ok(self.clone())
    }
}

impl Connector for Script {
    const KIND: &'static str = "script";

    fn capabilities(&self) -> Capabilities<'_> {
        Capabilities::none().count(self)
    }
}

impl Count for Script {
    async fn count(&self) -> Result<u64, ConnectorError> {
        Ok(self.state().waiting.len() as u64)
    }
}

impl Source for Script {
    const HAS_DEAD_LETTERS: bool = true;

    async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
        let Some(fault) = self.begin(|state| &mut state.fetches).await else {
            return Ok(self.take(request).await);
        };
        if matches!(fault, Fault::Unanswered) {
            self.state().take_in_vain(request.max());
        }
        Err(fault.into_error())
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<(), ConnectorError> {
        let fault = self.begin(|state| &mut state.settles).await;
        self.state().settle(&settlements, |index| arrives(fault.as_ref(), index));
        self.shared.arrived.notify_waiters();
        answer(fault)
    }
}

impl Sink for Script {
    async fn dispatch(&self, transactions: Vec<Transaction>) -> Result<(), ConnectorError> {
        let fault = self.begin(|state| &mut state.dispatches).await;
        let taken = transactions.into_iter().enumerate();
        let taken = taken.filter(|(index, _)| arrives(fault.as_ref(), *index));
        self.state().dispatched.extend(taken.map(|(_, transaction)| transaction));
        answer(fault)
    }
}

impl Script {
    /// Counts a call and returns its planned fault. Never returns for a fault that hangs.
    async fn begin(&self, calls: impl FnOnce(&mut State) -> &mut Calls) -> Option<Fault> {
        let fault = calls(&mut self.state()).begin();
        if matches!(fault, Some(Fault::Hangs)) {
            std::future::pending::<()>().await;
        }
        fault
    }

    /// Delivers the waiting transactions. Waits for one, if the request waits.
    async fn take(&self, request: &FetchRequest) -> Vec<Delivery> {
        loop {
            // The wait is created before the look at the queue, so that a push between the two wakes the fetch.
            let arrived = self.shared.arrived.notified();
            let deliveries = self.state().take(request.max());
            if !deliveries.is_empty() || !request.waits() || request.max() == 0 {
                return deliveries;
            }
            arrived.await;
        }
    }
}

/// Whether the item with this index of a call arrives. The answer to the caller does not show it.
fn arrives(fault: Option<&Fault>, index: usize) -> bool {
    fault.is_none_or(|fault| fault.lets_through(index))
}

/// The answer to the caller.
fn answer(fault: Option<Fault>) -> Result<(), ConnectorError> {
    fault.map_or(Ok(()), |fault| Err(fault.into_error()))
}
