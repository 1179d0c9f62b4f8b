//! Declares every policy key, once.
//!
//! A row has the form `roles key: (kind) = default => { words }`. The kind says which values the key takes and which
//! rules hold for them. The words are the meaning (one for both roles, or one for each), the name of the default where
//! the default is no value, and the option of `run` that sets the key.

use crate::key::{Bound, Key, Kind, RunOption, SlotUse, Word, given};

/// The keys of both roles.
#[doc(hidden)]
#[macro_export]
macro_rules! role_keys {
    ($($then:tt)*) => { $crate::pick_keys! { $($then)* []
        both concurrency: (count usize, at least 1, at most 100_000) = 1 => {
            consumer: "How many transactions are in process, success and exception at once; 1 keeps their order.",
            producer: "How many transactions are in prepare, success and exception at once; of a hybrid: for each \
                inbound transaction.",
            option "concurrency": "Process at most this many transactions at the same time [default: the task's `concurrency`]",
        }
        both batch_size: (count usize, at least 1) = 1 => {
            consumer: "How many deliveries one fetch may bring.",
            producer: "How many transactions are pulled from the stream at once; and how many of those dispatched at \
                the same time may go to a sink in one call.",
            option "batch-size": "Fetch at most this many transactions in one call [default: the task's `batch_size`]",
        }
        consumer prefetch: (count usize) = 0 => {
            meaning: "How many deliveries may wait in the worker beyond its free slots.",
        }
        consumer mode: (word Mode) = Mode::Continuous => {
            meaning: "Whether a batch ends before the next is fetched.",
        }
        consumer streaming: (flag) = false => {
            meaning: "Whether the run continues when the source is empty.",
            option "once" = false: "End the run when the source is empty, even if the task is streaming",
        }
        both limit: (maybe count u64) = None => {
            consumer: "How many deliveries the run fetches at most; 0 fetches nothing.",
            producer: "How many transactions are pulled at most.",
            default: "no limit",
            option "limit": "Fetch at most this many transactions in the run [default: the task's `limit`]",
        }
        both timeout: (limit) = None => {
            meaning: "How long the run may take.",
            default: "no limit",
            option "timeout": "Stop the run after this time, such as `30s` or `1h` [default: the task's `timeout`]",
        }
        both transaction_timeout: (limit or none) = Some(Duration::from_secs(60)) => {
            consumer: "How long process and success of one transaction may take together.",
            producer: "How long prepare and success of one transaction may take together.",
        }
        consumer empty_queue: (group EmptyQueuePolicy EmptyQueueLayer EMPTY_QUEUE) = EmptyQueuePolicy::DEFAULT => {
            meaning: "How a streaming run waits for an empty source.",
            default: "100 ms, doubled up to 5 s",
        }
        consumer fetch: (step) = RetryPolicy::DEFAULT => {
            meaning: "How a fetch is retried.",
            default: "one attempt",
        }
        consumer process: (step) = RetryPolicy::DEFAULT => {
            meaning: "How `process_transaction` is retried.",
            default: "one attempt",
        }
        producer prepare: (step) = RetryPolicy::DEFAULT => {
            meaning: "How `prepare_transaction` is retried.",
            default: "one attempt",
        }
        both success: (step) = RetryPolicy::DEFAULT => {
            consumer: "How `handle_process_success` is retried.",
            producer: "How `handle_prepare_success` is retried.",
            default: "one attempt",
        }
        both exception: (step) = RetryPolicy::DEFAULT => {
            consumer: "How `handle_process_exception` is retried.",
            producer: "How `handle_prepare_exception` is retried.",
            default: "one attempt",
        }
        consumer from: (slot Source) = None => {
            meaning: "The connector that is fetched from.",
            default: "the first source",
        }
        both dead_letter: (slot Sink) = None => {
            consumer: "The connector that takes rejected transactions; without it, the source's own reject does.",
            producer: "The connector that takes rejected transactions; without it, the run's summary lists them.",
            default: "none",
        }
        both on_handler_failure: (word OnHandlerFailure) = OnHandlerFailure::Requeue => {
            meaning: "What happens to a transaction whose exception handler failed.",
        }
        both max_deliveries: (count u32, at least 1) = 20 => {
            consumer: "How often a transaction may be delivered before it is rejected as poison.",
            producer: "How often a transaction may be tried in a run before it is rejected as poison.",
        }
        both shutdown_grace: (time) = Duration::from_secs(25) => {
            meaning: "How long in-flight transactions may continue after a stop.",
        }
    } };
}

