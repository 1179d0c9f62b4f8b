//! Makes the policies of the schema: for each policy, the struct with its defaults, its values as data, and its layer.
//!
//! `ergon-schema` declares the keys. Each kind of key is one arm in each macro here: the type of the field, the type
//! that a layer reads, the assignment from the layer, and the value that checks and `describe` read.

use std::borrow::Cow;
use std::time::Duration;

use ergon_schema::{Key, Policy, Value};
use serde::Deserialize;

use super::duration::{Limit, Span};

/// The type of a field.
macro_rules! field {
    (count $int:ident $($rules:tt)*) => { $int };
    (maybe count $int:ident $($rules:tt)*) => { Option<$int> };
    (number $($rules:tt)*) => { f64 };
    (flag) => { bool };
    (time $($rules:tt)*) => { Duration };
    (maybe time $($rules:tt)*) => { Option<Duration> };
    (limit $($rules:tt)*) => { Option<Duration> };
    (word $of:ident) => { $of };
    (slot $use:ident) => { Option<Cow<'static, str>> };
    (step) => { RetryPolicy };
    (group $of:ident $layer:ident $keys:ident) => { $of };
}

/// The type that a layer reads.
macro_rules! given {
    (count $int:ident $($rules:tt)*) => { Option<$int> };
    (maybe count $int:ident $($rules:tt)*) => { Option<$int> };
    (number $($rules:tt)*) => { Option<f64> };
    (flag) => { Option<bool> };
    (time $($rules:tt)*) => { Option<Span> };
    (maybe time $($rules:tt)*) => { Option<Span> };
    (limit) => { Option<Span> };
    (limit or none) => { Option<Limit> };
    (word $of:ident) => { Option<$of> };
    (step) => { RetryLayer };
    (group $of:ident $layer:ident $keys:ident) => { $layer };
}

/// Sets a field to the value that a layer gives, if it gives one.
macro_rules! set {
    ((maybe count $($rules:tt)*) $field:expr, $given:expr) => { set!(@some count, $field, Some(count), $given) };
    ((time $($rules:tt)*) $field:expr, $given:expr) => { set!(@some span, $field, span.0, $given) };
    ((maybe time $($rules:tt)*) $field:expr, $given:expr) => { set!(@some span, $field, Some(span.0), $given) };
    ((limit) $field:expr, $given:expr) => { set!(@some span, $field, Some(span.0), $given) };
    ((limit or none) $field:expr, $given:expr) => { set!(@some limit, $field, limit.0, $given) };
    ((step) $field:expr, $given:expr) => { $given.apply(&mut $field) };
    ((group $($of:ident)*) $field:expr, $given:expr) => { $given.apply(&mut $field) };
    ($plain:tt $field:expr, $given:expr) => { set!(@some value, $field, value, $given) };
    (@some $value:ident, $field:expr, $set:expr, $given:expr) => {
        if let Some($value) = $given {
            $field = $set;
        }
    };
}

/// The value of a field as data.
macro_rules! value {
    ((count usize $($rules:tt)*) $field:expr) => { Value::Count($field as u64) };
    ((count u32 $($rules:tt)*) $field:expr) => { Value::Count($field as u64) };
    ((maybe count u64 $($rules:tt)*) $field:expr) => { value!(@maybe $field, count, Value::Count(count)) };
    ((number $($rules:tt)*) $field:expr) => { Value::Number($field) };
    ((flag) $field:expr) => { Value::Flag($field) };
    ((time $($rules:tt)*) $field:expr) => { Value::Time($field) };
    ((maybe time $($rules:tt)*) $field:expr) => { value!(@maybe $field, time, Value::Time(time)) };
    ((limit $($rules:tt)*) $field:expr) => { value!(@maybe $field, time, Value::Time(time)) };
    ((word $of:ident) $field:expr) => { Value::Word($field.as_str()) };
    ((slot $use:ident) $field:expr) => {
        match &$field {
            Some(Cow::Borrowed(slot)) => Value::Slot(slot),
            Some(Cow::Owned(slot)) => Value::Slot(slot.as_str()),
            None => Value::Absent,
        }
    };
    ((step) $field:expr) => { Value::Group(&$field) };
    ((group $($of:ident)*) $field:expr) => { Value::Group(&$field) };
    (@maybe $field:expr, $value:ident, $data:expr) => {
        match $field {
            Some($value) => $data,
            None => Value::Absent,
        }
    };
}

/// A policy: its struct, its default, and its values as data.
macro_rules! policy {
    (
        { $(#[$attribute:meta])* $policy:ident, $keys:ident }
        $of:ident $($tag:ident $key:ident: $kind:tt = $default:expr => $words:tt;)*
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $policy {
            $(
                #[doc = ergon_schema::meaning!($of $words)]
                #[doc = ""]
                #[doc = ergon_schema::bounds! $kind]
                #[doc = concat!("Default: ", ergon_schema::default_words!($words $default), ".")]
                pub $key: field! $kind,
            )*
        }

        impl $policy {
            /// The default of every key.
            pub const DEFAULT: Self = Self { $($key: $default,)* };

            /// Returns the values, in the order of the keys.
            pub(super) const fn data(&self) -> [Value<'_>; ergon_schema::$keys.len()] {
                [$(value!($kind self.$key)),*]
            }
        }

        impl Policy for $policy {
            fn keys(&self) -> &'static [Key] {
                ergon_schema::$keys
            }

            fn values(&self) -> Vec<Value<'_>> {
                self.data().into()
            }
        }

        impl Default for $policy {
            fn default() -> Self {
                Self::DEFAULT
            }
        }
    };
}

/// Changes to a policy: a value that is present replaces the value of the layer below.
macro_rules! layer {
    (
        { $(#[$attribute:meta])* $visibility:vis $layer:ident, $policy:ident }
        $of:ident $($tag:ident $key:ident: $kind:tt = $default:expr => $words:tt;)*
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        $visibility struct $layer {
            $($key: given! $kind,)*
        }

        impl $layer {
            /// Replaces the values of `policy` for which this layer has a value.
            $visibility fn apply(self, policy: &mut $policy) {
                $(set!($kind policy.$key, self.$key);)*
            }
        }
    };
}

/// The enums whose variants are written as words.
macro_rules! words {
    ($($of:ident: $doc:literal {
        $first:ident = $first_word:literal: $first_meaning:literal,
        $($variant:ident = $word:literal: $meaning:literal,)*
    })+) => {$(
        #[doc = $doc]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
        pub enum $of {
            #[doc = $first_meaning]
            #[default]
            #[serde(rename = $first_word)]
            $first,
            $(
                #[doc = $meaning]
                #[serde(rename = $word)]
                $variant,
            )*
        }

        impl $of {
            /// Returns the word for the variant.
            const fn as_str(self) -> &'static str {
                match self {
                    Self::$first => $first_word,
                    $(Self::$variant => $word,)*
                }
            }
        }
    )+};
}

/// Copies the keys of a producer into the policy of the loop that runs it.
macro_rules! to_loop {
    (@both $key:ident, $producer:expr, $looped:expr) => { $looped.$key = $producer.$key.clone() };
    // The engine has one loop for both roles, which runs a producer's `prepare` as its process step.
    (@producer prepare, $producer:expr, $looped:expr) => { $looped.process = $producer.prepare };
    ({} producer $($tag:ident $key:ident: $kind:tt = $default:expr => $words:tt;)*) => {
        impl ProducerPolicy {
            /// Returns the policy of the loop that runs the producer. The stream is its source, `prepare` its
            /// `process`.
            pub(crate) fn to_loop(&self) -> ConsumerPolicy {
                let mut looped = ConsumerPolicy::DEFAULT;
                $(to_loop!(@$tag $key, self, looped);)*
                looped
            }
        }
    };
}

ergon_schema::policy_words! { words }

ergon_schema::keys! { retry => policy {
    /// The retries of a step: the number of attempts, the time limit of one attempt, and the waits between attempts.
    ///
    /// The wait before attempt *n + 1* is `min(backoff * backoff_multiplier^(n-1), backoff_cap)`. Jitter then adds or
    /// subtracts up to the share `jitter` of the wait, without exceeding the cap.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use ergon::policy::RetryPolicy;
    ///
    /// const PATIENT: RetryPolicy = RetryPolicy {
    ///     max_attempts: 4,
    ///     backoff: Duration::from_secs(1),
    ///     backoff_cap: Some(Duration::from_secs(3)),
    ///     ..RetryPolicy::DEFAULT
    /// };
    /// let waits: Vec<_> = (1..4).map(|attempt| PATIENT.wait_after(attempt, None).as_secs()).collect();
    /// assert_eq!(waits, [1, 2, 3]);
    /// ```
    #[derive(Copy)]
    RetryPolicy, RETRY
} }

ergon_schema::keys! { settings retry => layer {
    /// Changes to a [`RetryPolicy`].
    pub(crate) RetryLayer, RetryPolicy
} }

ergon_schema::keys! { empty_queue => policy {
    /// The waits of a streaming consumer while the source is empty.
    ///
    /// ```
    /// use ergon::policy::EmptyQueuePolicy;
    ///
    /// let waits: Vec<_> = (1..=3).map(|n| EmptyQueuePolicy::DEFAULT.wait_after(n).as_millis()).collect();
    /// assert_eq!(waits, [100, 200, 400]);
    /// ```
    #[derive(Copy)]
    EmptyQueuePolicy, EMPTY_QUEUE
} }

ergon_schema::keys! { settings empty_queue => layer {
    /// Changes to an [`EmptyQueuePolicy`].
    EmptyQueueLayer, EmptyQueuePolicy
} }

ergon_schema::keys! { consumer => policy {
    /// The policy of a consumer: fetching, retries, limits and settlement.
    ///
    /// ```
    /// use ergon::policy::ConsumerPolicy;
    ///
    /// let policy = ConsumerPolicy { concurrency: 8, batch_size: 100, ..ConsumerPolicy::DEFAULT };
    /// assert!(policy.check().is_ok());
    /// assert_eq!(ConsumerPolicy { concurrency: 0, ..policy }.check().unwrap_err().to_string(),
    ///     "`concurrency` must be at least 1");
    /// ```
    ConsumerPolicy, CONSUMER
} }

ergon_schema::keys! { settings consumer => layer {
    /// Changes to a [`ConsumerPolicy`] from `[tasks.<name>.consumer]`, the environment or the command line.
    pub ConsumerLayer, ConsumerPolicy
} }

ergon_schema::keys! { producer => policy {
    /// The policy of a producer: pulling the stream, retries and limits.
    ///
    /// ```
    /// use ergon::policy::ProducerPolicy;
    ///
    /// let policy = ProducerPolicy { concurrency: 4, limit: Some(1000), ..ProducerPolicy::DEFAULT };
    /// assert!(policy.check().is_ok());
    /// assert_eq!(ProducerPolicy { batch_size: 0, ..policy }.check().unwrap_err().to_string(),
    ///     "`batch_size` must be at least 1");
    /// ```
    ProducerPolicy, PRODUCER
} }

ergon_schema::keys! { settings producer => layer {
    /// Changes to a [`ProducerPolicy`] from `[tasks.<name>.producer]`, the environment or the command line.
    pub ProducerLayer, ProducerPolicy
} }

ergon_schema::keys! { producer => to_loop {} }

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(text: &str) -> ConsumerLayer {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn only_what_is_given_changes() {
        let mut policy = ConsumerPolicy { batch_size: 7, ..ConsumerPolicy::DEFAULT };
        layer("concurrency = 4\ntransaction_timeout = 'none'\n[process]\nbackoff = '2s'").apply(&mut policy);
        assert_eq!((policy.concurrency, policy.batch_size, policy.transaction_timeout), (4, 7, None));
        assert_eq!(policy.process.backoff, Duration::from_secs(2));
        assert_eq!(policy.process.max_attempts, 1);
    }

    #[test]
    fn an_unknown_key_is_refused() {
        assert!(toml::from_str::<ConsumerLayer>("concurency = 4").is_err());
    }
}
