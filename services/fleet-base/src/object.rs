//! Serves one object with one interface on the bus.
//!
//! Not zbus's object server: its macro makes a state machine of every method and property, for a tree of objects that
//! can change; that took 165 KiB. Here is one path, one interface, and what the D-Bus
//! specification asks of every object ("Standard Interfaces"): Properties, Introspectable, Peer.

use std::fmt::Write;
use std::sync::Arc;

use futures_util::StreamExt;
use zbus::message::{Flags, Type};
use zbus::{BoxDBusError, Connection, Dict, MatchRule, Message, Signature, Variant, fdo};

use crate::body::{Body, Values};
use crate::bus;
use crate::idle::Activity;
use crate::pending::Pending;

const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const INTROSPECTABLE: &str = "org.freedesktop.DBus.Introspectable";
const PEER: &str = "org.freedesktop.DBus.Peer";

/// The standard interfaces, as introspection shows them.
const STANDARD: &str = r#"  <interface name="org.freedesktop.DBus.Introspectable">
    <method name="Introspect">
      <arg type="s" direction="out"/>
    </method>
  </interface>
  <interface name="org.freedesktop.DBus.Peer">
    <method name="Ping">
    </method>
    <method name="GetMachineId">
      <arg type="s" direction="out"/>
    </method>
  </interface>
  <interface name="org.freedesktop.DBus.Properties">
    <method name="Get">
      <arg name="interface_name" type="s" direction="in"/>
      <arg name="property_name" type="s" direction="in"/>
      <arg type="v" direction="out"/>
    </method>
    <method name="Set">
      <arg name="interface_name" type="s" direction="in"/>
      <arg name="property_name" type="s" direction="in"/>
      <arg name="value" type="v" direction="in"/>
    </method>
    <method name="GetAll">
      <arg name="interface_name" type="s" direction="in"/>
      <arg type="a{sv}" direction="out"/>
    </method>
    <signal name="PropertiesChanged">
      <arg name="interface_name" type="s"/>
      <arg name="changed_properties" type="a{sv}"/>
      <arg name="invalidated_properties" type="as"/>
    </signal>
  </interface>
"#;

/// Where an object is, and what it shows of itself.
#[derive(Debug)]
pub struct Place {
    /// The interface, and the name on the bus.
    pub name: &'static str,
    /// The object's path.
    pub path: &'static str,
    /// The interface as introspection XML, an element a line: which methods and properties there are. A property with
    /// an annotation changes without a signal (`EmitsChangedSignal` is the only one used).
    pub introspection: &'static str,
}

/// The future of a method's answer: its one return value, if it has one.
pub type Answer<'c> = Pending<'c, bus::Result<Option<Variant<'static>>>>;

/// What is served.
pub trait Object: Send + Sync + 'static {
    /// Where.
    fn place(&self) -> &'static Place;

    /// The value of a property now. Asked for those in the introspection only.
    fn property(&self, name: &str) -> Option<Variant<'static>>;

    /// Does what a method is for. Called for those in the introspection only.
    fn call<'c>(&'c self, call: &'c Call) -> Answer<'c>;
}

/// A method call.
#[derive(Debug)]
pub struct Call {
    /// The connection it came over.
    pub connection: Connection,
    message: Message,
}

impl Call {
    /// The method's name.
    #[must_use]
    pub fn method(&self) -> String {
        let header = self.message.header();
        header.member().map(ToString::to_string).unwrap_or_default()
    }

    /// The unique name of the caller.
    #[must_use]
    pub fn sender(&self) -> Option<String> {
        self.message.header().sender().map(ToString::to_string)
    }

    /// The arguments. They are of the types in the introspection.
    ///
    /// # Errors
    /// The body is not what its signature says.
    pub fn arguments(&self) -> zbus::Result<Values> {
        Values::of(&self.message)
    }

    /// The argument of a method that takes files, `a(say)`: their names and contents.
    ///
    /// # Errors
    /// It is of another type: `org.freedesktop.DBus.Error.InvalidArgs`.
    pub fn files(&self) -> zbus::Result<Vec<(String, Vec<u8>)>> {
        let body = self.message.body();
        let files: Vec<(&str, &[u8])> = body
            .deserialize()
            .map_err(|error| zbus::Error::from(invalid(error.to_string())))?;
        let owned = |(name, content): &(&str, &[u8])| ((*name).to_owned(), content.to_vec());
        Ok(files.iter().map(owned).collect())
    }

    /// What to answer to a method that is in the introspection and nowhere else.
    #[must_use]
    pub fn unknown(&self) -> bus::Error {
        let method = self.method();
        bus::Error::Bus(fdo::Error::UnknownMethod(format!("Unknown method '{method}'")).into())
    }
}

