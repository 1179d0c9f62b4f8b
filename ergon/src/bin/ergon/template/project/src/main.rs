//! Runs the tasks of this project. `cargo run -- --help`

// A dispatch without `.await` does nothing: the transaction would succeed, but nothing would be written.
#![deny(unused_must_use)]

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
