//! The folder `_observability` of a new project: each file, and where it stands in the project.

/// One row for each file.
pub(crate) const FILES: &[(&str, &str)] =
    &[("_observability/README.md", include_str!("template/project/_observability/README.md"))];
