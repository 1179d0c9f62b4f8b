//! Plain functions of this task.

/// An id without the blanks around it.
pub(crate) fn plain(id: &str) -> &str {
    id.trim()
}