/// The keys of a step.
#[doc(hidden)]
#[macro_export]
macro_rules! retry_keys {
    ($($then:tt)*) => { $crate::pick_keys! { $($then)* []
        every max_attempts: (count u32, at least 1) = 1 => {
            meaning: "How often the step is tried, the first attempt included.",
        }
        every timeout: (limit) = None => {
            meaning: "How long one attempt may take.",
            default: "no limit",
        }
        every backoff: (time) = Duration::ZERO => {
            meaning: "The wait before the second attempt.",
        }
        every backoff_multiplier: (number at least 1) = 2.0 => {
            meaning: "The factor by which each further wait grows.",
        }
        every backoff_cap: (maybe time, not below backoff) = None => {
            meaning: "The longest wait.",
            default: "no cap",
        }
        every jitter: (number from 0 to 1) = 0.0 => {
            meaning: "The share of a wait by which it is made longer or shorter at random.",
        }
    } };
}

/// The keys of `empty_queue(…)`.
#[doc(hidden)]
#[macro_export]
macro_rules! empty_queue_keys {
    ($($then:tt)*) => { $crate::pick_keys! { $($then)* []
        every backoff: (time, positive: "must be more than 0: the source would be asked without pause")
            = Duration::from_millis(100) => {
            meaning: "The first wait.",
        }
        every backoff_multiplier: (number at least 1) = 2.0 => {
            meaning: "The factor by which each further wait grows, until a fetch brings something.",
        }
        every backoff_cap: (time, not below backoff) = Duration::from_secs(5) => {
            meaning: "The longest wait.",
        }
    } };
}

/// The enums whose variants are written as words.
#[doc(hidden)]
#[macro_export]
macro_rules! policy_words {
    ($then:ident) => { $then! {
        Mode: "Whether a batch ends before the next is fetched." {
            Continuous = "continuous":
                "A fetch brings more as soon as slots are free; a slow transaction holds back no other.",
            Batch = "batch":
                "A batch ends, every delivery of it settled, before the next is fetched.",
        }
        OnHandlerFailure: "What happens to a transaction whose exception handler failed." {
            Requeue = "requeue":
                "The transaction is given back and delivered again, up to `max_deliveries` times.",
            Reject = "reject":
                "The transaction is rejected: to the dead-letter connector if one is named, else by its source.",
        }
    } };
}

/// Passes the keys of one policy to a macro: `keys! { consumer => policy { … } }` calls
/// `policy! { { … } consumer key: (kind) = default => { words }; … }`. After `settings`, the keys that only the
/// attribute and the code can set are left out.
#[doc(hidden)]
#[macro_export]
macro_rules! keys {
    (retry => $($then:tt)*) => { $crate::retry_keys! { all retry $($then)* } };
    (empty_queue => $($then:tt)*) => { $crate::empty_queue_keys! { all empty_queue $($then)* } };
    (settings retry => $($then:tt)*) => { $crate::retry_keys! { settings retry $($then)* } };
    (settings empty_queue => $($then:tt)*) => { $crate::empty_queue_keys! { settings empty_queue $($then)* } };
    (settings $role:ident => $($then:tt)*) => { $crate::role_keys! { settings $role $($then)* } };
    ($role:ident => $($then:tt)*) => { $crate::role_keys! { all $role $($then)* } };
}

/// Keeps the rows of one policy, then passes them on.
#[doc(hidden)]
#[macro_export]
macro_rules! pick_keys {
    (settings $of:ident $then:ident $head:tt $kept:tt
        $tag:ident $key:ident: (slot $use:ident) = $default:expr => $words:tt $($rest:tt)*) => {
        $crate::pick_keys! { settings $of $then $head $kept $($rest)* }
    };
    ($which:ident consumer $then:ident $head:tt $kept:tt
        producer $key:ident: $kind:tt = $default:expr => $words:tt $($rest:tt)*) => {
        $crate::pick_keys! { $which consumer $then $head $kept $($rest)* }
    };
    ($which:ident producer $then:ident $head:tt $kept:tt
        consumer $key:ident: $kind:tt = $default:expr => $words:tt $($rest:tt)*) => {
        $crate::pick_keys! { $which producer $then $head $kept $($rest)* }
    };
    ($which:ident $of:ident $then:ident $head:tt [$($kept:tt)*]
        $tag:ident $key:ident: $kind:tt = $default:expr => $words:tt $($rest:tt)*) => {
        $crate::pick_keys! {
            $which $of $then $head [$($kept)* $tag $key: $kind = $default => $words;] $($rest)*
        }
    };
    ($which:ident $of:ident $then:ident $head:tt [$($kept:tt)*]) => { $then! { $head $of $($kept)* } };
}

/// The meaning of a key in a role.
#[doc(hidden)]
#[macro_export]
macro_rules! meaning {
    ($of:ident { meaning: $meaning:literal, $($rest:tt)* }) => {
        $meaning
    };
    (consumer { consumer: $meaning:literal, $($rest:tt)* }) => {
        $meaning
    };
    (producer { consumer: $other:literal, producer: $meaning:literal, $($rest:tt)* }) => {
        $meaning
    };
}

/// The default of a key for its documentation: the words for it, or the expression.
#[doc(hidden)]
#[macro_export]
macro_rules! default_words {
    ({
        $(meaning: $meaning:literal,)? $(consumer: $consumer:literal, producer: $producer:literal,)?
        default: $default:literal, $($rest:tt)*
    } $value:expr) => {
        $default
    };
    ($words:tt $value:expr) => {
        concat!("`", stringify!($value), "`")
    };
}

