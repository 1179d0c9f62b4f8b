//! Tests code that must not compile, with the exact text of its errors, and code that must compile. See
//! `cases/<macro>/<fail|pass>/<sentence>.rs`.
