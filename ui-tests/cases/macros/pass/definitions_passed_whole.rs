// The whole struct, function or enum is one fragment of a macro, and macros call macros.
use ergon::prelude::*;
use ergon::task::Task;

macro_rules! as_task {
    ($struct:item, $name:ident, $payload:ty) => {
        #[ergon::task(connectors(input), producer(), consumer(concurrency = 2))]
        $struct

        impl Consumer for $name {
            type Payload = $payload;
            type Output = Vec<Transaction>;

            async fn process_transaction(&self, value: &Transaction<$payload>) -> Result<Vec<Transaction>> {
                Ok(vec![value.forward()])
            }
        }

        impl Producer for $name {
            type Payload = $payload;
            type Output = ();

            async fn prepare_transaction(&self, _value: &Transaction<$payload>) -> Result<()> {
                Ok(())
            }
        }
    };
}

macro_rules! twice {
    ($first:ident, $second:ident, $payload:ty) => {
        as_task!(pub struct $first { #[init(3)] most: usize }, $first, $payload);
        as_task!(struct $second;, $second, $payload);
    };
}

twice!(First, Second, Vec<u8>);

macro_rules! in_a_function {
    ($make:ident, $name:ident, $wiring:ident, ($($section:tt)*)) => {
        fn $make(memory: MemoryConfig) -> TaskConfig {
            #[ergon::task($($section)*)]
            struct $name;

            impl Execute for $name {
                async fn execute(&self, run: &Run) -> Result<()> {
                    run.consume(self, &self.consumer_policy).await?;
                    Ok(())
                }
            }

            impl Consumer for $name {
                type Payload = Bytes;
                type Output = ();

                async fn process_transaction(&self, _value: &Transaction<Bytes>) -> Result<()> {
                    Ok(())
                }
            }

            $name::config($wiring { input: memory })
        }
    };
}

in_a_function!(nightly, Nightly, NightlyWiring, (connectors(input), consumer(mode = "batch"), execute));
in_a_function!(weekly, Weekly, WeeklyWiring, (connectors(input), consumer(), execute, workers = 2));

macro_rules! tried {
    ($function:item) => {
        #[ergon::run_fn(max_attempts = 2)]
        $function
    };
}

tried!(
    fn length(text: &str) -> Result<usize> {
        Ok(text.len())
    }
);

macro_rules! failure {
    ($error:item) => {
        #[derive(Debug, thiserror::Error, TransactionError)]
        #[business]
        $error
    };
}

failure!(
    #[error("it is wrong")]
    struct Wrong(u8);
);

fn main() {
    let _ = (nightly, weekly, length("a"), First::NAME, Second::NAME, Wrong(1).0);
}
