//! Detects the external systems that the tests may use, so that a test that cannot run is shown as ignored, with the
//! reason. Also extracts the tests from the guide to testing, so that they run.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// The folders in which packages and the generic archive install `rabbitmq-server`, `rabbitmqctl` and `rabbitmq-env`.
const PLACES: [&str; 5] = [
    "/usr/lib/rabbitmq/bin",
    "/opt/rabbitmq/sbin",
    "/usr/local/opt/rabbitmq/sbin",
    "/opt/homebrew/opt/rabbitmq/sbin",
    "/usr/local/lib/rabbitmq/sbin",
];

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    running_broker();
    own_broker();
    guide()
}

/// Writes the Rust of `docs/testing.md`, block by block, into one file.
fn guide() -> io::Result<()> {
    const PAGE: &str = "../docs/testing.md";
    println!("cargo::rerun-if-changed={PAGE}");
    let page = fs::read_to_string(PAGE)?;
    let blocks = page.split("```rust\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0));
    let folder = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(folder.join("testing_guide.rs"), blocks.collect::<Vec<_>>().join("\n"))
}

/// Whether there is a broker that a test may have queues on: `cfg(amqp)`.
fn running_broker() {
    println!("cargo::rustc-check-cfg=cfg(amqp)");
    println!("cargo::rerun-if-env-changed=ERGON_TEST_AMQP_URL");
    if env::var_os("ERGON_TEST_AMQP_URL").is_some() {
        println!("cargo::rustc-cfg=amqp");
    }
}

/// Whether a test can start a broker of its own: `cfg(rabbitmq_server)`.
fn own_broker() {
    println!("cargo::rustc-check-cfg=cfg(rabbitmq_server)");
    println!("cargo::rerun-if-env-changed=ERGON_RABBITMQ_SBIN");
    let named = env::var("ERGON_RABBITMQ_SBIN").ok();
    let places = named.iter().map(String::as_str).chain(PLACES);
    let Some(place) = places.into_iter().find(|place| Path::new(place).join("rabbitmq-env").exists()) else {
        return;
    };
    println!("cargo::rerun-if-changed={place}/rabbitmq-server");
    println!("cargo::rustc-cfg=rabbitmq_server");
    println!("cargo::rustc-env=ERGON_RABBITMQ_SBIN={place}");
}
