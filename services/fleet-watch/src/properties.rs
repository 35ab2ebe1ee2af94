//! One object's properties, as `org.freedesktop.DBus.Properties.GetAll` gives them.
//!
//! One call an object and interface instead of one a property: a reading of the network is about ten round trips,
//! and each object is consistent in itself.

use std::collections::HashMap;

use serde::Deserialize;
use zbus::names::OwnedUniqueName;
use zbus::wire::Type;
use zbus::{Connection, OwnedObjectPath, OwnedVariant};

/// "No object", in a property that holds a path.
const NO_OBJECT: &str = "/";

/// A peer, addressed by its unique name: that never activates it, and a successor is never mistaken for it.
#[derive(Debug)]
pub(crate) struct Peer<'c> {
    connection: &'c Connection,
    name: OwnedUniqueName,
}

impl<'c> Peer<'c> {
    pub(crate) fn new(connection: &'c Connection, name: OwnedUniqueName) -> Self {
        Self { connection, name }
    }

    /// Reads all properties of an interface of an object.
    pub(crate) async fn properties(&self, path: &str, interface: &str) -> zbus::Result<Properties> {
        self.call(path, "org.freedesktop.DBus.Properties", "GetAll", &interface)
            .await
            .map(Properties)
    }

    /// Calls a method.
    pub(crate) async fn call<A, R>(
        &self,
        path: &str,
        interface: &str,
        method: &str,
        argument: &A,
    ) -> zbus::Result<R>
    where
        A: serde::Serialize + Type,
        R: for<'d> Deserialize<'d> + Type,
    {
        self.connection
            .call_method(Some(self.name.as_str()), path, Some(interface), method, argument)
            .await?
            .body()
            .deserialize()
    }
}

/// Properties by name. A property that is missing or of another type reads as the type's default: releases differ.
#[derive(Debug, Default)]
pub(crate) struct Properties(HashMap<String, OwnedVariant>);

impl Properties {
    pub(crate) fn number(&self, name: &str) -> u32 {
        self.get(name).unwrap_or_default()
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.flag_or(name, false)
    }

    pub(crate) fn flag_or(&self, name: &str, default: bool) -> bool {
        self.get(name).unwrap_or(default)
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    /// The path of another object, unless it is `/`.
    pub(crate) fn path(&self, name: &str) -> Option<String> {
        let path: &zbus::ObjectPath<'_> = self.get(name)?;
        (path.as_str() != NO_OBJECT).then(|| path.to_string())
    }

    pub(crate) fn paths(&mut self, name: &str) -> Vec<String> {
        let paths: Vec<OwnedObjectPath> = self.take(name).unwrap_or_default();
        paths.iter().map(ToString::to_string).collect()
    }

    /// An array of dictionaries.
    pub(crate) fn rows(&mut self, name: &str) -> Vec<Properties> {
        let rows: Vec<HashMap<String, OwnedVariant>> = self.take(name).unwrap_or_default();
        rows.into_iter().map(Properties).collect()
    }

    pub(crate) fn texts(&mut self, name: &str) -> Vec<String> {
        self.take(name).unwrap_or_default()
    }

    fn get<'p, T: TryFrom<&'p OwnedVariant>>(&'p self, name: &str) -> Option<T> {
        self.0.get(name).and_then(|value| T::try_from(value).ok())
    }

    fn take<T: TryFrom<OwnedVariant>>(&mut self, name: &str) -> Option<T> {
        self.0.remove(name).and_then(|value| T::try_from(value).ok())
    }
}

impl From<HashMap<String, OwnedVariant>> for Properties {
    fn from(properties: HashMap<String, OwnedVariant>) -> Self {
        Self(properties)
    }
}
