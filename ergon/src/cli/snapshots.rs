//! Tests the output of each command, word for word; `INSTA_UPDATE=always` replaces the expected text.

use super::output::captured::Captured;
use super::tests::{BillOrders, PACKAGE, Ran, fill, ran, shop};
use super::*;
use crate::connector::memory::MemoryQueue;
use crate::policy::ConsumerPolicy;
use crate::runner::fake::{fake, price_orders, ship_orders};
use crate::transaction::{Transaction, key};

/// Exit code, standard output and standard error as one text.
fn whole(ran: &Ran) -> String {
    format!("exit {}\n--- stdout\n{}--- stderr\n{}", ran.code, ran.data, ran.talk)
}

/// The same without times, which differ from run to run.
fn timeless(ran: &Ran) -> String {
    let is_time = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_digit())
            && ["ns", "us", "ms", "s"].iter().any(|unit| word.ends_with(unit))
    };
    let line = |line: &str| match line.rsplit_once(' ') {
        Some((rest, word)) if is_time(word) => format!("{} TIME\n", rest.trim_end()),
        _ if line.contains("\"elapsed_seconds\": ") => {
            let (name, _) = line.split_once(": ").unwrap();
            format!("{name}: TIME\n")
        }
        _ => format!("{line}\n"),
    };
    whole(ran).lines().map(line).collect()
}

/// The output of a run without its duration. The steps of the fake always take the same time.
fn run_said(ran: &Ran) -> String {
    let line = |line: &str| match (line.split_once(" processed in "), line.split_once("/s). ")) {
        (Some((count, _)), Some((_, why))) => format!("{count} processed in TIME (RATE). {why}\n"),
        _ => format!("{line}\n"),
    };
    let mut text: String = whole(ran).lines().map(line).collect();
    let pieces: Vec<_> = text.split("\"elapsed_seconds\":").map(str::to_owned).collect();
    if let [first, rest @ ..] = pieces.as_slice() {
        let rest = rest.iter().map(|piece| piece.split_once(',').unwrap().1);
        text = rest.fold(first.clone(), |text, rest| format!("{text}\"elapsed_seconds\":TIME,{rest}"));
    }
    text.replace('\u{1b}', "ESC")
}

#[test]
fn list() {
    insta::assert_snapshot!("list", whole(&shop("snap-list", "", &["list"])));
    insta::assert_snapshot!("list_json", whole(&shop("snap-list", "", &["list", "--format", "json"])));
}

#[test]
fn describe() {
    for format in ["text", "json", "mermaid", "dot"] {
        let settings = "[tasks.price-orders.consumer]\nconcurrency = 4\n";
        let described = shop("snap-describe", settings, &["describe", "--format", format]);
        insta::assert_snapshot!(format!("describe_{format}"), whole(&described));
    }
}

#[test]
fn check() {
    insta::assert_snapshot!("check_well", timeless(&shop("snap-check", "", &["check", "price-orders"])));
    insta::assert_snapshot!("check_ill", timeless(&shop("snap-check stays-shut", "", &["check"])));
    let json = shop("snap-check stays-shut", "", &["check", "bill-orders", "--format", "json"]);
    insta::assert_snapshot!("check_json", timeless(&json));
}

#[test]
fn a_policy_that_cannot_be_obeyed_is_one_problem_among_others() {
    let policy = |dead_letter: &'static str| ConsumerPolicy {
        dead_letter: Some(dead_letter.into()),
        ..ConsumerPolicy::DEFAULT
    };
    let ill = price_orders("snap-policy", policy("dql"));
    let also_ill = fake::<BillOrders>("snap-policy stays-shut", policy("output"));
    insta::assert_snapshot!("check_policy", timeless(&ran(&[ill, also_ill], "", &["check"])));
}

#[test]
fn all_that_cannot_be_built_is_told_at_once() {
    let policy = ConsumerPolicy { dead_letter: Some("dql".into()), ..ConsumerPolicy::DEFAULT };
    let ill = [ship_orders("snap-unbuilt", policy), price_orders("snap-unbuilt", ConsumerPolicy::DEFAULT)];
    insta::assert_snapshot!("check_unbuilt", timeless(&ran(&ill, "", &["check"])));
    let json = ["check", "ship-orders", "--format", "json"];
    insta::assert_snapshot!("check_unbuilt_json", timeless(&ran(&ill, "", &json)));
    let settings = "[tasks.price-orders.consumer]\nconcurrency = 0\nprocess.jitter = 2\n";
    insta::assert_snapshot!("check_settings", timeless(&ran(&ill, settings, &["check", "price-orders"])));
    insta::assert_snapshot!("describe_impossible", whole(&ran(&ill, settings, &["describe"])));
    insta::assert_snapshot!("run_unbuilt", whole(&ran(&ill, settings, &["run", "--all"])));
    let json = ["run", "ship-orders", "--format", "json"];
    insta::assert_snapshot!("run_unbuilt_json", whole(&ran(&ill, "", &json)));
    let by_hand = ["process-transaction", "ship-orders", "--payload-json", "1"];
    insta::assert_snapshot!("process_unbuilt", whole(&ran(&ill, "", &by_hand)));
}

