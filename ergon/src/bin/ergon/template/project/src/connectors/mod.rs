//! Connectors of this project: adapters to systems that Ergon brings no connector for, a folder each.

// ergon: a new connector is added above this line
