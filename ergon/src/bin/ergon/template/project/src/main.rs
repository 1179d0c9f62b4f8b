//! Runs the tasks of this project. `cargo run -- --help`

mod connectors;
mod services;
mod settings;
mod tasks;

ergon::main! {
    settings: settings::Settings,
    tasks: [
        tasks::example_task::config,
        // ergon: a new task is registered above this line
    ],
}
