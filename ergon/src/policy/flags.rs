//! Turns the options of the command line, such as `--concurrency 8`, into the last layer of a policy, which overrides
//! all others.

use ergon_schema::{CONSUMER, Key, PRODUCER};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{ConsumerLayer, Policies, ProducerLayer, Role};

/// A value that an option sets.
#[derive(Debug, Clone)]
pub(crate) struct Flag {
    pub(crate) key: &'static str,
    pub(crate) value: Value,
    /// The option as the user wrote it: `--concurrency 8`.
    pub(crate) written: String,
}

/// The values that the options of one command line set: the last layer of a policy.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flags {
    all: Vec<Flag>,
    consumer: Box<ConsumerLayer>,
    producer: Box<ProducerLayer>,
}

impl Flags {
    /// Reads the values by the rules of the settings.
    ///
    /// # Errors
    /// A value has a type that its key does not take.
    pub(crate) fn new(flags: Vec<Flag>) -> Result<Self, serde_json::Error> {
        let (consumer, producer) = (layer(&flags, CONSUMER)?, layer(&flags, PRODUCER)?);
        Ok(Self { all: flags, consumer, producer })
    }

    /// Changes the policy of the role that the options apply to, and returns that role; of a hybrid, the consumer.
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

    /// Returns the option that sets a key, as the user wrote it.
    pub(crate) fn written(&self, key: &str) -> Option<&str> {
        self.all.iter().find(|flag| flag.key == key).map(|flag| &*flag.written)
    }
}

/// Returns the layer of the flags whose keys the role has.
fn layer<L: DeserializeOwned>(flags: &[Flag], keys: &'static [Key]) -> Result<L, serde_json::Error> {
    let of_role = flags.iter().filter(|flag| Key::find(keys, flag.key).is_some());
    let values: Map<_, _> = of_role.map(|flag| (flag.key.to_owned(), flag.value.clone())).collect();
    serde_json::from_value(Value::Object(values))
}
