# The jobs of .ci/run by name. `just` alone lists them.

default:
    @just --list

# Formatting.
fmt:
    cargo fmt --all --check

# Lints, with all features, with none, and with JSON Lines alone.
clippy:
    cargo clippy --workspace --all-features --all-targets -- -D warnings
    cargo clippy -p ergon --no-default-features -- -D warnings
    cargo clippy -p ergon --no-default-features --features json_lines -- -D warnings

# Misspelt words; `cargo install --locked typos-cli` installs the checker.
typos:
    typos

# All tests, with every feature: rules, macros, compile-time, promises, examples, documentation.
test:
    cargo test --workspace

# Compile-time cases only; TRYBUILD=overwrite writes the expected output anew.
ui:
    cargo test --workspace --test ui

# Brokers that are stopped, killed, frozen and cut off under a run; needs rabbitmq-server.
chaos:
    cargo test -p ergon-tests --test systems -- --ignored rabbitmq_chaos --test-threads 2

# The documentation.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --all-features --no-deps

# Licences, advisories, bans.
deny:
    cargo deny check

# The main job.
quickstart:
    cargo run -p quickstart -- run price-orders

# Three tasks between a workbook, a CRM and an API, whose servers it starts.
order-pipeline:
    cargo run --bin systems -- order-ingestion order-enrichment order-dispatch booking-report

# Instructions and allocations of a transaction beside the baseline; needs valgrind.
instructions:
    cargo bench -q -p ergon --bench instructions -- --gate

# Figures beside bare floors: the engine, the connectors, what the macros cost the compiler.
bench:
    cargo bench -p ergon --all-features
    cargo bench -p ergon-macros --bench compile_cost -- --clean

# Whole runs in which anything may fail at any time; `--seed N` replays one.
simulate:
    cargo run -p ergon-tests --bin simulate -- --seeds 20000

# The same with other seeds each day.
simulate-today:
    cargo run -p ergon-tests --bin simulate -- --from "$((1000000 + $(date +%s) / 86400 * 20000))" --seeds 20000

# All seeds of a release, optimized.
simulate-release:
    cargo run --release -p ergon-tests --bin simulate -- --seeds 1000000
