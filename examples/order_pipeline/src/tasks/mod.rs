//! The project's tasks, a folder each, and what they share.

pub(crate) mod booking_report;
pub(crate) mod constants;
pub(crate) mod order_dispatch;
pub(crate) mod order_enrichment;
pub(crate) mod order_ingestion;
pub(crate) mod schemas;
