//! Services of this project: clients that tasks call, a folder each.

// ergon: a new service is added above this line
