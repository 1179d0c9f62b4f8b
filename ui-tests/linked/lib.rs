//! Provides a test with the paths of its compiler and its libraries, because Cargo does not pass these paths to a test.

use std::env;

use proc_macro::TokenStream;

/// Expands to a `&[&str; _]`: the path of the compiler, then the arguments with which it finds the libraries of this crate.
#[proc_macro]
pub fn compiler(_: TokenStream) -> TokenStream {
    let compiler = env::current_exe().map_or_else(|_| "rustc".to_owned(), |path| path.display().to_string());
    let mut words = vec![compiler];
    let mut arguments = env::args();
    while let Some(argument) = arguments.next() {
        if matches!(argument.as_str(), "--extern" | "-L") {
            words.push(argument);
            words.extend(arguments.next());
        }
    }
    // The debug form of strings is that of Rust's literals.
    format!("&{words:?}").parse().unwrap_or_default()
}
