// `$crate` in `crate = …` is the crate of the macro, not the crate that calls the macro.
use ergon::prelude::*;

pub use ::ergon as re_exported;

macro_rules! count {
    ($name:ident, $function:ident) => {
        #[ergon::task(connectors(input), consumer(process = PATIENT), crate = $crate::re_exported)]
        struct $name;

        impl Consumer for $name {
            type Payload = Value;
            type Output = ();

            async fn process_transaction(&self, _value: &Transaction<Value>) -> Result<()> {
                $function(1).map(drop)
            }
        }

        #[ergon::run_fn(max_attempts = 2, crate = $crate::re_exported)]
        fn $function(number: u32) -> Result<u32> {
            Ok(number)
        }
    };
}

const PATIENT: RetryPolicy = RetryPolicy { max_attempts: 5, ..RetryPolicy::DEFAULT };

count!(Count, counted);

#[derive(Deserialize)]
struct Settings {
    orders: MemoryConfig,
}

macro_rules! program {
    ($task:ident) => {
        ergon::main! {
            settings: Settings,
            tasks: [$task { input: orders }],
            crate: $crate::re_exported,
        }
    };
}

#[allow(dead_code)]
mod written {
    use super::*;

    program!(Count);
}

fn main() {}
