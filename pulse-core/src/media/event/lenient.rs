//! Messages of protobuf's JSON, read so that no odd value spoils what stands around it: a value of a type that does not
//! belong in its place counts as absent, and every length has a bound.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use serde::{
    Deserialize,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

/// The most elements of a list that are kept, and the most attributes.
pub(super) const MAX_ITEMS: usize = 64;
/// The most bytes of all attributes together that are kept: LiveKit's own default bound.
pub(super) const MAX_ATTRIBUTES_BYTES: usize = 65_536;
/// What the names of Pulse's own attributes begin with.
pub(super) const OWN_ATTRIBUTES: &str = "pulse.";

/// A value that can be made of any JSON: each method is asked when JSON has that type in its place, and answers with the
/// absent value where that type does not belong.
pub(super) trait Lenient<'de>: Default {
    fn text(_: &str) -> Self {
        Self::default()
    }

    fn integer(_: i64) -> Self {
        Self::default()
    }

    fn real(_: f64) -> Self {
        Self::default()
    }

    fn flag(_: bool) -> Self {
        Self::default()
    }

    fn list<A: SeqAccess<'de>>(mut elements: A) -> Result<Self, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::default())
    }

    fn object<A: MapAccess<'de>>(mut entries: A) -> Result<Self, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::default())
    }
}

/// Reads a [`Lenient`] value.
pub(super) struct Reader<T>(pub(super) PhantomData<T>);

impl<'de, T: Lenient<'de>> Visitor<'de> for Reader<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_bool<E>(self, value: bool) -> Result<T, E> {
        Ok(T::flag(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<T, E> {
        Ok(T::integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<T, E> {
        Ok(i64::try_from(value).map(T::integer).unwrap_or_default())
    }

    fn visit_f64<E>(self, value: f64) -> Result<T, E> {
        Ok(T::real(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<T, E> {
        Ok(T::text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<T, A::Error> {
        T::list(elements)
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<T, A::Error> {
        T::object(entries)
    }
}

/// Lets serde read [`Lenient`] types.
macro_rules! lenient {
    ($([$($generics:tt)*] $type:ty;)+) => {$(
        impl<'de, $($generics)*> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any($crate::media::event::lenient::Reader(std::marker::PhantomData))
            }
        }
    )+};
}
pub(super) use lenient;

lenient! {
    [T: Deserialize<'de>] Part<T>;
    [T: Deserialize<'de>] List<T>;
    [] Attributes;
    [] Value;
}

/// A message; `None` when something else is in its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part<T>(pub(super) Option<T>);

impl<T> Default for Part<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: Deserialize<'de>> Lenient<'de> for Part<T> {
    fn object<A: MapAccess<'de>>(entries: A) -> Result<Self, A::Error> {
        T::deserialize(MapAccessDeserializer::new(entries)).map(|message| Self(Some(message)))
    }
}

/// The first 64 elements of a list.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct List<T>(pub(super) Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Lenient<'de> for List<T> {
    fn list<A: SeqAccess<'de>>(mut elements: A) -> Result<Self, A::Error> {
        let mut kept = Vec::new();
        while kept.len() < MAX_ITEMS
            && let Some(element) = elements.next_element()?
        {
            kept.push(element);
        }
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self(kept))
    }
}

impl<T> List<Part<T>> {
    /// The messages in it.
    pub(super) fn messages(self) -> impl Iterator<Item = T> {
        self.0.into_iter().filter_map(|part| part.0)
    }
}

/// A participant's attributes: texts by name, at most [`MAX_ITEMS`], of at most [`MAX_ATTRIBUTES_BYTES`] together.
/// Beyond that those are kept whose names come first, Pulse's own before all others, because bans are judged by them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes(pub(super) BTreeMap<String, String>);

impl<'de> Lenient<'de> for Attributes {
    fn object<A: MapAccess<'de>>(mut entries: A) -> Result<Self, A::Error> {
        let mut all = BTreeMap::new();
        while let Some((name, value)) = entries.next_entry::<String, Value>()? {
            if let Value(Some(value)) = value {
                all.insert(name, value);
            }
        }
        Ok(Self(bounded(all)))
    }
}

fn bounded(all: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let size = |(name, value): (&String, &String)| name.len() + value.len();
    if all.len() <= MAX_ITEMS && all.iter().map(size).sum::<usize>() <= MAX_ATTRIBUTES_BYTES {
        return all;
    }
    let (own, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|(name, _)| name.starts_with(OWN_ATTRIBUTES));
    let mut left = MAX_ATTRIBUTES_BYTES;
    let fits = |(name, value): &(String, String)| {
        let rest = left.checked_sub(size((name, value)));
        left = rest.unwrap_or(left);
        rest.is_some()
    };
    own.into_iter().chain(others).filter(fits).take(MAX_ITEMS).collect()
}

/// An attribute's value, which may be empty.
#[derive(Default)]
struct Value(Option<String>);

impl Lenient<'_> for Value {
    fn text(text: &str) -> Self {
        Self(Some(text.to_owned()))
    }
}
