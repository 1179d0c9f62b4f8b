//! What is written down is so: the pages of the book, the stack that is shipped, and the projects that are generated.
#![cfg(test)]

mod book;
mod connectors;
mod glossary;
mod observability;
mod scaffold;
mod semantics;
mod workspace;
