//! Filters log lines by level and target.

use tracing_subscriber::EnvFilter;

/// The names of the levels.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Noisy client libraries. Connectors and services report their errors, and their own lines may contain payloads and
/// passwords. A directive of the user that names such a library shows its lines.
const QUIET: [&str; 2] = ["lapin", "opentelemetry"];

/// The libraries that send log lines to a collector; their own lines must not be sent there.
#[cfg(feature = "opentelemetry")]
const SENDERS: [&str; 7] = ["ergon::telemetry", "h2", "hyper", "hyper_util", "reqwest", "tonic", "tower"];

/// Directives that select log lines: a level, or `warn,my_crate=debug`.
#[derive(Debug, Clone)]
pub(crate) struct Directives {
    text: String,
    /// Whether invalid parts are ignored, because other programs read the same text.
    lenient: bool,
}

impl Directives {
    /// Parses directives of a program whose own code is in `package`.
    ///
    /// # Errors
    /// The reason why the directives are invalid.
    pub(crate) fn new(text: &str, package: &str) -> Result<Self, String> {
        // A single word would be parsed as the name of a crate. A misspelt level must not silence the program.
        let lone_word = text.chars().all(char::is_alphanumeric);
        if lone_word && !LEVELS.contains(&text.to_lowercase().as_str()) {
            return Err(format!("there is no log level `{text}`"));
        }
        let directives = Self { text: capped(text, package), lenient: false };
        match EnvFilter::try_new(&directives.text) {
            Ok(_) => Ok(directives),
            Err(error) => Err(format!("not a log level or directive: {error}")),
        }
    }

    /// Parses directives that other programs read too.
    pub(crate) fn lenient(text: &str, package: &str) -> Self {
        Self { text: capped(text, package), lenient: true }
    }

    /// The filter of one handler.
    pub(crate) fn filter(&self) -> EnvFilter {
        if self.lenient {
            EnvFilter::new(&self.text)
        } else {
            EnvFilter::try_new(&self.text).unwrap_or_default()
        }
    }

    /// The filter of the handler that sends lines to a collector.
    #[cfg(feature = "opentelemetry")]
    pub(crate) fn filter_of_sender(&self) -> EnvFilter {
        let silent: Vec<String> = SENDERS.iter().map(|target| format!("{target}=off")).collect();
        EnvFilter::new(format!("{},{}", self.text, silent.join(",")))
    }
}

/// The directives with limits for noisy client libraries. A plain `trace` is `trace` for Ergon and the program, and `debug`
/// for all other crates, because a client at `trace` logs the bytes that it sends, including passwords.
fn capped(directives: &str, package: &str) -> String {
    let quiet = QUIET.iter().map(|client| format!("{client}=off"));
    let own = package.replace('-', "_");
    let directives = directives.split(',').map(|directive| match directive.trim() {
        all if all.eq_ignore_ascii_case("trace") || all == "5" => format!("debug,ergon=trace,{own}=trace"),
        other => other.to_owned(),
    });
    quiet.chain(directives).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_level_is_refused() {
        assert_eq!(Directives::new("dbug", "shop").unwrap_err(), "there is no log level `dbug`");
        assert!(Directives::new("warn,my_crate=debug", "shop").is_ok());
        assert!(Directives::new("DEBUG", "shop").is_ok());
    }

    #[test]
    fn trace_is_for_the_program_itself_unless_a_client_is_named() {
        let all = Directives::new("trace", "my-shop").unwrap().text;
        assert_eq!(all, "lapin=off,opentelemetry=off,debug,ergon=trace,my_shop=trace");
        let asked = Directives::new("info,hyper=trace,lapin=trace", "shop").unwrap().text;
        assert_eq!(asked, "lapin=off,opentelemetry=off,info,hyper=trace,lapin=trace");
    }
}
