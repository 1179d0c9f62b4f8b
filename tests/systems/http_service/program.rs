//! Tests the HTTP service in a program: `check` asks it, its retries are counted, and a failed call is one warning.

use std::process::Command;

use ergon_tests::web::{Server, Step, answer, json};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A project whose services and one source are at this address.
struct Project(TempDir);

impl Project {
    fn at(url: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let http = format!("base_url = \"{url}\"\nretry = {{ backoff = \"1ms\" }}\n");
        let toml = format!(
            "[csv]\npath = \"orders.csv\"\n[excel]\npath = \"orders.xlsx\"\n[lines]\npath = \"lines.jsonl\"\n\
             [taken]\npath = \"taken.jsonl\"\n[refused]\npath = \"refused.jsonl\"\n[rule]\n[crm.http]\n{http}\
             [vault.http]\n{http}[pages.http]\n{http}[openai]\napi_key = \"S3cr3t\"\nmodel = \"m\"\n{http}"
        );
        std::fs::write(folder.path().join("ergon.toml"), toml).unwrap();
        std::fs::write(folder.path().join("lines.jsonl"), "1\n").unwrap();
        Self(folder)
    }

    /// The exit code, standard output, standard error.
    async fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_clerk"));
        command.args(arguments).current_dir(self.0.path());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ERGON") || name == "RUST_LOG")
        {
            command.env_remove(name);
        }
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }
}

/// An address on which no process listens.
async fn closed() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn check_asks_every_service_also_those_inside_others_and_connectors() {
    let project = Project::at(&closed().await);
    let (code, told, _) = project.run(&["check", "call-crm", "--format", "json"]).await;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, &told["problems"]), (Some(1), &json!(1)), "{told}");
    let crm = &told["tasks"][0]["checks"][1];
    assert_eq!((&crm["name"], &crm["ok"]), (&json!("crm"), &json!(false)), "{told}");
    let cause = crm["causes"][0].as_str().unwrap();
    assert!(
        cause.starts_with("service `http`: HEAD http://") && cause.ends_with(": cannot connect"),
        "{cause}"
    );
    let (code, told, _) = project.run(&["check", "ask-all"]).await;
    assert_eq!((code, told.matches("cannot connect").count()), (Some(1), 3), "{told}");
    assert!(told.contains("3 problems"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_makes_one_request_that_does_nothing() {
    let server = Server::start(|_, _| answer("404 Not Found", "", "")).await;
    let project = Project::at(&format!("{}/api", server.url()));
    let (code, told, _) = project.run(&["check", "ask-all"]).await;
    assert_eq!((code, told.contains("no problems")), (Some(0), true), "{told}");
    let lines: Vec<String> = server.asked().into_iter().map(|asked| asked.line).collect();
    assert_eq!(lines, ["HEAD /api", "HEAD /api", "HEAD /api"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_takes_no_answer_of_a_gateway_or_to_wrong_credentials_for_well() {
    for (status, problems) in
        [("502 Bad Gateway", 3), ("503 Service Unavailable", 3), ("401 Unauthorized", 1)]
    {
        let server = Server::start(move |_, _| answer(status, "", "")).await;
        let project = Project::at(&server.url());
        let (code, told, _) = project.run(&["check", "ask-all", "--format", "json"]).await;
        let said: Value = serde_json::from_str(&told).unwrap();
        assert_eq!((code, &said["problems"]), (Some(1), &json!(problems)), "{told}");
        assert!(told.contains(status) && !told.contains("S3cr3t"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_call_is_one_warning_and_its_retries_are_in_the_summary_and_the_metrics() {
    let project = Project::at(&closed().await);
    let (code, _, said) = project.run(&["run", "call-crm"]).await;
    assert_eq!((code, said.matches("WARN").count()), (Some(0), 1), "{said}");
    assert!(said.contains("cannot connect") && said.contains("\n  2 retries of calls.\n"), "{said}");
    let (_, summary, _) = project.run(&["run", "call-crm", "--format", "json"]).await;
    let summary: Value = serde_json::from_str(&summary).unwrap();
    let counts = (&summary["call_retries"], &summary["retries"], &summary["tasks"][0]["call_retries"]);
    assert_eq!(counts, (&json!(2), &json!(0), &json!(2)));
    // Nothing is logged, but the retries are counted all the same.
    let (_, _, said) = project.run(&["run", "call-crm", "--log-level", "off"]).await;
    assert!(said.contains("2 retries of calls"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_of_calls_are_counted_whatever_runs_them() {
    let server =
        Server::start(|before, _| if before % 2 == 0 { vec![Step::Reset] } else { json(&json!("done")) })
            .await;
    let project = Project::at(&server.url());
    let (code, _, said) = project.run(&["run", "call-crm"]).await;
    assert_eq!((code, said.matches("WARN").count()), (Some(0), 0), "{said}");
    assert!(said.contains("1 succeeded") && said.contains("\n  1 retry of a call.\n"), "{said}");
    let (code, _, said) = project.run(&["run", "count-calls"]).await;
    assert_eq!((code, said.matches("WARN").count()), (Some(0), 0), "{said}");
    assert!(said.contains("\n  2 retries of calls.\n"), "{said}");
    let mut console = Command::new(env!("CARGO_BIN_EXE_clerk"));
    console
        .args(["run", "count-calls"])
        .current_dir(project.0.path())
        .env("OTEL_METRICS_EXPORTER", "console");
    let output = tokio::task::spawn_blocking(move || console.output().unwrap()).await.unwrap();
    let measured = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = measured.lines().find(|line| line.contains("ergon.call.retries"));
    assert!(line.is_some_and(|line| line.contains("count-calls") && line.contains("system")), "{measured}");
}
