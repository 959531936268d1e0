//! Every `unsafe` of the crate, each with its reason. Nothing here knows what a case is.
#![allow(unsafe_code)]

pub mod process;
