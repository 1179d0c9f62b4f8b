//! Turns orders into invoices, and invoices into letters, over two queues of RabbitMQ. See README.md.

mod schemas;
mod settings;
mod tasks;

ergon::main! {
    settings: settings::Settings,
    tasks: [tasks::place_orders::config, tasks::take_orders::config, tasks::send_invoices::config],
}
