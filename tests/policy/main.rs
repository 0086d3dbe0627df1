//! Policies: what is decided, by what, at which stage, and what is said.

mod asking;
mod examples;
mod loading;
mod refusals;
mod stages;
mod table;
