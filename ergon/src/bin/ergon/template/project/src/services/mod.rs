//! Services of this project: clients that tasks call, one folder for each.

// ergon: a new service is added above this line
