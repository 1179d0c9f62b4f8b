//! Functions of this task.

/// An id without the spaces around it.
pub(crate) fn plain(id: &str) -> &str {
    id.trim()
}
