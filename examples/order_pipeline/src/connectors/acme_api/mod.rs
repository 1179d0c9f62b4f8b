//! The API of ACME: orders are placed there, and read back page by page.

mod client;
mod connector;
mod schemas;

pub(crate) use connector::AcmeApiConfig;
pub(crate) use schemas::Booking;
