use ergon::prelude::*;

#[derive(Deserialize)]
struct Settings {
    orders: MemoryConfig,
}

#[ergon::task(execute)]
struct Idle;

impl Execute for Idle {
    async fn execute(&self, _run: &Run) -> Result<()> {
        Ok(())
    }
}

#[ergon::task(connectors(output), producer())]
struct Count;

impl Producer for Count {
    type Payload = u32;
    type Output = ();

    async fn prepare_transaction(&self, _number: &Transaction<u32>) -> Result<()> {
        Ok(())
    }
}

#[allow(dead_code)]
mod program {
    use super::*;

    ergon::main! { tasks: [Idle {}, Count { output: orders }], settings: Settings }
}

fn main() {}