#[test]
fn run() {
    // Even numbers succeed, odd numbers are rejected, and 13 breaks its handler.
    let runs: [(&str, &[u64], &[&str]); 6] = [
        ("well", &[2, 4, 6], &["price-orders"]),
        ("refused", &[2, 3, 5, 7, 9, 11, 15, 17], &["price-orders"]),
        ("broken_handler", &[2, 13], &["price-orders"]),
        ("two", &[2, 3], &["--all"]),
        ("quiet", &[2, 3], &["price-orders", "--quiet"]),
        ("nothing_named", &[], &[]),
    ];
    for (name, numbers, arguments) in runs {
        for format in ["text", "json"] {
            let queue = format!("snap-run-{name}-{format}");
            fill(&queue, numbers.iter().copied());
            fill(&format!("{queue}-bills"), numbers.iter().take(1).copied());
            let line = [&["run", "--format", format], arguments].concat();
            insta::assert_snapshot!(format!("run_{name}_{format}"), run_said(&shop(&queue, "", &line)));
        }
    }
}

#[test]
fn a_run_that_cannot_begin_or_end_well() {
    for (name, line) in [
        ("stays-shut", &["run", "--all"][..]),
        ("stays-shut", &["run", "--all", "--color", "always"]),
        ("stays-shut", &["run", "--all", "--format", "json"]),
        ("stays-open", &["run", "price-orders"]),
        ("stays-open", &["run", "price-orders", "--format", "json"]),
    ] {
        let shown = format!("run_{}_{}", name.replace('-', "_"), line.last().unwrap().replace('-', "_"));
        insta::assert_snapshot!(shown, run_said(&shop(&format!("snap-run {name} {}", line.len()), "", line)));
    }
}

#[test]
fn process_transaction() {
    for (name, payload) in [("well", "21"), ("ill", "\"x\"")] {
        for format in ["text", "json"] {
            let line = [
                "process-transaction",
                "price-orders",
                "--payload-json",
                payload,
                "--id",
                "o-1",
                "--format",
                format,
            ];
            insta::assert_snapshot!(
                format!("process_{name}_{format}"),
                whole(&shop("snap-process", "", &line))
            );
        }
    }
    let line = ["process-transaction-by-id", "price-orders", "o-1"];
    insta::assert_snapshot!("process_by_id", whole(&shop("snap-process", "", &line)));
}

#[test]
fn a_source_that_finds_none_by_its_id_is_told_before_anything_is_opened() {
    let said = shop("stays-shut-no-ids", "", &["process-transaction-by-id", "price-orders", "o-1"]);
    assert!(
        said.talk.starts_with("error: connector `input` (memory) cannot find a transaction"),
        "{}",
        said.talk
    );
    assert!(!said.talk.contains("it stays shut"), "{}", said.talk);
}

/// Runs a command on three dead letters: the second was sent back once before, the third contains control characters.
fn letters(queue: &str, line: &[&str]) -> Ran {
    let config =
        price_orders(queue, ConsumerPolicy { dead_letter: Some("output".into()), ..ConsumerPolicy::DEFAULT });
    let box_of = MemoryQueue::named(&format!("{queue}-out"));
    box_of.drain();
    for (id, replays, error) in [("a", 0, "5 is odd"), ("b", 1, "7 is odd"), ("c", 0, "\u{1b}[2J9 is odd\n")]
    {
        let letter = Transaction::builder()
            .id(id)
            .created_at(std::time::UNIX_EPOCH)
            .payload(crate::transaction::Payload::json(&serde_json::json!({"number": id})).unwrap())
            .metadata(key::ERROR, error)
            .metadata(key::CATEGORY, "business")
            .metadata(key::ATTEMPTS, 1)
            .metadata(key::TASK, "price-orders");
        let letter = if replays > 0 { letter.metadata(key::REPLAYS, replays) } else { letter };
        box_of.push(letter.build());
    }
    ran(&[config], "", line)
}

#[test]
fn dead_letters() {
    for command in ["list", "show", "replay"] {
        for format in ["text", "json"] {
            let line = ["dead-letters", command, "price-orders", "--format", format];
            let said = letters(&format!("snap-letters-{command}-{format}"), &line);
            insta::assert_snapshot!(format!("letters_{command}_{format}"), whole(&said));
        }
    }
    let line = ["dead-letters", "replay", "price-orders", "--dry-run", "--again", "--limit", "2"];
    insta::assert_snapshot!("letters_rehearsal", whole(&letters("snap-letters-rehearsal", &line)));
}

#[test]
fn letters_of_memory_move_from_queue_to_queue_and_keep_their_order() {
    let ran = letters("moved", &["dead-letters", "replay", "price-orders", "--limit", "1"]);
    assert_eq!(ran.code, 0, "{}", ran.talk);
    let ids = |queue: &str| -> Vec<String> {
        MemoryQueue::named(queue).drain().iter().map(|transaction| transaction.id().to_owned()).collect()
    };
    assert_eq!(
        (ids("moved"), ids("moved-out")),
        (vec!["a".to_owned()], vec!["b".to_owned(), "c".to_owned()])
    );
}

