//! The routers: what moves the traffic.

pub mod http;
