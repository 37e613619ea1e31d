//! Placeholder.
#![allow(missing_docs, clippy::allow_attributes, clippy::allow_attributes_without_reason)]
#[derive(Debug)]
pub struct Fault;
#[derive(Debug)]
pub struct FaultEnv;
#[derive(Debug)]
pub enum FaultKind {}
#[derive(Debug)]
pub enum Operation {}
