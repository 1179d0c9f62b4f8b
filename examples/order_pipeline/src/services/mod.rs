//! The project's own services, a folder each.

pub(crate) mod crm;
