//! Placeholder.
#![allow(missing_docs, clippy::allow_attributes, clippy::allow_attributes_without_reason)]
#[derive(Debug)]
pub struct MemEnv;
#[derive(Debug)]
pub enum CrashPolicy {}
