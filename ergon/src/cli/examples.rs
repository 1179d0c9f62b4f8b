//! Lists the examples at the end of each command's help.

use clap::Command;

/// The words of a command, and examples of it.
const EXAMPLES: &[(&[&str], &[&str])] = &[
    (&[], &["list", "run price-orders", "run --all", "check"]),
    (&["list"], &["list", "list --format json"]),
    (
        &["run"],
        &[
            "run price-orders",
            "run price-orders --limit 100 --concurrency 16",
            "run --all --once --format json",
        ],
    ),
    (
        &["process-transaction"],
        &[
            "process-transaction price-orders --payload-json '{\"sku\": \"pen\"}' --dry-run",
            "process-transaction price-orders consumer --payload-file order.json --id A-1",
            "process-transaction price-orders - < order.json",
        ],
    ),
    (
        &["process-transaction-by-id"],
        &[
            "process-transaction-by-id price-orders orders.jsonl:7",
            "process-transaction-by-id price-orders 'Orders!42' --dry-run",
        ],
    ),
    (&["check"], &["check", "check price-orders --format json"]),
    (
        &["dead-letters"],
        &[
            "dead-letters list price-orders",
            "dead-letters show price-orders --where category=system",
            "dead-letters replay price-orders --limit 10 --dry-run",
        ],
    ),
    (
        &["dead-letters", "list"],
        &[
            "dead-letters list price-orders --where category=business --limit 20",
            "dead-letters list price-orders --where error~stock --where attempts=3",
        ],
    ),
    (&["dead-letters", "show"], &["dead-letters show price-orders --where id=A-1"]),
    (
        &["dead-letters", "replay"],
        &[
            "dead-letters replay price-orders --where payload.sku=pen --dry-run",
            "dead-letters replay price-orders --again",
            "dead-letters replay price-orders --process --where error~stock",
        ],
    ),
    (
        &["describe"],
        &[
            "describe",
            "describe price-orders",
            "describe --format mermaid",
            "describe --format dot | dot -Tsvg > tasks.svg",
        ],
    ),
    (&["completions"], &["completions bash > ~/.local/share/bash-completion/completions/PROGRAM"]),
    (&["man"], &["man > ~/.local/share/man/man1/PROGRAM.1"]),
];

/// Adds the examples, under the name of the program.
pub(super) fn with_examples(command: Command, program: &str) -> Command {
    EXAMPLES.iter().fold(command, |command, (words, examples)| {
        let lines = examples.iter().map(|line| format!("\n  {program} {}", line.replace("PROGRAM", program)));
        let text = format!("Examples:{}", lines.collect::<String>());
        add(command, words, &text)
    })
}

fn add(command: Command, words: &[&str], text: &str) -> Command {
    match words {
        [] => command.after_help(text.to_owned()),
        // Some commands exist only with the feature `cli`.
        [first, rest @ ..] if command.find_subcommand(first).is_some() => {
            command.mut_subcommand(first, |inner| add(inner, rest, text))
        }
        _ => command,
    }
}
