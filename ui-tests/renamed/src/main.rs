//! The program of these tasks.

use renamed::{Once, OnceWiring, Parse, ParseWiring, Settings, split_orders};

engine::main! {
    settings: Settings,
    tasks: [split_orders, Parse { input: orders }, Once { output: orders }],
}
