//! Adds the customer data of the CRM to each order.

mod config;
mod priority;
mod task;

pub(crate) use config::config;