#[test]
fn a_replayed_transaction_carries_the_count_and_not_the_reason() {
    letters("revived", &["dead-letters", "replay", "price-orders", "--again"]);
    let back = MemoryQueue::named("revived").drain();
    let replays: Vec<_> =
        back.iter().map(|back| back.metadata().get(key::REPLAYS).unwrap().clone()).collect();
    assert_eq!(replays, [1, 2, 1]);
    assert!(back.iter().all(|back| back.metadata().len() == 1), "{back:?}");
}

#[test]
fn of_two_letters_of_one_id_one_goes_back_and_a_rehearsal_says_so() {
    for rehearsed in [true, false] {
        let queue = format!("same-id-{rehearsed}");
        let config = price_orders(
            &queue,
            ConsumerPolicy { dead_letter: Some("output".into()), ..ConsumerPolicy::DEFAULT },
        );
        let box_of = MemoryQueue::named(&format!("{queue}-out"));
        box_of.extend(["a", "b", "a"].map(|id| Transaction::new(id, &id).unwrap()));
        let line = ["dead-letters", "replay", "price-orders", "--dry-run"];
        let said = ran(&[config], "", if rehearsed { &line } else { &line[..3] });
        let lines = if rehearsed {
            [
                "would send back a",
                "would send back b",
                "skipped a: another dead letter with this id would be sent back",
            ]
        } else {
            ["sent back a", "sent back b", "skipped a: another dead letter with this id was just sent back"]
        };
        assert_eq!(said.data.lines().collect::<Vec<_>>(), lines);
        assert!(said.talk.ends_with(
            " 1 dead letter was skipped: `--again` sends back each of several dead letters with one id.\n"
        ));
    }
}

/// The help, wrapped for a terminal of this width.
fn help(words: &[&str], width: usize) -> String {
    let mut command = args::command(&PACKAGE).term_width(width);
    command.build();
    let inner = words.iter().fold(&mut command, |command, word| command.find_subcommand_mut(word).unwrap());
    inner.render_long_help().to_string()
}

#[test]
fn help_of_the_program() {
    insta::assert_snapshot!("help_wide", help(&[], 100));
    insta::assert_snapshot!("help_narrow", help(&[], 40));
}

#[test]
fn help_of_each_command() {
    for words in [
        &["list"][..],
        &["process-transaction"],
        &["process-transaction-by-id"],
        &["check"],
        &["describe"],
        &["dead-letters"],
        &["dead-letters", "list"],
        &["dead-letters", "replay"],
    ] {
        insta::assert_snapshot!(format!("help_{}", words.join("_").replace('-', "_")), help(words, 100));
    }
    insta::assert_snapshot!("help_dead_letters_replay_narrow", help(&["dead-letters", "replay"], 40));
}

#[test]
fn every_command_has_an_example() {
    let whole = args::command(&PACKAGE);
    let all = whole.get_subcommands().flat_map(|command| command.get_subcommands().chain([command]));
    for command in all {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.starts_with("Examples:\n  shop "), "{}: {help}", command.get_name());
    }
}

#[test]
fn every_example_can_be_written() {
    let whole = args::command(&PACKAGE);
    let all = whole.get_subcommands().flat_map(|command| command.get_subcommands().chain([command]));
    for help in all.filter_map(|command| command.get_after_help()) {
        for line in help.to_string().lines().skip(1) {
            let line = line.split(['|', '<', '>']).next().unwrap().trim().replace("{\"sku\": \"pen\"}", "{}");
            let words = line.split(' ').map(|word| word.trim_matches('\'').into());
            let parsed = args::parse(&PACKAGE, words);
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
    }
}

#[test]
fn an_error_is_red_only_where_colour_is_wanted() {
    let error = || Error::new(ErrorKind::Usage, "there is no task `x`").with_hint("did you mean `y`?");
    let told = |colour: bool| {
        let captured = Captured::default();
        let output = captured.painted(false, colour);
        output.error(&error());
        output.warn("it is late");
        captured.talk.text()
    };
    insta::assert_snapshot!("error_plain", told(false));
    insta::assert_snapshot!("error_coloured", told(true).replace('\u{1b}', "ESC"));
}

#[test]
fn completions_and_the_man_page_need_no_settings() {
    let broken = "this is no toml";
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = shop("snap-shell", broken, &["completions", shell]);
        assert_eq!(ran.code, 0, "{}", ran.talk);
        for command in ["process-transaction-by-id", "dead-letters", "check"] {
            assert!(ran.data.contains(command), "{shell}: {command}");
        }
    }
    let ran = shop("snap-shell", broken, &["man"]);
    assert_eq!(ran.code, 0, "{}", ran.talk);
    insta::assert_snapshot!("man", ran.data);
}
