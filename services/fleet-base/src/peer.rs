//! Calls to other programs on the bus, and one object's properties.
//!
//! Plain calls, not zbus's proxies: those bring a cache and streams for each property, which nothing here uses and
//! which took 175 KiB. Properties are read by one `GetAll` an object where several are wanted, so that they are
//! consistent with each other.

use zbus::{Connection, Dict, OwnedObjectPath, Variant};

use crate::body::{Body, Values};
use crate::pending::Pending;

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
    #[inline(never)]
    pub fn properties<'a>(
        &'a self,
        path: &'a str,
        interface: &'a str,
    ) -> Pending<'a, zbus::Result<Properties>> {
        Box::pin(async move {
            let mut values = self
                .call(path, PROPERTIES, "GetAll", vec![interface.into()])
                .await?;
            values.take()
        })
    }

    /// Reads one property of an interface of an object, a text.
    ///
    /// # Errors
    /// As of [`Peer::properties`]; the property is of another type.
    #[inline(never)]
    pub fn text<'a>(
        &'a self,
        path: &'a str,
        interface: &'a str,
        property: &'a str,
    ) -> Pending<'a, zbus::Result<String>> {
        Box::pin(async move {
            let arguments = vec![interface.into(), property.into()];
            self.call(path, PROPERTIES, "Get", arguments).await?.take()
        })
    }

    /// Calls a method.
    ///
    /// # Errors
    /// The peer refuses, is gone, or does not answer in time.
    #[inline(never)]
    pub fn call<'a>(
        &'a self,
        path: &'a str,
        interface: &'a str,
        method: &'a str,
        arguments: Vec<Variant<'a>>,
    ) -> Pending<'a, zbus::Result<Values>> {
        Box::pin(async move { self.send(path, interface, method, Body::of(arguments)?).await })
    }

    /// Calls a method with this body.
    ///
    /// # Errors
    /// As of [`Peer::call`].
    #[inline(never)]
    pub fn send<'a>(
        &'a self,
        path: &'a str,
        interface: &'a str,
        method: &'a str,
        body: Body<'a>,
    ) -> Pending<'a, zbus::Result<Values>> {
        Box::pin(async move {
            let name = Some(self.name.as_str());
            let call = self
                .connection
                .call_method(name, path, Some(interface), method, &body);
            Values::of(&call.await?)
        })
    }

    /// Calls a method that returns nothing.
    ///
    /// # Errors
    /// As of [`Peer::call`].
    #[inline(never)]
    pub fn tell<'a>(
        &'a self,
        path: &'a str,
        interface: &'a str,
        method: &'a str,
        arguments: Vec<Variant<'a>>,
    ) -> Pending<'a, zbus::Result<()>> {
        Box::pin(async move { self.call(path, interface, method, arguments).await.map(drop) })
    }
}

/// Properties by name. A property that is missing or of another type reads as the type's default: releases differ.
#[derive(Debug, Default)]
pub struct Properties(Vec<(String, Variant<'static>)>);

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
        self.take(name).unwrap_or_default()
    }

    /// An `as`. Takes it out.
    pub fn texts(&mut self, name: &str) -> Vec<String> {
        self.take(name).unwrap_or_default()
    }

    fn get<'p, T: TryFrom<&'p Variant<'p>>>(&'p self, name: &str) -> Option<T> {
        let (_, value) = self.0.iter().find(|(listed, _)| listed == name)?;
        T::try_from(value).ok()
    }

    /// Takes a value of any other type out.
    pub fn take<T: TryFrom<Variant<'static>>>(&mut self, name: &str) -> Option<T> {
        let index = self.0.iter().position(|(listed, _)| listed == name)?;
        T::try_from(self.0.swap_remove(index).1).ok()
    }
}

/// A dictionary with texts as keys.
impl TryFrom<Variant<'static>> for Properties {
    type Error = zbus::Error;

    #[inline(never)]
    fn try_from(value: Variant<'static>) -> zbus::Result<Self> {
        let mut properties = Vec::new();
        for (name, value) in Dict::try_from(value)? {
            let value = match value {
                Variant::Variant(inner) => *inner,
                value => value,
            };
            properties.push((name.try_into()?, value));
        }
        Ok(Self(properties))
    }
}
