//! The beginning of a body, as it may stand in an error.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};

use super::Auth;

/// How many characters of a body are shown.
const SHOWN: usize = 300;

/// What the service authenticates with; servers like to repeat it in their answers.
#[derive(Default)]
pub(super) struct Secrets(Vec<SecretString>);

impl Secrets {
    pub(super) fn of(auth: &Auth) -> Self {
        let secrets = match auth {
            Auth::None => Vec::new(),
            Auth::Bearer(secret) | Auth::Header { value: secret, .. } => vec![secret.clone()],
            Auth::Basic { username, password } => {
                let pair = STANDARD.encode(format!("{username}:{}", password.expose_secret()));
                vec![password.clone(), SecretString::from(pair)]
            }
        };
        Self(secrets.into_iter().filter(|secret| !secret.expose_secret().is_empty()).collect())
    }

    /// The same text without the secrets.
    pub(super) fn strike(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret.expose_secret(), "[secret]"))
    }
}

/// The beginning of a body on one line, without control characters and secrets.
pub(super) fn excerpt(body: &[u8], secrets: &Secrets) -> String {
    let text = secrets.strike(&String::from_utf8_lossy(body));
    let mut shown = String::new();
    let mut characters = text.trim().chars();
    for character in characters.by_ref().take(SHOWN) {
        match character {
            '\u{20}'..='\u{7e}' => shown.push(character),
            _ if character.is_alphanumeric() => shown.push(character),
            _ => shown.extend(character.escape_debug()),
        }
    }
    if characters.next().is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_one_short_line() {
        let secrets = Secrets::default();
        assert_eq!(excerpt(b" {\n\t\"a\": \"\x1b[31m\"}\xff ", &secrets), r#"{\n\t"a": "\u{1b}[31m"}�"#);
        assert_eq!(excerpt("ü".repeat(301).as_bytes(), &secrets), format!("{}…", "ü".repeat(300)));
    }

    #[test]
    fn what_the_server_repeats_of_our_credentials_is_struck_out() {
        let basic = Secrets::of(&Auth::basic("me", "pass word"));
        let shown = excerpt(b"no user me/pass word (bWU6cGFzcyB3b3Jk)", &basic);
        assert_eq!(shown, "no user me/[secret] ([secret])");
        assert_eq!(excerpt(b"a", &Secrets::of(&Auth::bearer(""))), "a");
    }
}