impl Place {
    /// The names of the elements of a kind, and the rest of each line.
    fn elements(&self, kind: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
        let start = format!("<{kind} name=\"");
        self.introspection
            .lines()
            .filter_map(move |line| line.trim_start().strip_prefix(&start)?.split_once('"'))
    }

    /// The signature of a method's arguments; `None` if there is no such method.
    fn arguments(&self, method: &str) -> Option<String> {
        let start = format!("<method name=\"{method}\">");
        let mut lines = self.introspection.lines().map(str::trim_start);
        lines.find(|line| *line == start)?;
        let mut signature = String::new();
        for line in lines.take_while(|line| line.starts_with("<arg ")) {
            if line.contains("direction=\"in\"") {
                let (_, rest) = line.split_once("type=\"")?;
                signature.push_str(rest.split('"').next()?);
            }
        }
        Some(signature)
    }

    /// The object's XML, or that of a folder on the way to it.
    fn introspect(&self, path: &str) -> Option<String> {
        let mut xml = "<!DOCTYPE node PUBLIC \"-//freedesktop//DTD D-BUS Object Introspection 1.0//EN\"\n \
                       \"http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd\">\n<node>\n"
            .to_owned();
        if path == self.path {
            xml.push_str(STANDARD);
            for line in self.introspection.lines() {
                // Writing to a string cannot fail.
                let _ = writeln!(xml, "  {line}");
            }
        } else {
            let below = self.path.strip_prefix(path.trim_end_matches('/'))?;
            let child = below.strip_prefix('/')?.split('/').next()?;
            let _ = writeln!(xml, "  <node name=\"{child}\"/>");
        }
        xml.push_str("</node>\n");
        Some(xml)
    }
}

/// Serves an object, then takes its name, so that no call reaches a half-made service. Each call counts as `activity`
/// until its answer is sent.
///
/// # Errors
/// The bus is gone, or somebody else has the name.
#[inline(never)]
pub fn serve<'a>(
    connection: &'a Connection,
    object: Arc<dyn Object>,
    activity: &'a Activity,
) -> Pending<'a, zbus::Result<()>> {
    Box::pin(take_calls(connection, object, activity))
}

async fn take_calls(
    connection: &Connection,
    object: Arc<dyn Object>,
    activity: &Activity,
) -> zbus::Result<()> {
    let name = object.place().name;
    let rule = MatchRule::builder().msg_type(Type::MethodCall).build()?;
    let mut calls = bus::subscribe(connection, rule).await?;
    let (connection_of_calls, activity) = (connection.clone(), activity.clone());
    tokio::spawn(async move {
        while let Some(Ok(message)) = calls.next().await {
            let under_way = activity.begin();
            let object = Arc::clone(&object);
            let call = Call {
                connection: connection_of_calls.clone(),
                message,
            };
            tokio::spawn(async move {
                answer(&*object, &call).await;
                drop(under_way);
            });
        }
    });
    bus::request_name(connection, name).await
}

/// Properties by name.
pub type Named = Vec<(&'static str, Variant<'static>)>;

/// All properties, or those whose changes are signalled.
#[must_use]
pub fn properties(object: &dyn Object, signalled_only: bool) -> Named {
    object
        .place()
        .elements("property")
        .filter(|(_, rest)| !signalled_only || rest.ends_with("/>"))
        .filter_map(|(name, _)| Some((name, object.property(name)?)))
        .collect()
}

/// Tells who listens which properties are not as `before` ([`properties`], the signalled ones), in one signal.
///
/// # Errors
/// The bus is gone.
#[inline(never)]
pub fn announce<'a>(
    connection: &'a Connection,
    object: &'a dyn Object,
    before: &'a Named,
) -> Pending<'a, zbus::Result<()>> {
    let mut changed = properties(object, true);
    changed.retain(|entry| !before.contains(entry));
    let Place { name, path, .. } = object.place();
    Box::pin(async move {
        if changed.is_empty() {
            return Ok(());
        }
        let invalidated: Vec<&str> = Vec::new();
        let body = Body::of(vec![(*name).into(), dictionary(changed)?, invalidated.into()])?;
        connection
            .emit_signal(None::<&str>, *path, PROPERTIES, "PropertiesChanged", &body)
            .await
    })
}

/// Properties as the bus has them, `a{sv}`.
fn dictionary(properties: Named) -> zbus::Result<Variant<'static>> {
    let mut dictionary = Dict::new(&Signature::Str, &Signature::Variant);
    for (name, value) in properties {
        dictionary.append(name.into(), Variant::Variant(Box::new(value)))?;
    }
    Ok(dictionary.into())
}

