//! The configs of the built-in connectors, for the prelude. One line registers one connector.
//!
//! If a connector's feature is off, its config is a stand-in, so that the compiler names the missing feature to a
//! program that uses the config. The stand-in has a type parameter that no program sets. So the compiler reports one
//! error at the name of the type, and none at its uses. The parameter and the deprecation name the feature.
#![allow(deprecated, reason = "stand-ins are deprecated to say why they are there")]

macro_rules! connectors {
    ($($feature:literal => $module:ident::$config:ident<$parameter:ident>, $note:literal;)+) => {$(
        #[cfg(feature = $feature)]
        pub use super::$module::$config;

        #[cfg(not(feature = $feature))]
        #[doc(hidden)]
        #[deprecated(note = $note)]
        #[derive(Debug)]
        pub struct $config<$parameter>(std::marker::PhantomData<$parameter>);
    )+};
}

pub use super::memory::MemoryConfig;

#[rustfmt::skip]
connectors! {
    "csv" => csv::CsvConfig<TheFeatureCsvIsOff>, "the feature `csv` of the crate `ergon` is off; in Cargo.toml, write `ergon = { …, features = [\"csv\"] }`";
    "excel" => excel::ExcelConfig<TheFeatureExcelIsOff>, "the feature `excel` of the crate `ergon` is off; in Cargo.toml, write `ergon = { …, features = [\"excel\"] }`";
    "json_lines" => json_lines::JsonLinesConfig<TheFeatureJsonLinesIsOff>, "the feature `json_lines` of the crate `ergon` is off; in Cargo.toml, write `ergon = { …, features = [\"json_lines\"] }`";
    "rabbitmq" => rabbitmq::RabbitMqConfig<TheFeatureRabbitmqIsOff>, "the feature `rabbitmq` of the crate `ergon` is off; in Cargo.toml, write `ergon = { …, features = [\"rabbitmq\"] }`";
    "sqlite" => sqlite::SqliteConfig<TheFeatureSqliteIsOff>, "the feature `sqlite` of the crate `ergon` is off; in Cargo.toml, write `ergon = { …, features = [\"sqlite\"] }`";
}
