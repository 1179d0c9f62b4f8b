//! Connectors of this project, one folder for each: adapters to systems for which Ergon has no connector.

// ergon: a new connector is added above this line
