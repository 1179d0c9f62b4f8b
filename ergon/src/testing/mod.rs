//! How you test it: what a connector must do, as a suite that every connector runs.

pub mod conformance;
