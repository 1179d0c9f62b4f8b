//! Functions that tasks share.

use super::errors::ValidationError;

/// Formats cents for people: `1234.05`.
pub(crate) fn money(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// Checks that a field is not blank.
pub(crate) fn filled(field: &'static str, content: &str) -> Result<(), ValidationError> {
    if content.trim().is_empty() {
        Err(ValidationError::Empty { field })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_has_two_digits_of_cents() {
        assert_eq!([0, 5, 123_405].map(money), ["0.00", "0.05", "1234.05"]);
    }

    #[test]
    fn blanks_are_no_content() {
        assert_eq!(filled("id", " ").unwrap_err().to_string(), "`id` is empty");
    }
}
