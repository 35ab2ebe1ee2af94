//! Futures behind a box.
//!
//! An `async fn` is compiled again in every crate that awaits it, with all that is in it: every service would have its
//! own copy of a D-Bus call. A boxed future, made by a function that is not inlined, is compiled once.

use std::future::Future;
use std::pin::Pin;

/// Something that is under way.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
