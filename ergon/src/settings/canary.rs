//! Tests that no error shows a part of a password, for every source of settings and every kind of mistake.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStringExt as _;
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};
use tempfile::TempDir;

use super::*;

/// The password. No part of it may be visible.
const PASSWORD: &str = "S3cr3t pw";
/// Parts of the password in all encodings: plain, percent-encoded, base64, hexadecimal, lower case.
const SIGNS: [&str; 6] = ["S3cr", "3t pw", "3t%20pw", "UzNjcjN0", "5333637233742070", "s3cr"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only whether they can be read matters")]
struct Settings {
    #[serde(default)]
    table: Option<Table>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    number: Option<u32>,
    #[serde(default)]
    wait: Option<Duration>,
    #[serde(default)]
    size: Option<ByteSize>,
    #[serde(default)]
    mode: Option<Mode>,
    #[serde(default)]
    tagged: Option<Tagged>,
    #[serde(default)]
    mixed: Option<Mixed>,
    #[serde(default)]
    untagged: Option<Untagged>,
    #[serde(default)]
    map: BTreeMap<String, u32>,
    #[serde(default)]
    list: Vec<u32>,
    #[serde(default)]
    chatty: Option<Chatty>,
    #[serde(default)]
    encoded: Option<Encoded>,
    #[serde(default)]
    door: Option<SecretString>,
    #[serde(default)]
    doors: BTreeMap<String, SecretString>,
    #[serde(default)]
    letter: Option<char>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only whether they can be read matters")]
struct Table {
    key: u32,
    url: Option<String>,
    door: Option<SecretString>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "only whether they can be read matters")]
enum Mode {
    Fast,
    Every(u32),
    Locked(SecretString),
}

#[derive(Deserialize)]
#[serde(tag = "kind")]
#[expect(dead_code, reason = "only whether they can be read matters")]
enum Tagged {
    One { port: u16 },
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only whether they can be read matters")]
struct Mixed {
    #[serde(flatten)]
    inner: Tagged,
}

#[derive(Deserialize)]
#[serde(untagged)]
#[expect(dead_code, reason = "only whether they can be read matters")]
enum Untagged {
    Number(u32),
    Flag(bool),
}

/// An error that repeats its input, as many parsers do.
struct Chatty;

impl<'de> Deserialize<'de> for Chatty {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Err(serde::de::Error::custom(format!("no host in {:?}", text.get(1..).unwrap_or(&text))))
    }
}

/// An error that repeats its input in another encoding.
struct Encoded;

impl<'de> Deserialize<'de> for Encoded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut hex = String::new();
        text.bytes().for_each(|byte| write!(hex, "{byte:02x}").unwrap());
        let percent = percent_encoding::utf8_percent_encode(&text, percent_encoding::NON_ALPHANUMERIC);
        Err(serde::de::Error::custom(format!("no login: {hex} {percent}")))
    }
}

/// All output about the problems of these settings; nothing if there is no problem.
fn seen(toml: &str, dotenv: &[u8], environment: &[(&str, OsString)]) -> Option<String> {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("ergon.toml"), toml).unwrap();
    std::fs::write(folder.path().join(".env"), dotenv).unwrap();
    let environment = environment.iter().map(|(name, value)| ((*name).into(), value.clone())).collect();
    let options = Options { working_folder: folder.path().into(), environment, ..Options::default() };
    let error = match load::<Settings>(&options) {
        Err(error) => error,
        Ok(loaded) => {
            let level = loaded.framework.log_level(None)?;
            level.refused(&format!("not a log level or directive: {}", level.directives))
        }
    };
    let mut seen = format!("{error}\n{error:?}\n{error:#?}\n{:?}", error.hint());
    let mut cause = error.source();
    while let Some(below) = cause {
        write!(seen, "\n{below}\n{below:?}").unwrap();
        cause = below.source();
    }
    Some(seen)
}

/// Fails if a part of the password is visible, or if there is no error.
fn assert_hidden(what: &str, seen: Option<String>) {
    let Some(seen) = seen else { panic!("no error: {what}") };
    for sign in SIGNS {
        assert!(!seen.contains(sign), "{sign:?} is seen of {what}:\n{seen}");
    }
}

/// The keys under which the password is an invalid value, for any reason.
const KEYS: [&str; 22] = [
    "NUMBER",
    "WAIT",
    "SIZE",
    "MODE",
    "MODE__EVERY",
    "TAGGED",
    "TAGGED__KIND",
    "TAGGED__PORT",
    "MIXED__PORT",
    "MIXED__KIND",
    "UNTAGGED",
    "MAP__A",
    "LIST",
    "CHATTY",
    "ENCODED",
    "LETTER",
    "TABLE",
    "TABLE__KEY",
    "TABLE__KYE",
    "TEXT__BELOW",
    "TELEMETRY__FORMAT",
    "RUNNER__HEALTH",
];

/// Values with the password, also as part of a list or a table.
const VALUES: [&str; 9] = [
    "S3cr3t pw",
    "amqp://u:S3cr3t pw@h/v",
    "S3cr3t%20pw",
    "['S3cr3t pw']",
    "{ 'S3cr3t pw' = 'S3cr3t pw' }",
    "{ key = 'S3cr3t pw', url = 'S3cr3t pw' }",
    "{ kind = 'One', port = 'S3cr3t pw' }",
    "{ kind = 'S3cr3t pw', port = 1 }",
    "{ every = 'S3cr3t pw' }",
];

