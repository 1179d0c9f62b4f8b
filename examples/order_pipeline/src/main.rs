//! Checks the order lines of a workbook, adds customer data from a CRM, and dispatches the orders to ACME. See
//! README.md.

mod connectors;
mod services;
mod settings;
mod tasks;

ergon::main! {
    settings: settings::Settings,
    tasks: [
        tasks::order_ingestion::config,
        tasks::order_enrichment::config,
        tasks::order_dispatch::config,
        tasks::booking_report::config,
    ],
}
