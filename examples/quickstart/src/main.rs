//! Prices the order lines of a workbook. `cargo run -p quickstart -- run price-orders`

mod settings;
mod tasks;

ergon::main! {
    settings: settings::Settings,
    tasks: [tasks::price_orders::config],
}