/// The bounds of a key's values for its documentation.
#[doc(hidden)]
#[macro_export]
macro_rules! bounds {
    ($(maybe)? count $int:ident, at least $least:literal) => {
        concat!("At least ", $least, ".")
    };
    ($(maybe)? count $int:ident, at least $least:literal, at most $most:literal) => {
        concat!("From ", $least, " to ", $most, ".")
    };
    (number at least $least:literal) => {
        concat!("At least ", $least, ".")
    };
    (number from $least:literal to $most:literal) => {
        concat!("From ", $least, " to ", $most, ".")
    };
    ($(maybe)? time, not below $other:ident) => {
        concat!("Not less than `", stringify!($other), "`.")
    };
    (limit $($or:ident)*) => {
        "Longer than 0."
    };
    ($($kind:tt)*) => {
        ""
    };
}

macro_rules! kind {
    (count $int:ident $($bounds:tt)*) => { kind!(@count false, $int $($bounds)*) };
    (maybe count $int:ident $($bounds:tt)*) => { kind!(@count true, $int $($bounds)*) };
    (@count $maybe:literal, $int:ident $(, at least $least:literal)? $(, at most $most:literal)?) => {
        Kind::Count {
            least: given(&[$(Bound { value: $least, rule: concat!("must be at least ", $least) })?]),
            most: match given(&[$(Bound { value: $most, rule: concat!("must be at most ", $most) })?]) {
                None => kind!(@most $int),
                most => most,
            },
            maybe: $maybe,
        }
    };
    (@most u32) => { Some(Bound { value: 4_294_967_295, rule: "must be at most 4294967295" }) };
    (@most $int:ident) => { None };
    (number at least $least:literal) => {
        Kind::Number { least: $least as f64, most: f64::INFINITY, rule: concat!("must be at least ", $least) }
    };
    (number from $least:literal to $most:literal) => {
        Kind::Number {
            least: $least as f64,
            most: $most as f64,
            rule: concat!("must be from ", $least, " to ", $most),
        }
    };
    (flag) => { Kind::Flag };
    (time $($rules:tt)*) => { kind!(@time false $($rules)*) };
    (maybe time $($rules:tt)*) => { kind!(@time true $($rules)*) };
    (@time $maybe:literal $(, positive: $rule:literal)? $(, not below $other:ident)?) => {
        Kind::Time {
            maybe: $maybe,
            positive: given(&[$($rule)?]),
            not_below: given(&[$(Bound {
                value: stringify!($other),
                rule: concat!("must not be smaller than `", stringify!($other), "`"),
            })?]),
        }
    };
    (limit) => { Kind::Limit { or_none: false } };
    (limit or none) => { Kind::Limit { or_none: true } };
    (word $of:ident) => { Kind::Word { of: stringify!($of), words: $of } };
    (slot $use:ident) => { Kind::Slot(SlotUse::$use) };
    (step) => { Kind::Step };
    (group $of:ident $layer:ident $keys:ident) => { Kind::Group { of: stringify!($of), keys: $keys } };
}

macro_rules! list {
    ({ $(#[$doc:meta])* $list:ident } $of:ident $($tag:ident $key:ident: $kind:tt = $default:expr => $words:tt;)*) => {
        $(#[$doc])*
        pub const $list: &[Key] = &[$(Key {
            name: stringify!($key),
            kind: kind! $kind,
            meaning: meaning!($of $words),
            default: list!(@default $words),
            option: list!(@option $words),
        }),*];
    };
    (@default {
        $(meaning: $meaning:literal,)? $(consumer: $consumer:literal, producer: $producer:literal,)?
        $(default: $default:literal,)? $(option $($option:tt)*)?
    }) => {
        given(&[$($default)?])
    };
    (@option {
        $(meaning: $meaning:literal,)? $(consumer: $consumer:literal, producer: $producer:literal,)?
        $(default: $default:literal,)? $(option $option:literal $(= $sets:literal)?: $help:literal,)?
    }) => {
        given(&[$(RunOption { name: $option, sets: given(&[$($sets)?]), help: $help })?])
    };
}

macro_rules! words {
    ($($of:ident: $doc:literal { $($variant:ident = $word:literal: $meaning:literal,)+ })+) => {$(
        #[allow(non_upper_case_globals, reason = "named like the enum whose words it lists")]
        const $of: &[Word] = &[$(Word { word: $word, variant: stringify!($variant) }),+];
    )+};
}

policy_words! { words }

keys! { retry => list {
    /// The keys of a step.
    RETRY
} }

keys! { empty_queue => list {
    /// The keys of `empty_queue(…)`.
    EMPTY_QUEUE
} }

keys! { consumer => list {
    /// The keys of `consumer(…)`.
    CONSUMER
} }

keys! { producer => list {
    /// The keys of `producer(…)`.
    PRODUCER
} }
