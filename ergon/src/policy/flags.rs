//! Values that options of the command line set.

use ergon_schema::{CONSUMER, Key, PRODUCER};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{ConsumerLayer, Policies, ProducerLayer, Role};

/// A value that an option sets.
#[derive(Debug, Clone)]
pub(crate) struct Flag {
    pub(crate) key: &'static str,
    pub(crate) value: Value,
    /// The option as it was written: `--concurrency 8`.
    pub(crate) written: String,
}

/// All values that the options of one command line set: the last layer of a policy.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flags {
    all: Vec<Flag>,
    consumer: Box<ConsumerLayer>,
    producer: Box<ProducerLayer>,
}

impl Flags {
    /// Reads the values as the settings are read.
    ///
    /// # Errors
    /// A value that its key does not take.
    pub(crate) fn new(flags: Vec<Flag>) -> Result<Self, serde_json::Error> {
        let (consumer, producer) = (layer(&flags, CONSUMER)?, layer(&flags, PRODUCER)?);
        Ok(Self { all: flags, consumer, producer })
    }

    /// Changes the policy of the role that the options are for, and returns that role: the consumer of a hybrid.
    pub(crate) fn apply(&self, policies: &mut Policies) -> Role {
        if let Some(policy) = &mut policies.consumer {
            ConsumerLayer::clone(&self.consumer).apply(policy);
            return Role::Consumer;
        }
        if let Some(policy) = &mut policies.producer {
            ProducerLayer::clone(&self.producer).apply(policy);
        }
        Role::Producer
    }

    /// The option that sets a key, as it was written.
    pub(crate) fn written(&self, key: &str) -> Option<&str> {
        self.all.iter().find(|flag| flag.key == key).map(|flag| &*flag.written)
    }
}

/// The layer of the flags whose keys a role has.
fn layer<L: DeserializeOwned>(flags: &[Flag], keys: &'static [Key]) -> Result<L, serde_json::Error> {
    let of_role = flags.iter().filter(|flag| Key::find(keys, flag.key).is_some());
    let values: Map<_, _> = of_role.map(|flag| (flag.key.to_owned(), flag.value.clone())).collect();
    serde_json::from_value(Value::Object(values))
}
