//! The bodies of messages, with one type for all that are sent and one for all that are read.
//!
//! Each type that is sent or read has its own serializer, call and state machine in the executable. Here they exist
//! once, at the price of a [`Variant`] a value.

use serde::{Serialize, Serializer};
use zbus::wire::{DynamicType, StructureBuilder, Type};
use zbus::{Message, OwnedVariant, Signature, Structure, Variant};

/// What is sent.
#[derive(Debug)]
pub enum Body<'a> {
    /// Nothing.
    Empty,
    /// Values, in order.
    Values(Structure<'a>),
    /// Names and contents of files, `a(say)`: too many bytes for a [`Variant`] each.
    Files(&'a [(&'a str, &'a [u8])]),
}

impl<'a> Body<'a> {
    /// These values, in order.
    ///
    /// # Errors
    /// There are too many of them.
    pub fn of(values: Vec<Variant<'a>>) -> zbus::Result<Self> {
        if values.is_empty() {
            return Ok(Self::Empty);
        }
        let structure = values
            .into_iter()
            .fold(StructureBuilder::new(), StructureBuilder::append_field);
        structure.build().map(Self::Values)
    }
}

impl DynamicType for Body<'_> {
    fn signature(&self) -> Signature {
        match self {
            Self::Empty => Signature::Unit,
            Self::Values(values) => values.signature().clone(),
            Self::Files(_) => <[(&str, &[u8])]>::SIGNATURE.clone(),
        }
    }
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Empty => serializer.serialize_unit(),
            Self::Values(values) => values.serialize(serializer),
            Self::Files(files) => files.serialize(serializer),
        }
    }
}

/// What is read: a message's values, in order.
#[derive(Debug)]
pub struct Values(std::vec::IntoIter<Variant<'static>>);

impl Values {
    /// The values of a message.
    ///
    /// # Errors
    /// The body is not what its signature says.
    #[inline(never)]
    pub fn of(message: &Message) -> zbus::Result<Self> {
        let body = message.body();
        if *body.signature() == Signature::Unit {
            return Ok(Self(Vec::new().into_iter()));
        }
        let fields = body.deserialize::<Structure<'_>>()?.into_fields();
        let values: zbus::Result<Vec<_>> = fields
            .into_iter()
            .map(|value| value.try_into_owned().map(OwnedVariant::into))
            .collect();
        Ok(Self(values?.into_iter()))
    }

    /// The next value; what is in it, if it is a variant on the bus too.
    ///
    /// # Errors
    /// There is none, or it is of another type.
    pub fn take<T>(&mut self) -> zbus::Result<T>
    where
        T: TryFrom<Variant<'static>>,
        T::Error: Into<zbus::Error>,
    {
        let value = match self.0.next().ok_or(zbus::Error::IncorrectType)? {
            Variant::Variant(inner) => *inner,
            value => value,
        };
        T::try_from(value).map_err(Into::into)
    }
}
