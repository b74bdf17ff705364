//! What the Rust workers share: the numbers that every workload starts from, and the conversation with the driver.
//!
//! A worker is a program that knows how to take one step of some workloads. It hands [`main`] a function that prepares one of them,
//! and is then run by the driver, or by hand: `wengert-worker W3 --steps 50`.

mod numbers;
mod serve;
pub mod workloads;

pub use numbers::{Init, fan, labels};
pub use serve::{Job, Worker, main};
