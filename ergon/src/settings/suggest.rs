//! Suggests the known name that is closest to an unknown one ("did you mean").

pub(crate) use ergon_schema::suggest::{hint, list, similar};