#[test]
fn no_value_of_a_variable_is_seen() {
    for key in KEYS {
        for value in VALUES {
            let (name, toml) = (format!("ERGON_{key}"), "text = 'a'\n");
            let what = format!("{name}={value}");
            // A text is valid for the name of a mode.
            assert_hidden(&what, seen(toml, b"", &[(&name, value.into())]));
            let quoted = format!("A=1\n{name}=\"{value}\"\n");
            assert_hidden(&format!(".env: {what}"), seen(toml, quoted.as_bytes(), &[]));
        }
    }
}

#[test]
fn no_value_of_a_variable_that_is_no_setting_is_seen() {
    for name in ["ERGON_CONFIG", "ENV_FILE", "ERGON_LOG"] {
        assert_hidden(name, seen("", b"", &[(name, PASSWORD.into())]));
    }
    for name in ["ERGON_CONFIG", "ERGON_LOG"] {
        assert_hidden(name, seen("", format!("{name}='{PASSWORD}'\n").as_bytes(), &[]));
    }
    for name in ["ERGON_NUMBER", "ERGON_CONFIG", "ERGON_LOG", "ENV_FILE"] {
        let no_text = OsString::from_vec([PASSWORD.as_bytes(), b"\xff"].concat());
        assert_hidden(name, seen("", b"", &[(name, no_text)]));
    }
}

#[test]
fn no_line_of_a_file_of_variables_is_seen() {
    for line in [
        "ERGON_TEXT=S3cr3t pw",
        "ERGON_TEXT=\"S3cr3t pw",
        "ERGON_TEXT='S3cr3t pw",
        "ERGON_TEXT=\"S3cr3t\\q pw\"",
        "ERGON_TEXT=${S3cr3t pw}",
        "ERGON_TEXT=S3cr3t${",
        "ERGON_TEXT S3cr3t pw",
        "export ERGON_TEXT=amqp://u:S3cr3t pw@h",
        "ERGON_NUMBER=7 # S3cr3t pw\nERGON_TEXT=x y",
    ] {
        assert_hidden(line, seen("", format!("A=1\n{line}\n").as_bytes(), &[]));
    }
    let no_text = [b"ERGON_TEXT=S3cr3t\xff pw\n".as_slice(), b"ERGON_NUMBER='\xffS3cr3t pw'"].concat();
    assert_hidden("bytes", seen("", &no_text, &[]));
    let utf_16: Vec<u8> = "\u{feff}ERGON_TEXT=S3cr3t pw".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_hidden("UTF-16", seen("", &utf_16, &[]));
}

#[test]
fn no_secret_field_of_the_settings_file_is_seen() {
    for toml in [
        // By its type, under any name.
        "door = [ 'S3cr3t pw' ]\n",
        "door = { a = 'S3cr3t pw' }\n",
        "table = { key = 'x', door = 'S3cr3t pw' }\n",
        "table = { kye = 1, door = 'S3cr3t pw' }\n",
        "[table]\ndoor = 'S3cr3t pw' # S3cr3t pw\nkye = 1 # S3cr3t pw\n",
        "mode = { locked = [ 'S3cr3t pw' ] }\n",
        "[doors]\na = [ 'S3cr3t pw' ]\n",
        // The line of another mistake.
        "table = { key = 'x', url = 'amqp://u:S3cr3t pw@h' }\n",
        "table = { key = 1, url = 'S3cr3t pw', kye = 2 }\n",
        "list = [ 1, 2, 'a', 'S3cr3t pw' ] # S3cr3t pw\nnumber = 'x' # S3cr3t pw\n",
        // By its name or its shape, with any type.
        "number = 'amqp://u:S3cr3t pw@h'\n",
        "number = 'u:S3cr3t pw@h'\n",
        "chatty = 'amqp://u:S3cr3t pw@h'\n",
        "passwrd = 'S3cr3t pw'\n",
        "unknown = 'S3cr3t pw'\n",
        "map = { password = 'S3cr3t pw' }\n",
        "map = { auth-key = 'S3cr3t pw' }\n",
        "tagged = { kind = 'One', port = 'S3cr3t pw' }\n",
        "mixed = { kind = 'One', port = 'S3cr3t pw' }\n",
        "tagged = { kind = 'S3cr3t pw', port = 1 }\n",
        // Not TOML.
        "text = S3cr3t pw\n",
        "text = 'a'\ndoor = S3cr3t pw\n",
        "door = 'S3cr3t pw\n",
        "door = \"S3cr3t\\q pw\"\n",
        "door = '''\nS3cr3t pw\n",
        "door = \"\"\"\nS3cr3t \\q pw\n\"\"\"\n",
        "list = [\n  S3cr3t pw=,\n]\n",
        "table = { door = S3cr3t pw }\n",
        "door = 'S3cr3t pw' 'S3cr3t pw'\n",
        "door = 'S3cr3t pw'\ndoor = 'S3cr3t pw'\n",
        "table = { key = 99999999999999999999, door = 'S3cr3t pw' }\n",
    ] {
        assert_hidden(toml, seen(toml, b"", &[]));
    }
}

#[test]
fn a_reason_that_repeats_no_value_is_told() {
    struct Even;
    impl<'de> Deserialize<'de> for Even {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let number = u32::deserialize(deserializer)?;
            let odd = || serde::de::Error::custom("must be even");
            (number % 2 == 0).then_some(Self).ok_or_else(odd)
        }
    }
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only whether it can be read matters")]
    struct Numbers {
        pair: Even,
    }
    let environment = vec![("ERGON_PAIR".into(), "7".into())];
    let folder = TempDir::new().unwrap();
    let options = Options { working_folder: folder.path().into(), environment, ..Options::default() };
    let error = load::<Numbers>(&options).err().unwrap();
    assert_eq!(error.to_string(), "environment variable ERGON_PAIR: pair: must be even");
}
