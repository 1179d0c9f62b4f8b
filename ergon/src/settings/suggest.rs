//! "Did you mean": the known name that is closest to one that is not known.

pub(crate) use ergon_schema::suggest::{hint, list, similar};
