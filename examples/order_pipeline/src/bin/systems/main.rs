//! Runs the external systems of the pipeline: a CRM on port 7401 and ACME on port 7402. They fail now and then, as real
//! systems do.
//!
//! Without arguments, the systems run until Ctrl-C. With names of tasks, they run for as long as these tasks run, one
//! task after the other.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that talks to people")]

mod acme;
mod crm;

use std::env::{args, var_os};
use std::io;
use std::process::ExitCode;

use axum::Router;
use tokio::net::TcpListener;
use tokio::process::Command;

const CRM: &str = "127.0.0.1:7401";
const ACME: &str = "127.0.0.1:7402";

#[tokio::main]
async fn main() -> ExitCode {
    match run(args().skip(1).collect()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(tasks: Vec<String>) -> io::Result<ExitCode> {
    serve("crm", &address("CRM_ADDRESS", CRM), crm::router()).await?;
    serve("acme", &address("ACME_ADDRESS", ACME), acme::router()).await?;
    if tasks.is_empty() {
        tokio::signal::ctrl_c().await?;
    }
    for task in tasks {
        println!("\n$ cargo run -p order_pipeline -- run {task}");
        let cargo = var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let run = ["run", "--quiet", "-p", "order_pipeline", "--bin", "order_pipeline", "--", "run", &task];
        if !Command::new(cargo).args(run).status().await?.success() {
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn address(key: &str, default: &str) -> String {
    std::env::var(key).unwrap_or_else(|_| default.to_owned())
}

/// Serves in the background.
async fn serve(name: &str, address: &str, router: Router) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    println!("{name} http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(())
}
