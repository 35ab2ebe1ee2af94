//! Calls to other programs on the bus, and one object's properties.
//!
//! Plain calls, not zbus's proxies: those bring a cache and streams a property, which nothing here uses and which
//! took a tenth of the executable. Properties are read by one `GetAll` an object where several are wanted, so that
//! they are consistent with each other.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use zbus::wire::Type;
use zbus::{Connection, Message, OwnedObjectPath, OwnedVariant};

const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// "No object", in a property that holds a path.
const NO_OBJECT: &str = "/";

/// A program on the bus.
///
/// Addressed by its well-known name, a call activates it. By its unique name it never does, and a successor is never
/// mistaken for it.
#[derive(Debug)]
pub struct Peer {
    connection: Connection,
    name: String,
}

impl Peer {
    /// The program that owns `name`.
    #[must_use]
    pub fn new(connection: &Connection, name: impl Into<String>) -> Self {
        Self {
            connection: connection.clone(),
            name: name.into(),
        }
    }

    /// Reads all properties of an interface of an object.
    ///
    /// # Errors
    /// The peer refuses, is gone, or does not answer in time.
    pub async fn properties(&self, path: &str, interface: &str) -> zbus::Result<Properties> {
        self.call(path, PROPERTIES, "GetAll", &interface)
            .await
            .map(Properties)
    }

    /// Reads one property of an interface of an object.
    ///
    /// # Errors
    /// As of [`Peer::properties`]; the property is of another type.
    pub async fn property<T>(&self, path: &str, interface: &str, property: &str) -> zbus::Result<T>
    where
        T: TryFrom<OwnedVariant>,
        T::Error: Into<zbus::Error>,
    {
        let value: OwnedVariant = self.call(path, PROPERTIES, "Get", &(interface, property)).await?;
        T::try_from(value).map_err(Into::into)
    }

    /// Calls a method.
    ///
    /// # Errors
    /// The peer refuses, is gone, or does not answer in time; its answer is of another type.
    pub async fn call<A, R>(&self, path: &str, interface: &str, method: &str, argument: &A) -> zbus::Result<R>
    where
        A: Serialize + Type,
        R: for<'d> Deserialize<'d> + Type,
    {
        let reply: Message = self
            .connection
            .call_method(Some(self.name.as_str()), path, Some(interface), method, argument)
            .await?;
        reply.body().deserialize()
    }
}

/// Properties by name. A property that is missing or of another type reads as the type's default: releases differ.
#[derive(Debug, Default)]
pub struct Properties(HashMap<String, OwnedVariant>);

impl Properties {
    /// A `u`.
    #[must_use]
    pub fn number(&self, name: &str) -> u32 {
        self.get(name).unwrap_or_default()
    }

    /// A `t`.
    #[must_use]
    pub fn long(&self, name: &str) -> u64 {
        self.get(name).unwrap_or_default()
    }

    /// A `b`.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.flag_or(name, false)
    }

    /// A `b` whose default is not `false`.
    #[must_use]
    pub fn flag_or(&self, name: &str, default: bool) -> bool {
        self.get(name).unwrap_or(default)
    }

    /// An `s`.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    /// The path of another object, unless it is `/`.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<String> {
        let path: &zbus::ObjectPath<'_> = self.get(name)?;
        (path.as_str() != NO_OBJECT).then(|| path.to_string())
    }

    /// An `ao`. Takes it out.
    pub fn paths(&mut self, name: &str) -> Vec<String> {
        let paths: Vec<OwnedObjectPath> = self.take(name).unwrap_or_default();
        paths.iter().map(ToString::to_string).collect()
    }

    /// An array of dictionaries (`aa{sv}`). Takes it out.
    pub fn rows(&mut self, name: &str) -> Vec<Properties> {
        let rows: Vec<HashMap<String, OwnedVariant>> = self.take(name).unwrap_or_default();
        rows.into_iter().map(Properties).collect()
    }

    /// An `as`. Takes it out.
    pub fn texts(&mut self, name: &str) -> Vec<String> {
        self.take(name).unwrap_or_default()
    }

    fn get<'p, T: TryFrom<&'p OwnedVariant>>(&'p self, name: &str) -> Option<T> {
        self.0.get(name).and_then(|value| T::try_from(value).ok())
    }

    /// Takes a value of any other type out.
    pub fn take<T: TryFrom<OwnedVariant>>(&mut self, name: &str) -> Option<T> {
        self.0.remove(name).and_then(|value| T::try_from(value).ok())
    }
}

impl From<HashMap<String, OwnedVariant>> for Properties {
    fn from(properties: HashMap<String, OwnedVariant>) -> Self {
        Self(properties)
    }
}
