//! Order lines of a workbook are checked, enriched from a CRM and dispatched to ACME. See README.md.

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
