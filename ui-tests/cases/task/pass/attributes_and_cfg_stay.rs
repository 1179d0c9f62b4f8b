use ergon::prelude::*;

/// A documented task.
#[derive(Debug)]
#[ergon::task(connectors(input))]
#[allow(clippy::struct_field_names)]
pub struct Orders {
    /// Only on no system at all.
    #[cfg(any())]
    never: Missing,
    /// On every system.
    #[cfg(all())]
    #[init(vec![1])]
    always: Vec<u8>,
}

impl Consumer for Orders {
    type Payload = String;
    type Output = ();

    async fn process_transaction(&self, _order: &Transaction<String>) -> Result<()> {
        Ok(())
    }
}

fn main() {}
