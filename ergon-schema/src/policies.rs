//! Declares every policy key, once. Structs, defaults, checks and documentation are made from these rows.
//!
//! A row has the form `roles key: (kind) = default => { words }`:
//!
//! - The kind is the type of the key's values, with the rules for them.
//! - The words are the meaning (one for both roles, or one for each role), the text for a default that has no value,
//!   and the option of `run` that sets the key.

use crate::key::{Bound, Key, Kind, RunOption, SlotUse, Word, given};

/// The keys of both roles.
#[doc(hidden)]
#[macro_export]
macro_rules! role_keys {
    ($($then:tt)*) => { $crate::pick_keys! { $($then)* []
        both concurrency: (count usize, at least 1, at most 100_000) = 1 => {
            consumer: "The number of transactions in process, success and exception at the same time; 1 keeps their order.",
            producer: "The number of transactions in prepare, success and exception at the same time; in a hybrid, for \
                each inbound transaction.",
            option "concurrency": "Process at most this many transactions at the same time [default: the task's `concurrency`]",
        }
        both batch_size: (count usize, at least 1) = 1 => {
            consumer: "The greatest number of deliveries in one fetch.",
            producer: "The greatest number of transactions that are pulled from the stream together, and that concurrent \
                dispatches send to a sink in one call.",
            option "batch-size": "Fetch at most this many transactions in one call [default: the task's `batch_size`]",
        }
        consumer prefetch: (count usize) = 0 => {
            meaning: "The number of deliveries that may wait in the worker beyond its free slots.",
        }
        consumer mode: (word Mode) = Mode::Continuous => {
            meaning: "Whether a batch ends before the next batch is fetched.",
        }
        consumer streaming: (flag) = false => {
            meaning: "Whether the run continues when the source is empty.",
            option "once" = false: "End the run when the source is empty, even if the task is streaming",
        }
        both limit: (maybe count u64) = None => {
            consumer: "The greatest number of deliveries that the run fetches; 0 fetches nothing.",
            producer: "The greatest number of transactions that the run pulls.",
            default: "no limit",
            option "limit": "Fetch at most this many transactions in the run [default: the task's `limit`]",
        }
        both timeout: (limit) = None => {
            meaning: "The time limit of the run.",
            default: "no limit",
            option "timeout": "Stop the run after this time, such as `30s` or `1h` [default: the task's `timeout`]",
        }
        both transaction_timeout: (limit or none) = Some(Duration::from_secs(60)) => {
            consumer: "The time limit of process and success together, for one transaction.",
            producer: "The time limit of prepare and success together, for one transaction.",
        }
        consumer empty_queue: (group EmptyQueuePolicy EmptyQueueLayer EMPTY_QUEUE) = EmptyQueuePolicy::DEFAULT => {
            meaning: "The waits of a streaming run while the source is empty.",
            default: "100 ms, doubled up to 5 s",
        }
        consumer fetch: (step) = RetryPolicy::DEFAULT => {
            meaning: "The retries of a fetch.",
            default: "one attempt",
        }
        consumer process: (step) = RetryPolicy::DEFAULT => {
            meaning: "The retries of `process_transaction`.",
            default: "one attempt",
        }
        producer prepare: (step) = RetryPolicy::DEFAULT => {
            meaning: "The retries of `prepare_transaction`.",
            default: "one attempt",
        }
        both success: (step) = RetryPolicy::DEFAULT => {
            consumer: "The retries of `handle_process_success`.",
            producer: "The retries of `handle_prepare_success`.",
            default: "one attempt",
        }
        both exception: (step) = RetryPolicy::DEFAULT => {
            consumer: "The retries of `handle_process_exception`.",
            producer: "The retries of `handle_prepare_exception`.",
            default: "one attempt",
        }
        consumer from: (slot Source) = None => {
            meaning: "The connector that the task fetches from.",
            default: "the first source",
        }
        both dead_letter: (slot Sink) = None => {
            consumer: "The connector that receives rejected transactions; without it, the source rejects them.",
            producer: "The connector that receives rejected transactions; without it, the run's summary lists them.",
            default: "none",
        }
        both on_handler_failure: (word OnHandlerFailure) = OnHandlerFailure::Requeue => {
            meaning: "The disposition of a transaction whose exception handler failed.",
        }
        both max_deliveries: (count u32, at least 1) = 20 => {
            consumer: "The greatest number of deliveries of a transaction; after these, it is rejected as poison.",
            producer: "The greatest number of tries of a transaction in a run; after these, it is rejected as poison.",
        }
        both shutdown_grace: (time) = Duration::from_secs(25) => {
            meaning: "The time for in-flight transactions to finish after a stop.",
        }
    } };
}

/// The keys of a step.
#[doc(hidden)]
#[macro_export]
macro_rules! retry_keys {
    ($($then:tt)*) => { $crate::pick_keys! { $($then)* []
        every max_attempts: (count u32, at least 1) = 1 => {
            meaning: "The number of attempts, including the first.",
        }
        every timeout: (limit) = None => {
            meaning: "The time limit of one attempt.",
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
            meaning: "The share of a wait that is added or subtracted at random.",
        }
    } };
}

/// The keys of `empty_queue(…)`.
#[doc(hidden)]
#[macro_export]
macro_rules! empty_queue_keys {
    ($($then:tt)*) => { $crate::pick_keys! { $($then)* []
        every backoff: (time, positive: "must be longer than 0s; otherwise the source is polled without a pause")
            = Duration::from_millis(100) => {
            meaning: "The first wait.",
        }
        every backoff_multiplier: (number at least 1) = 2.0 => {
            meaning: "The factor by which each further wait grows, until a fetch returns a delivery.",
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
        Mode: "Whether a batch ends before the next batch is fetched." {
            Continuous = "continuous":
                "The engine fetches as soon as slots are free; a slow transaction holds back no other.",
            Batch = "batch":
                "The engine settles every delivery of a batch before it fetches the next batch.",
        }
        OnHandlerFailure: "The disposition of a transaction whose exception handler failed." {
            Requeue = "requeue":
                "The transaction is requeued and delivered again, up to `max_deliveries` times.",
            Reject = "reject":
                "The transaction is rejected: to the dead-letter connector if the policy names one, else by its source.",
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

/// Selects the text of a key's meaning for one role.
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
