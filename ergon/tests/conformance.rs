//! Every connector keeps the rules of every connector.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ergon::Transaction;
use ergon::connector::memory::{MemoryConfig, MemoryQueue};
use ergon::testing::conformance::{self, Fixture};

struct Queues;

impl Fixture for Queues {
    type Config = MemoryConfig;

    async fn filled(&self, place: &str, transactions: Vec<Transaction>) -> MemoryConfig {
        MemoryQueue::named(place).extend(transactions);
        MemoryConfig::new(place)
    }

    async fn contents(&self, config: &MemoryConfig) -> Vec<Transaction> {
        MemoryQueue::named(&config.name).drain()
    }
}

#[tokio::test]
async fn memory() {
    conformance::duplex(&Queues).await;
}

#[cfg(feature = "json_lines")]
mod json_lines {
    use ergon::connector::json_lines::{Envelope, JsonLinesConfig};

    use super::files::{Capabilities, Files, write};
    use super::*;

    /// Envelopes carry everything.
    struct Enveloped(Files);

    impl Fixture for Enveloped {
        type Config = JsonLinesConfig;

        async fn filled(&self, place: &str, transactions: Vec<Transaction>) -> JsonLinesConfig {
            let config = JsonLinesConfig::new(self.0.path(place, "jsonl")).with_envelope(Envelope::Always);
            write(&config, transactions).await;
            config
        }

        async fn contents(&self, config: &JsonLinesConfig) -> Vec<Transaction> {
            conformance::read(config).await.unwrap()
        }

        fn capabilities(&self) -> Capabilities {
            Capabilities { remembers: false, ..Capabilities::default() }
        }
    }

    #[tokio::test]
    async fn json_lines_with_envelopes() {
        conformance::duplex(&Enveloped(Files::new())).await;
    }

    /// A payload alone is JSON and nothing else.
    struct Plain(Files);

    impl Fixture for Plain {
        type Config = JsonLinesConfig;

        async fn filled(&self, place: &str, transactions: Vec<Transaction>) -> JsonLinesConfig {
            let config = JsonLinesConfig::new(self.0.path(place, "jsonl"));
            let line = |transaction: Transaction| {
                transaction.decode::<ergon::transaction::Value>().unwrap().to_string()
            };
            let lines: Vec<String> = transactions.into_iter().map(line).collect();
            std::fs::write(&config.path, lines.join("\r\n")).unwrap();
            config
        }

        async fn contents(&self, config: &JsonLinesConfig) -> Vec<Transaction> {
            conformance::read(config).await.unwrap()
        }

        fn capabilities(&self) -> Capabilities {
            Capabilities { metadata: false, binary: false, remembers: false, ..Capabilities::default() }
        }
    }

    #[tokio::test]
    async fn json_lines() {
        conformance::duplex(&Plain(Files::new())).await;
    }
}

#[cfg(feature = "csv")]
mod csv {
    use ergon::connector::csv::CsvConfig;

    use super::files::{Capabilities, Files, write};
    use super::*;

    struct Tables(Files);

    impl Fixture for Tables {
        type Config = CsvConfig;

        async fn filled(&self, place: &str, transactions: Vec<Transaction>) -> CsvConfig {
            let config = CsvConfig::new(self.0.path(place, "csv"));
            if transactions.is_empty() {
                std::fs::write(&config.path, "key,text\n").unwrap();
            }
            write(&config, transactions).await;
            config
        }

        async fn contents(&self, config: &CsvConfig) -> Vec<Transaction> {
            conformance::read(config).await.unwrap()
        }

        fn capabilities(&self) -> Capabilities {
            Capabilities { metadata: false, binary: false, remembers: false, ..Capabilities::default() }
        }
    }

    #[tokio::test]
    async fn csv() {
        conformance::duplex(&Tables(Files::new())).await;
    }
}

#[cfg(feature = "excel")]
mod excel {
    use ergon::connector::excel::ExcelConfig;
    use ergon::testing::conformance::Sample;

    use super::files::{Capabilities, Files};
    use super::*;

    struct Workbooks(Files);

    impl Fixture for Workbooks {
        type Config = ExcelConfig;

        async fn filled(&self, place: &str, transactions: Vec<Transaction>) -> ExcelConfig {
            let path = self.0.path(place, "xlsx");
            let mut book = rust_xlsxwriter::Workbook::new();
            let sheet = book.add_worksheet();
            sheet.write_row(0, 0, ["key", "text"]).unwrap();
            for (row, transaction) in (1..).zip(transactions) {
                let Sample { key, text } = transaction.decode().unwrap();
                sheet.write_row(row, 0, [key, text]).unwrap();
            }
            book.save(&path).unwrap();
            ExcelConfig::new(path)
        }

        async fn contents(&self, config: &ExcelConfig) -> Vec<Transaction> {
            conformance::read(config).await.unwrap()
        }

        fn capabilities(&self) -> Capabilities {
            Capabilities {
                metadata: false,
                binary: false,
                large: false,
                immediate: false,
                remembers: false,
                ..Capabilities::default()
            }
        }
    }

    #[tokio::test]
    async fn excel() {
        conformance::duplex(&Workbooks(Files::new())).await;
    }
}

#[cfg(any(feature = "json_lines", feature = "csv", feature = "excel"))]
mod files {
    use std::path::PathBuf;

    use ergon::connector::{ConnectorConfig, Context, Direction, Sink};
    pub(crate) use ergon::testing::conformance::Capabilities;
    use ergon::{Connector, Transaction};

    /// Files in a folder that is removed at the end.
    pub(crate) struct Files(tempfile::TempDir);

    impl Files {
        pub(crate) fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        pub(crate) fn path(&self, place: &str, extension: &str) -> PathBuf {
            self.0.path().join(place).with_extension(extension)
        }
    }

    /// Fills a file with the connector's own sink.
    #[cfg_attr(
        not(any(feature = "json_lines", feature = "csv")),
        allow(dead_code, reason = "not for workbooks")
    )]
    pub(crate) async fn write<C>(config: &C, transactions: Vec<Transaction>)
    where
        C: ConnectorConfig<Connector: Sink>,
    {
        let mut context = Context::new("conformance", "filled");
        context.direction = Direction::Sink;
        let sink = config.build(&context).unwrap();
        sink.open().await.unwrap();
        sink.dispatch(transactions).await.unwrap();
        sink.close().await.unwrap();
    }
}
