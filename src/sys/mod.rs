//! Every `unsafe` of the crate, each with its reason.
#![allow(unsafe_code)]

pub(crate) mod packet_socket;
