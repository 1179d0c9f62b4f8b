//! Declares stand-ins for the types of features that are off, so that the compiler names the feature that a program needs.
//!
//! A stand-in has a type parameter that no program gives. So each mention of the type is one error, and its use is no
//! further error. The parameter and the deprecation name the feature.

macro_rules! off {
    ($($feature:literal, $note:literal: $($name:ident<$parameter:ident>),+;)+) => {$($(
        #[cfg(not(feature = $feature))]
        #[deprecated(note = $note)]
        #[derive(Debug)]
        pub struct $name<$parameter>(std::marker::PhantomData<$parameter>);
    )+)+};
}

off! {
    "http", "the feature `http` of the crate `ergon` is off; in Cargo.toml, write `ergon = { …, features = [\"http\"] }`":
        HttpConfig<TheFeatureHttpIsOff>, HttpError<TheFeatureHttpIsOff>, HttpService<TheFeatureHttpIsOff>,
        HttpServiceConfig<TheFeatureHttpIsOff>;
    "openai", "the feature `openai` of the crate `ergon` is off; in Cargo.toml, write `ergon = { …, features = [\"openai\"] }`":
        OpenaiConfig<TheFeatureOpenaiIsOff>, OpenaiService<TheFeatureOpenaiIsOff>,
        OpenaiServiceConfig<TheFeatureOpenaiIsOff>;
}