/// Answers one call.
async fn answer(object: &dyn Object, call: &Call) {
    let header = call.message.header();
    let answered = dispatch(object, call).await;
    if header.primary().flags().contains(Flags::NO_REPLY_EXPECTED) {
        return;
    }
    let connection = &call.connection;
    let body = answered.and_then(|value| Ok(Body::of(Vec::from_iter(value))?));
    let sent = match body {
        Ok(body) => connection.reply(&header, &body).await,
        Err(error) => connection.reply_dbus_error(&header, error).await,
    };
    if let Err(error) = sent {
        log::debug!("cannot answer {}: {error}", call.method());
    }
}

async fn dispatch(object: &dyn Object, call: &Call) -> Result<Option<Variant<'static>>, BoxDBusError> {
    let header = call.message.header();
    let place = object.place();
    let path = header.path().map_or("", |path| path.as_str());
    let interface = header.interface().map_or("", |interface| interface.as_str());
    let method = call.method();
    let unknown_method = || fdo::Error::UnknownMethod(format!("Unknown method '{method}'")).into();
    let unknown_object = || fdo::Error::UnknownObject(format!("Unknown object '{path}'"));
    match (interface, method.as_str()) {
        // Of any path.
        (PEER, "Ping") => Ok(None),
        (PEER, "GetMachineId") => match std::fs::read_to_string("/etc/machine-id") {
            Ok(id) => Ok(Some(id.trim_end().to_owned().into())),
            Err(error) => Err(fdo::Error::IOError(format!("cannot read /etc/machine-id: {error}")).into()),
        },
        (INTROSPECTABLE, "Introspect") => {
            let xml = place.introspect(path).ok_or_else(unknown_object)?;
            Ok(Some(xml.into()))
        }
        (INTROSPECTABLE | PEER, _) => Err(unknown_method()),
        _ if path != place.path => Err(unknown_object().into()),
        (PROPERTIES, "Get") => {
            let mut arguments = call.arguments()?;
            let interface: String = arguments.take()?;
            let name: String = arguments.take()?;
            known(place, &interface)?;
            let listed = place.elements("property").any(|(listed, _)| listed == name);
            let value = listed.then(|| object.property(&name)).flatten();
            let value =
                value.ok_or_else(|| fdo::Error::UnknownProperty(format!("Unknown property '{name}'")))?;
            Ok(Some(Variant::Variant(Box::new(value))))
        }
        (PROPERTIES, "GetAll") => {
            let interface: String = call.arguments()?.take()?;
            known(place, &interface)?;
            let all = match interface == place.name {
                true => properties(object, false),
                // The standard ones have none.
                false => Vec::new(),
            };
            Ok(Some(dictionary(all)?))
        }
        (PROPERTIES, "Set") => {
            Err(fdo::Error::PropertyReadOnly("no property of this object can be set".to_owned()).into())
        }
        (PROPERTIES, _) => Err(unknown_method()),
        _ if interface == place.name => {
            let expected = place.arguments(&method).ok_or_else(unknown_method)?;
            let found = call.message.body().signature().to_string_no_parens();
            if found != expected {
                let types = format!("{method} takes \"{expected}\", not \"{found}\"");
                return Err(invalid(types).into());
            }
            object.call(call).await.map_err(|error| match error {
                // An error of the standard's goes out under its own name.
                bus::Error::Bus(error) => error.into(),
                error => Box::new(error) as BoxDBusError,
            })
        }
        _ => Err(fdo::Error::UnknownInterface(format!("Unknown interface '{interface}'")).into()),
    }
}

fn invalid(why: String) -> fdo::Error {
    fdo::Error::InvalidArgs(why)
}

/// Whether the object has this interface.
fn known(place: &Place, interface: &str) -> Result<(), fdo::Error> {
    if interface == place.name || [PROPERTIES, INTROSPECTABLE, PEER].contains(&interface) {
        return Ok(());
    }
    Err(fdo::Error::UnknownInterface(format!(
        "Unknown interface '{interface}'"
    )))
}

/// What of an object is not as its introspection says; for the objects' tests. `source` is the object's source text,
/// in which every method has an arm.
#[must_use]
pub fn mismatches(object: &dyn Object, source: &str) -> Vec<String> {
    let place = object.place();
    let mut found = Vec::new();
    for (name, rest) in place.elements("property") {
        let signature = object
            .property(name)
            .map(|value| value.value_signature().to_string());
        if !signature.is_some_and(|signature| rest.contains(&format!(" type=\"{signature}\" "))) {
            found.push(format!("property {name}"));
        }
    }
    for (name, _) in place.elements("method") {
        if !source.contains(&format!("\"{name}\" =>")) {
            found.push(format!("method {name}"));
        }
    }
    found
}
