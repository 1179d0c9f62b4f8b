//! The procedural macros of Ergon.
