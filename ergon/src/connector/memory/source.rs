//! The source side of a memory queue: fetches, waits for data, and settles.

use super::Memory;
use crate::connector::{
    ConnectorError, Count, Delivery, Endpoint, FetchById, FetchRequest, Settlement, Source,
};

impl Source for Memory {
    const HAS_DEAD_LETTERS: bool = true;

    async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
        if request.waits() {
            return Ok(self.queue.wait(request.max(), self.epoch).await);
        }
        Ok(self.queue.take(request.max(), self.epoch))
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<(), ConnectorError> {
        self.queue.settle(&settlements);
        Ok(())
    }

    fn reads_from(&self) -> Vec<Endpoint> {
        vec![self.queue.place()]
    }
}

impl Count for Memory {
    async fn count(&self) -> Result<u64, ConnectorError> {
        Ok(self.shard.share(self.queue.waiting() as u64))
    }
}

impl FetchById for Memory {
    async fn fetch_by_id(&self, id: &str) -> Result<Option<Delivery>, ConnectorError> {
        Ok(self.queue.find(id, self.epoch))
    }
}
