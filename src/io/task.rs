//! What a plan's tasks may say in their texts.
//!
//! Decides nothing by itself. Contract: see [`fill`].

pub mod fill;
