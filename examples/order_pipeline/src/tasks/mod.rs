//! The tasks of this project, one folder for each, and the code that they share.

pub(crate) mod booking_report;
pub(crate) mod constants;
pub(crate) mod order_dispatch;
pub(crate) mod order_enrichment;
pub(crate) mod order_ingestion;
pub(crate) mod schemas;
