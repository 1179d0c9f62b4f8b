//! Which log lines are written.

use tracing_subscriber::EnvFilter;

/// The words for a level.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Clients that shout: their errors are told by whoever uses them, in words, and what they write may hold payloads and
/// passwords. A directive of the user's own lets them speak.
const QUIET: [&str; 2] = ["lapin", "opentelemetry"];

/// What sends log lines to a collector must not write any that are sent there.
#[cfg(feature = "opentelemetry")]
const SENDERS: [&str; 7] = ["ergon::telemetry", "h2", "hyper", "hyper_util", "reqwest", "tonic", "tower"];

/// Directives that say which log lines are written: a level, or `warn,my_crate=debug`.
#[derive(Debug, Clone)]
pub(crate) struct Directives {
    text: String,
    /// What cannot be read is left out: others obey the same text.
    lenient: bool,
}

impl Directives {
    /// Reads directives, of a program whose own code is in `package`.
    ///
    /// # Errors
    /// Why they cannot be read.
    pub(crate) fn new(text: &str, package: &str) -> Result<Self, String> {
        // A lone word would be read as the name of a crate; a misspelt level must not silence the program.
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

    /// Reads directives that other programs obey too.
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

    /// The filter of the handler that sends to a collector.
    #[cfg(feature = "opentelemetry")]
    pub(crate) fn filter_of_sender(&self) -> EnvFilter {
        let silent: Vec<String> = SENDERS.iter().map(|target| format!("{target}=off")).collect();
        EnvFilter::new(format!("{},{}", self.text, silent.join(",")))
    }
}

/// The same directives beside clients that shout. `trace` for everything means everything of Ergon and of the program;
/// others are held to `debug`, because a client at `trace` writes the bytes it sends, passwords among them.
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
