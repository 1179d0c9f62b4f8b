// errors: 1
use ergon::connector::{Delivery, Settlement};
use ergon::prelude::*;

fn settle_twice(delivery: Delivery) -> [Settlement; 2] {
    [delivery.settle(Disposition::Ack), delivery.settle(Disposition::Reject)]
}

fn main() {
    let _ = settle_twice;
}
