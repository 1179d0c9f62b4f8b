//! Tests that no error, log line or debug output shows a secret.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use ergon::service::http::{Auth, HttpErrorKind as Kind};
use ergon_tests::web::{Server, Step, answer};
use tracing_subscriber::fmt::MakeWriter;

use super::*;

/// Everything that is logged.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// All messages and log lines of a failing request.
async fn traces_of(auth: Auth, log: &Log) -> String {
    let server = Server::start(|_, asked| {
        let repeated = asked.header("authorization").or(asked.header("x-api-key")).unwrap().to_owned();
        let password = if repeated.starts_with("Basic") { "s3cret-password" } else { "" };
        match asked.line.as_str() {
            "GET /reset?key=s3cret-query" => vec![Step::Reset],
            "GET /no-json?key=s3cret-query" => answer("200 OK", "", format!("you are {repeated}")),
            _ => answer("500 Internal Server Error", "", format!("you are {repeated} {password}")),
        }
    })
    .await;
    let mut config = config(&server).with_auth(auth);
    config.headers.insert("X-Session".into(), "s3cret-session".into());
    let service = config.build().unwrap();
    let mut seen = vec![format!("{config:?} {service:?}")];
    for path in ["reset", "no-json", "refused"] {
        let request = service.get(path).query("key", "s3cret-query").header("x-own", "s3cret-own");
        seen.push(format!("{request:?}"));
        let error = request.receive::<u64>().await.unwrap_err();
        seen.push(format!("{} {error:?}", told(&error)));
        let error = TransactionError::from(error);
        seen.push(format!("{error} {error:?} {:?}", error.source().map(ToString::to_string)));
    }
    assert_eq!(server.asked().len(), 7, "three times reset, once no JSON, three times refused");
    seen.push(String::from_utf8(log.0.lock().unwrap().clone()).unwrap());
    seen.join("\n")
}

#[tokio::test]
async fn no_secret_is_shown_in_configs_errors_and_logs() {
    for auth in [
        Auth::bearer("s3cret-token"),
        Auth::basic("me", "s3cret-password"),
        Auth::header("X-Api-Key", "s3cret-key"),
    ] {
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE);
        let subscriber = subscriber.with_writer(log.clone()).with_ansi(false).finish();
        let guard = ergon_tests::listen(subscriber);
        let seen = traces_of(auth, &log).await;
        drop(guard);
        assert!(seen.contains("most=3"), "the attempts were logged");
        assert!(seen.contains("[secret]"), "the answers are shown");
        // The form of `me:s3cret-password` in the request.
        for secret in ["s3cret", "bWU6czNjcmV0LXBhc3N3b3Jk"] {
            let shown = seen.find(secret).map(|at| seen.get(at.saturating_sub(200)..).unwrap_or(&seen));
            assert_eq!(shown, None, "{secret}");
        }
    }
}

#[tokio::test]
async fn credentials_do_not_travel_to_another_host() {
    let elsewhere = Server::start(|_, _| answer("200 OK", "", "1")).await;
    let target = format!("location: {}/x?token=s3cret", elsewhere.url());
    for status in ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect"] {
        let target = target.clone();
        let server = Server::start(move |_, _| answer(status, &target, "")).await;
        let service = config(&server).with_auth(Auth::header("X-Api-Key", "s3cret")).build().unwrap();
        let error = service.get("").send().await.unwrap_err();
        let expected = format!("redirects to another protocol or port, {}", elsewhere.url());
        assert!(error.to_string().ends_with(&expected), "{error}");
        assert_eq!((error.kind(), error.category()), (Kind::Redirect, Category::Business));
        assert!(!told(&error).contains("s3cret"));
    }
    assert!(elsewhere.asked().is_empty());
}

#[test]
fn a_url_with_credentials_is_refused_and_not_shown() {
    let config = HttpConfig::new("https://me:s3cret@crm.example");
    let error = config.build().unwrap_err();
    assert_eq!(error.hint(), Some("set `auth`: a URL is shown in logs and errors"));
    assert!(!format!("{config:?} {error} {error:?}").contains("s3cret"));
}
