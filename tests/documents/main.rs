//! Tests that written text is true: the pages of the book, the observability stack of a project, and generated
//! projects.
#![cfg(test)]

mod book;
mod connectors;
mod glossary;
mod observability;
mod scaffold;
mod semantics;
mod workspace;
