//! Lists, removes and redrives the dead letters of a memory queue, so that tests can inspect and redrive dead letters
//! without a broker.

use super::Memory;
use crate::connector::{ConnectorError, DeadLetterVisitor, DeadLetters, Disposition, Redrive, Visit};
use crate::transaction::Transaction;

impl DeadLetters for Memory {
    async fn visit(&self, visitor: &mut dyn DeadLetterVisitor) -> Result<(), ConnectorError> {
        let mut kept = Vec::new();
        let mut all = self.queue.take(usize::MAX, self.epoch).into_iter();
        for letter in all.by_ref() {
            let fate = visitor.visit(letter.transaction().clone()).await;
            match fate {
                Visit::Remove => self.queue.settle(&[letter.settle(Disposition::Ack)]),
                Visit::Keep | Visit::Stop => kept.push(letter),
            }
            if fate == Visit::Stop {
                break;
            }
        }
        // Each dead letter that stays returns to its original place. In reverse order, each place is the front of the
        // queue, which is cheap.
        let back = kept.into_iter().chain(all).rev();
        let back: Vec<_> = back.map(|letter| letter.settle(Disposition::Requeue)).collect();
        self.queue.settle(&back);
        Ok(())
    }
}

impl Redrive for Memory {
    async fn redrive(&self, transaction: Transaction) -> Result<(), ConnectorError> {
        self.queue.push(transaction);
        Ok(())
    }
}
