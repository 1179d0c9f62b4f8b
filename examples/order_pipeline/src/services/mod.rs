//! Services of this project, one folder for each.

pub(crate) mod crm;
