//! What must not compile, with its exact words, and what must: see `cases/<macro>/<fail|pass>/<sentence>.rs`.
