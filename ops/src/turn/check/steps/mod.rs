//! The steps of a check, in their order.

pub(super) mod allocate;
pub(super) mod binding;
pub(super) mod challenge;
pub(super) mod connect;
pub(super) mod outside;
pub(super) mod peers;
pub(super) mod relay;
pub(super) mod second;
