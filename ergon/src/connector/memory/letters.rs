//! Dead letters in a memory queue.

use super::Memory;
use crate::connector::{ConnectorError, Disposition, LetterFate, Letters, TakeBack, Visitor};
use crate::transaction::Transaction;

impl Letters for Memory {
    async fn visit(&self, visitor: &mut dyn Visitor) -> Result<(), ConnectorError> {
        let mut kept = Vec::new();
        let mut all = self.queue.take(usize::MAX, self.epoch).into_iter();
        for letter in all.by_ref() {
            let fate = visitor.visit(letter.transaction().clone()).await;
            match fate {
                LetterFate::Taken => self.queue.settle(&[letter.settle(Disposition::Ack)]),
                LetterFate::Kept | LetterFate::Enough => kept.push(letter),
            }
            if fate == LetterFate::Enough {
                break;
            }
        }
        // What is given back goes to the front: the last one first keeps their order.
        let back = kept.into_iter().chain(all).rev();
        let back: Vec<_> = back.map(|letter| letter.settle(Disposition::Requeue)).collect();
        self.queue.settle(&back);
        Ok(())
    }
}

impl TakeBack for Memory {
    async fn take_back(&self, transaction: Transaction) -> Result<(), ConnectorError> {
        self.queue.push(transaction);
        Ok(())
    }
}
